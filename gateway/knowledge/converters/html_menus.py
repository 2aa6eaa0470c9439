"""What is a menu of a page: links and little else. No I/O."""

import re
from collections import Counter
from typing import Any

_MAX_OWN_WORDS = {"header": 3, "footer": 3}
"""Words beside its links that a menu may have (8 in a <nav>); a footer has the copyright, too."""
_TOLD = re.compile(r"\d[\d ()/-]{5,}\d|\S@\S")
"""A telephone number or an address of mail: what says one beside its links is no menu."""


def is_menu(el: Any) -> bool:
    """Whether it is links and little else. A page's header or footer has to have several, or it is content; an article's is."""
    links = [*(link for link in el.iter("a") if link.get("href") is not None), *el.iter("button", "select")]
    if any((link.get("href") or "").startswith(("tel:", "mailto:")) for link in links):
        return False
    if next(el.iter("h1", "table", "article"), None) is not None:
        return False
    if el.tag in ("header", "footer"):
        if len(links) < 2 or next(el.iterancestors("article"), None) is not None:
            return False
        links = [link for link in links if next(link.iterancestors("nav"), None) is None]
        links += [nav for nav in el.iterdescendants("nav") if next(nav.iterancestors("nav"), None) is None]
    words = Counter(" ".join(el.itertext()).split())
    own = words - Counter(word for link in links for word in " ".join(link.itertext()).split())
    return own.total() <= _MAX_OWN_WORDS.get(el.tag, 8) and not _TOLD.search(" ".join(own.elements()))
