"""Whether a filter comes from the gateway: this model answers whoever reaches its Triton.

The gateway signs (gateway/retrieval/filter_signature.py); the secret is RAGFLEET_FILTER_SECRET, or in the file that
RAGFLEET_FILTER_SECRET_FILE names. Without one every filter is taken.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from retrieval_search.errors import FilterRefused

VARIABLE = "RAGFLEET_FILTER_SECRET"


def read_secret(environment: Mapping[str, str]) -> str:
    """The secret, "" where there is none. Raises OSError for a file that cannot be read, ValueError for an empty one."""
    file = environment.get(f"{VARIABLE}_FILE", "")
    if not file:
        return environment.get(VARIABLE, "")
    secret = Path(file).read_text(encoding="utf-8").strip()
    if not secret:
        raise ValueError(f"{VARIABLE}_FILE={file} is empty")
    return secret


class FilterVerifier:
    """Checks signatures. clock: Unix seconds."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret.encode()
        self._clock = clock

    def check(self, collection: str, expression: str, signature: str) -> None:
        """Raises FilterRefused for a filter that was not signed for this collection, or too long ago."""
        if not self._secret:
            return
        version, _, rest = signature.partition(".")
        until, _, digest = rest.partition(".")
        if version != "v1" or not (until.isascii() and until.isdigit()):
            raise FilterRefused("the filter is not signed")
        signed = "\0".join((version, until, collection, expression)).encode()
        expected = hmac.new(self._secret, signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), digest.encode()):
            raise FilterRefused("the signature is not of this filter and collection, or was made with another secret")
        if self._clock() > int(until):
            raise FilterRefused("the signature has expired; do the clocks of the hosts agree?")
