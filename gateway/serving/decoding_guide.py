"""What an answer must be: free JSON, an instance of a schema, a match of a regular expression, a word of a grammar."""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson

from gateway.errors import BadRequest
from gateway.serving.json_schema import InvalidSchema, checked

MAX_BYTES = 128 << 10
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$#&~/-]")

LENIENT = {"x-guidance": {"lenient": True}}
"""llguidance's word for it."""


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

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any], *, strict: bool, param: str | None = None) -> Self:
        """An instance of a JSON Schema. `param` is where the client has it. Raises BadRequest, which names the place in it.

        Takes some milliseconds for a large one.
        """
        try:
            kept: dict[str, Any] = checked(schema, strict=strict)
        except InvalidSchema as error:
            raise BadRequest(f"Invalid schema {error}.", param=param, code="invalid_json_schema") from None
        # Whatever else an engine does not follow: a schema that is not strict is followed as far as can be.
        return cls._of(GuideKind.JSON_SCHEMA, orjson.dumps(kept if strict else kept | LENIENT).decode(), param)

    @classmethod
    def json_object(cls) -> Self:
        """Any JSON object."""
        return cls(GuideKind.JSON, "")

    @classmethod
    def regex(cls, pattern: str, *, param: str | None = None) -> Self:
        """A match, as a whole, of a regular expression. Raises BadRequest."""
        return cls._of(GuideKind.REGEX, pattern, param)

    @classmethod
    def choice(cls, texts: Sequence[str], *, param: str | None = None) -> Self:
        """One of these texts, to the letter. Raises BadRequest."""
        return cls._of(GuideKind.REGEX, "|".join(_SPECIAL.sub(r"\\\g<0>", text) for text in texts), param)

    @classmethod
    def grammar(cls, text: str, *, param: str | None = None) -> Self:
        """A word of a grammar, in llama.cpp's EBNF (GBNF) with the start symbol `root`. Raises BadRequest."""
        return cls._of(GuideKind.EBNF_GRAMMAR, text, param)

    @classmethod
    def _of(cls, kind: GuideKind, text: str, param: str | None) -> Self:
        if not text:
            raise BadRequest("An empty guide allows no answer.", param=param, code="invalid_value")
        if (size := len(text.encode("utf-8", "replace"))) > MAX_BYTES:
            raise BadRequest(
                f"What the answer must be has {size} bytes; at most {MAX_BYTES} are followed.",
                param=param,
                code="invalid_value",
            )
        return cls(kind, text)

    def engine_inputs(self) -> dict[str, str]:
        """As the inputs of the model `llm`."""
        return {"guided_decoding_guide_type": self.kind.value, "guided_decoding_guide": self.text}
