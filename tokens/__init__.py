"""Token ids ↔ text, exactly; and (`tokens.words`) the words of a text: what the gateway and the models share."""

from tokens.detokenizer import IncrementalDetokenizer
from tokens.streams import StreamDetokenizers
from tokens.table import TokenTable, TooManyTokens

__all__ = ["IncrementalDetokenizer", "StreamDetokenizers", "TokenTable", "TooManyTokens"]
