"""Token ids ↔ text, exactly: what the gateway, the prompt model and the detokenize model share."""

from tokens.detokenizer import IncrementalDetokenizer
from tokens.streams import Streams
from tokens.table import TokenTable, TooManyTokens

__all__ = ["IncrementalDetokenizer", "Streams", "TokenTable", "TooManyTokens"]
