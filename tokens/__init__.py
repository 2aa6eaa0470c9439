"""Token ids ↔ text, exactly: what the gateway, the prompt model and the detokenize model share."""

from tokens.detokenizer import IncrementalDetokenizer
from tokens.streams import StreamDetokenizers
from tokens.table import TokenTable, TooManyTokens

__all__ = ["IncrementalDetokenizer", "StreamDetokenizers", "TokenTable", "TooManyTokens"]
