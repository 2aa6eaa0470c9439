"""The signature that goes with a filter: who reaches a Triton without the secret finds nobody's rows.

`retrieval` checks it (model_repository/retrieval/retrieval_search/filter_signature.py) wherever it has the secret, too.
"""

import hashlib
import hmac
import time
from collections.abc import Callable

VALID_S = 900.0
"""A request ends earlier (RAGFLEET_REQUEST_DEADLINE_S); the rest is for clocks that differ."""


class FilterSigner:
    """Signs filters. Without a secret signatures are empty, and go nowhere.

    clock: Unix seconds; it must agree with the clocks of the Tritons' hosts better than `valid_s`.
    """

    def __init__(self, secret: str, *, valid_s: float = VALID_S, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret.encode()
        self._valid_s = valid_s
        self._clock = clock

    def sign(self, collection: str, expression: str) -> str:
        """`v1.<Unix second until which it holds>.<HMAC-SHA256 in hexadecimal>` for this filter on this collection."""
        if not self._secret:
            return ""
        until = str(int(self._clock() + self._valid_s))
        signed = "\0".join(("v1", until, collection, expression)).encode()
        return f"v1.{until}.{hmac.new(self._secret, signed, hashlib.sha256).hexdigest()}"
