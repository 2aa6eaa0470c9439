"""Token ids ↔ text, exactly; and the words of texts (`keywords`, `repeats`): what the gateway and the models share."""

from tokens.detokenizer import IncrementalDetokenizer
from tokens.streams import StreamDetokenizers
from tokens.vocabulary import TokenTable, TooManyTokens

__all__ = ["IncrementalDetokenizer", "StreamDetokenizers", "TokenTable", "TooManyTokens"]
