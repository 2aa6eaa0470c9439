"""What the head of a request may not say, though the parser reads it: what two servers in a row could take in two ways."""

import re
from collections.abc import Iterable

_VERSIONS = frozenset({"1.0", "1.1"})
_ONCE = frozenset({b"host", b"authorization", b"api-key", b"idempotency-key", b"last-event-id", b"x-ragfleet-journal"})
"""Fields of which a second one would take the first one's place for some readers, and not for others."""
_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.%\w-]+\])(?::[0-9]*)?", re.ASCII)
"""RFC 3986's host with a port; it may be empty."""


def head_fault(version: str, fields: Iterable[tuple[bytes, bytes]]) -> str | None:
    """What is wrong with a head, as a sentence; None: nothing. fields: names in lower case (RFC 9112, 3.2 and 6.1)."""
    if version not in _VERSIONS:
        return f"HTTP/{version} is not spoken here; use HTTP/1.1."
    once: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in _ONCE:
            if name in once:
                return f"The field {name.decode()} is there twice."
            once[name] = value
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version == "1.0"):
            return "Of transfer encodings only 'chunked' is read, and only in HTTP/1.1."
    host = once.get(b"host")
    if host is None and version == "1.1":
        return "The field host is missing."
    if host is not None and not _HOST.fullmatch(host):
        return "The field host names no host."
    return None
