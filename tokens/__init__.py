"""Token ids ↔ text, exactly; and the words of texts (`tokens.words`, `tokens.repeats`): what the gateway and the models share."""

from tokens.detokenizer import IncrementalDetokenizer
from tokens.streams import StreamDetokenizers
from tokens.table import TokenTable, TooManyTokens

__all__ = ["IncrementalDetokenizer", "StreamDetokenizers", "TokenTable", "TooManyTokens"]
