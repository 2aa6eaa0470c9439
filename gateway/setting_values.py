"""The words that a setting can be."""

from enum import StrEnum


class WithoutKnowledge(StrEnum):
    """What to do with a question to the knowledge base while Milvus is away."""

    REFUSE = "refuse"  # 503: nothing is said that no document says
    ANSWER = "answer"  # the model alone, marked as such


class WithoutQuotas(StrEnum):
    """What to do with a request whose tenant has limits, while the database that counts them is away and no lease is in hand."""

    REFUSE = "refuse"  # 503: a limit is never passed
    ALLOW = "allow"  # let in, uncounted


class Rewrite(StrEnum):
    """What is searched for a question that follows others."""

    OFF = "off"  # the question as it stands
    HISTORY = "history"  # behind an earlier question, where it seems to lean on one
    MODEL = "model"  # as the fleet's model words it; where it cannot, by the history


class ToolFormat(StrEnum):
    """How the model writes calls of functions."""

    AUTO = "auto"  # as its chat template looks
    HERMES = "hermes"  # and Qwen
    LLAMA3_JSON = "llama3_json"
    MISTRAL = "mistral"
    JSON = "json"  # it has no way of its own: JSON under a grammar


class ToolDecision(StrEnum):
    """Who decides whether an answer calls a function, where the client leaves it open."""

    MODEL = "model"
    WORDS = "words"  # that the question shares with a function: for models that are too small


class LogFormat(StrEnum):
    """How lines of the log look."""

    TEXT = "text"
    JSON = "json"
