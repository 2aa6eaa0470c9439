"""Texts as the embedding model reads them: counted in its tokens, cut to its window, made of its token ids."""

import logging
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from gateway.config import Settings
from gateway.errors import BadRequest, ContextLengthExceeded
from gateway.knowledge.chunking import embedding_folder
from gateway.knowledge.text_windows import window_of

log = logging.getLogger("ragfleet.gateway")

# A model of BERT's family tells words apart at white space, so that the pieces' tokens are those of the whole.
_PIECE = re.compile(r".{1,2048}(?!\S)|.{2048}|.+", re.DOTALL)


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
        self._longest = max(len(token.encode()) for token in self._tokenizer.get_vocab())

    @classmethod
    def from_settings(cls, settings: Settings) -> "EmbeddingTokenizer | None":
        """None, and a line in the log, where there is none."""
        try:
            return _tokenizer_of(embedding_folder(settings.embedding_dir))
        except FileNotFoundError as error:
            log.warning("/v1/embeddings is off: %s", error)
            return None

    def check_size(self, value: str | Sequence[int], limit: int) -> int:
        """How many tokens it has at the least, by its size, before it is read. Raises ContextLengthExceeded over `limit`."""
        least = len(value.encode("utf-8", "replace")) // self._longest if isinstance(value, str) else len(value)
        if least > limit:
            raise ContextLengthExceeded.of(least, limit, param="input")
        return least

    def count(self, text: str, limit: int | None = None) -> int:
        """Its tokens, without the two that every input gets in addition; of a long text with more than `limit` some of them."""
        found = 0
        for piece in _PIECE.finditer(text):
            if limit is not None and found > limit:
                break
            # Of a batch, for that lets other threads run.
            found += len(self._tokenizer.encode_batch_fast([piece[0]], add_special_tokens=False)[0].ids)
        return found

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


_tokenizer_of = cache(EmbeddingTokenizer)
"""Of a folder; read once a process, where tests have many gateways."""
