"""Traditional Chinese characters as simplified ones: 退貨 and 退货 are one word. Reads one file of the package."""

import re
from functools import cache
from importlib.resources import files

_CHARACTERS = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")


def simplified(text: str) -> str:
    """As many characters, each in its simplified form; others, Japanese ones among them, as they are."""
    return text.translate(_table()) if _CHARACTERS.search(text) else text


@cache
def _table() -> dict[int, str]:
    lines = (files("tokens") / "simplified_characters.txt").read_text("utf-8").splitlines()
    return {ord(line[0]): line[1] for line in lines if not line.startswith("#")}
