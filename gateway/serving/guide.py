"""What an answer must be: free JSON, an instance of a schema, a match of a regular expression, a word of a grammar."""

import enum
from dataclasses import dataclass


class GuideKind(enum.StrEnum):
    """TensorRT-LLM's guide types."""

    JSON = "json"
    """Any JSON object."""
    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    EBNF_GRAMMAR = "ebnf_grammar"


@dataclass(frozen=True, slots=True)
class Guide:
    """Engines generate nothing else, and end where it ends."""

    kind: GuideKind
    text: str
    """The schema as JSON, the expression or the grammar; "" for free JSON."""

    def engine_inputs(self) -> dict[str, str]:
        """As the inputs of the model `llm`."""
        return {"guided_decoding_guide_type": self.kind.value, "guided_decoding_guide": self.text}
