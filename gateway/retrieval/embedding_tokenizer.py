"""Texts as the embedding model reads them: counted in its tokens, cut to its window, made of its token ids."""

import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from gateway.errors import BadRequest
from gateway.knowledge.windows import window_of


class EmbeddingTokenizer:
    """The tokenizer of a sentence-transformers folder."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError for a folder without tokenizer.json."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(path)
        self._tokenizer = Tokenizer.from_file(os.fspath(path))
        self._tokenizer.no_truncation()  # the file asks for both
        self._tokenizer.no_padding()
        self.window = window_of(folder)
        """Tokens that the model reads at once."""

    def count(self, text: str) -> int:
        """Its tokens, without the two that every input gets in addition."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids. Raises BadRequest for ids that the model does not have."""
        size = self._tokenizer.get_vocab_size()
        if (wrong := next((i for i in ids if not 0 <= i < size), None)) is not None:
            raise BadRequest(
                f"Invalid value for 'input': there is no token {wrong}; the embedding model has {size} tokens. Send text, "
                "or ids of that model's own tokenizer (LangChain: check_embedding_ctx_length=False).",
                param="input",
                code="invalid_value",
            )
        decoded: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return decoded
