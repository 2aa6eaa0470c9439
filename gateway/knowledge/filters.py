"""Milvus filter expressions: the one place where a value from outside becomes part of one.

Milvus Lite does not take `filter_params` templates, so values are escaped by hand. What is written here is read back by
Milvus as a string literal with exactly the value that went in, whatever the value is.
"""

import unicodedata

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quote(value: str) -> str:
    """`value` as a string literal of a Milvus expression, with its quotes.

    Raises ValueError for control characters other than tab and line ends: Milvus and Milvus Lite read their escapes differently.
    """
    if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\r\t" for char in value):
        raise ValueError(f"{value!r} has control characters, which cannot stand in a filter")
    return f'"{value.translate(_ESCAPES)}"'


def store_filter(store: str) -> str:
    """The rows of one knowledge store."""
    return f"store == {quote(store)}"


def file_filter(store: str, file_id: str) -> str:
    """The rows of one file of a store."""
    return f"{store_filter(store)} and file_id == {quote(file_id)}"
