"""Tokens of an identity provider (OpenID Connect) instead of keys: a signed JWT names tenant, groups and scopes."""

import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwt import JWTClaimsRegistry

from gateway.config import Settings, is_loopback
from gateway.environment import ConfigError
from gateway.errors import Unauthenticated, Unavailable
from gateway.tenants.directory import Directory
from gateway.tenants.jwks import Jwks
from gateway.tenants.key import GROUP_PATTERN, Key, Scope
from gateway.tenants.tenant import Tenant

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"}
)
"""Of public keys alone: with a shared secret whoever can check a token could make one."""
MAX_TOKEN = 16 * 1024
"""Characters."""
LEEWAY_S = 30
"""By which the provider's clock and ours may differ."""
MAX_WORDS, MAX_WORD = 256, 128
"""Groups and scopes of a token, and the characters of each; the same for the tenant and the subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What a token must be like. The claims' names: an empty one for groups means that tokens do not restrict documents."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    tenant_claim: str = "tenant"
    groups_claim: str = "groups"
    scope_claim: str = "scope"

    @classmethod
    def from_settings(cls, settings: Settings) -> "TokenRules":
        """Raises ConfigError."""
        algorithms = tuple(settings.oidc_algorithms.split())
        if not algorithms or not ALGORITHMS.issuperset(algorithms):
            raise ConfigError(
                f"RAGFLEET_OIDC_ALGORITHMS is {settings.oidc_algorithms!r}. Name some of {' '.join(sorted(ALGORITHMS))}."
            )
        if not settings.oidc_audience:
            raise ConfigError(
                "RAGFLEET_OIDC_ISSUER is set. Set RAGFLEET_OIDC_AUDIENCE, too: whom tokens are meant for."
            )
        for url in filter(None, (settings.oidc_issuer, settings.oidc_jwks_url)):
            parts = urlsplit(url)
            if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
                raise ConfigError(f"The identity provider's {url} must begin with https://.")
        return cls(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            algorithms=algorithms,
            tenant_claim=settings.oidc_tenant_claim,
            groups_claim=settings.oidc_groups_claim,
            scope_claim=settings.oidc_scope_claim,
        )


class TokenVerifier:
    """Finds the tenant of a token. The tenant must be one that the directory knows."""

    def __init__(
        self, rules: TokenRules, jwks: Jwks, directory: Directory, *, wall: Callable[[], float] = time.time
    ) -> None:
        """wall: Unix seconds."""
        self._rules = rules
        self._directory = directory
        self._claims = JWTClaimsRegistry(
            now=lambda: int(wall()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self.jwks = jwks

    @classmethod
    def from_settings(cls, settings: Settings, directory: Directory, tls: ssl.SSLContext) -> "TokenVerifier | None":
        """None where no identity provider is configured. tls: which authorities vouch for the provider. Raises ConfigError."""
        if not settings.oidc_issuer:
            return None
        rules = TokenRules.from_settings(settings)
        return cls(rules, Jwks(settings.oidc_issuer, settings.oidc_jwks_url, tls=tls), directory)

    @staticmethod
    def recognizes(text: str) -> bool:
        """Whether this has the form of a signed JWT."""
        return text.count(".") == 2 and text.startswith("eyJ")

    async def tenant_of(self, token: str) -> Tenant:
        """Raises Unauthenticated, PermissionDenied for a suspended tenant, and Unavailable while nobody knows the keys."""
        if len(token) > MAX_TOKEN:
            raise Unauthenticated("The token is too long.")
        try:
            claims = self._verified(token)
        except (InvalidKeyIdError, Unavailable):
            await self.jwks.fresh()
            try:
                claims = self._verified(token)
            except InvalidKeyIdError:
                raise Unauthenticated("The token is signed by a key that its issuer does not have.") from None
        groups = None
        if self._rules.groups_claim:
            # Others are on no document.
            groups = frozenset(
                each for each in _words(claims, self._rules.groups_claim) if re.fullmatch(GROUP_PATTERN, each)
            )
        scopes = frozenset(map(Scope, frozenset(_words(claims, self._rules.scope_claim)) & frozenset(Scope)))
        key = Key(f"oidc:{_word(claims, 'sub')}", scopes, groups)
        return self._directory.tenant(_word(claims, self._rules.tenant_claim), key)

    def _verified(self, token: str) -> Mapping[str, Any]:
        try:
            claims = jwt.decode(token, self.jwks.keys, algorithms=self._rules.algorithms).claims
            self._claims.validate(claims)
        except InvalidKeyIdError:
            raise
        except ExpiredTokenError:
            raise Unauthenticated("The token has expired. Get a new one from your identity provider.") from None
        except (JoseError, ValueError, TypeError) as error:  # TypeError: joserfc takes a header's `crit` as it comes
            raise Unauthenticated(f"The token is not valid: {str(error)[:200]}") from None
        return claims


def _word(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_WORD or not value.isprintable():
        raise Unauthenticated(f"The token's claim '{claim[:MAX_WORD]}' must be a word of 1 to {MAX_WORD} characters.")
    return value


def _words(claims: Mapping[str, Any], claim: str) -> list[str]:
    value = claims.get(claim, [])
    words = value.split() if isinstance(value, str) else value
    if (
        not isinstance(words, list)
        or len(words) > MAX_WORDS
        or not all(isinstance(each, str) and 0 < len(each) <= MAX_WORD and each.isprintable() for each in words)
    ):
        raise Unauthenticated(
            f"The token's claim '{claim[:MAX_WORD]}' must be a list of {MAX_WORDS} words at the most."
        )
    return words
