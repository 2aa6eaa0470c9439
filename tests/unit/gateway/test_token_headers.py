"""Whatever stands in the header of a token that nobody has signed, it is refused as one."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import KeySet, RSAKey

from gateway.errors import Unauthenticated
from gateway.tenants.directory import Directory
from gateway.tenants.oidc import TokenRules, TokenVerifier

NAMES = st.sampled_from(["alg", "kid", "crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "typ", "cty", "zip", "enc"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "one", "RS256", "b64", "kid"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2))


class Known:
    """A provider whose keys are there."""

    def __init__(self) -> None:
        self.keys = KeySet([RSAKey.generate_key(2048, {"kid": "one"})])

    async def fresh(self) -> None:
        """There are no others."""


RULES = TokenRules(issuer="https://id.example", audience="ragfleet", algorithms=("RS256", "PS256", "ES256"))
VERIFIER = TokenVerifier(RULES, Known(), Directory({}))  # type: ignore[arg-type]


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@settings(max_examples=300, derandomize=True, database=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4), st.binary(max_size=60), st.binary(max_size=60))
async def test_it_is_refused(header: dict[str, Any], payload: bytes, signature: bytes) -> None:
    made = {"alg": "RS256", "kid": "one", **header}
    with pytest.raises(Unauthenticated):
        await VERIFIER.tenant_of(f"{_part(json.dumps(made).encode())}.{_part(payload)}.{_part(signature)}")
