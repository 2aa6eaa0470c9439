"""What a passage must not be able to write: the words by which a prompt says where a turn or a passage begins and ends.

Of control tokens a text holds only the letters (template.py). But some templates mark turns with plain words (`[INST]`),
and so do we (`<passages>`). In passages these get a space behind their first character: they still read the same, and mark
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# What looks like a marker in a template's source: <|user|>, <start_of_turn>, </s>, <<SYS>>, [INST], [/INST], ### Response:
_MARKER = re.compile(
    r"<</?\w{2,40}>>|</?[|\uff5c]?[\w\u2581:.-]{1,40}[|\uff5c]?>|\[/?[A-Z_]{2,40}\]|#{2,6} ?[A-Z][A-Za-z ]{2,40}:"
)
_OURS = ("<passages>", "</passages>")


def disarming(template: str) -> Callable[[str], str]:
    """What is done to each passage in a prompt of this template."""
    names = sorted({*_MARKER.findall(template), *_OURS}, key=len, reverse=True)
    markers = re.compile("|".join(map(re.escape, names)), re.IGNORECASE)
    return lambda text: markers.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
