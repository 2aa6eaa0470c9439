"""A small vocabulary for the text side of answers."""

import pytest

from tests.support.running import make_tokenizer
from tokens.vocabulary import TokenTable


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> TokenTable:
    """A byte-level BPE of some hundred tokens."""
    return TokenTable.load(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))
