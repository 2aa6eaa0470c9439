"""Names of files that clients send: what the OpenAPI document allows is taken, and nothing else."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.file_contents import FILENAME_PATTERN, clean_name
from gateway.errors import BadRequest

NAMES = st.text(st.sampled_from("a. /\\\t\x01\x7f\x85\xa0\u200f\u2028\ufeffé"), max_size=8)


@given(NAMES)
def test_a_name_is_taken_just_where_the_document_says_so(name: str) -> None:
    try:
        cleaned = clean_name(name)
    except BadRequest:
        assert not re.search(FILENAME_PATTERN, name)
    else:
        assert re.search(FILENAME_PATTERN, name)
        assert cleaned.strip(". ")
