"""What administrators send and are sent."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from gateway.api.validation import WHOLE, items
from gateway.knowledge.catalog.administration import (
    MAX_GROUPS,
    MAX_OVERLAP_S,
    MAX_PRIORITY,
    NAME,
    OVERLAP_S,
    TenantSettings,
)
from gateway.tenants.key import GROUP_PATTERN, Scope
from gateway.tenants.limits import MOST, TenantLimits

_LIMIT = {"type": ["integer", "null"], "minimum": 0, "maximum": MOST}
LimitValues = Annotated[
    dict[str, Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None],
    WithJsonSchema(
        {
            "type": "object",
            "properties": dict.fromkeys(TenantLimits.__slots__, _LIMIT),
            "additionalProperties": False,
            "description": "What is not named stays as it is, or is not limited; a null takes a limit away.",
        }
    ),
]
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Time = Annotated[int, Field(ge=0, le=MOST), WHOLE]
"""Unix seconds."""


class ChangedTenant(BaseModel):
    """What is to change of a tenant; what is not named stays."""

    model_config = ConfigDict(extra="forbid", strict=True)
    weight: Annotated[float, Field(gt=0, lt=1e9)] | None = None
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY), WHOLE] | None = None
    tenant_class: Annotated[str, Field(pattern=f"^({NAME})?$")] | None = Field(None, alias="class")
    limits: LimitValues = Field(default_factory=dict)

    @property
    def settings(self) -> TenantSettings:
        """As an Administrator wants it."""
        return TenantSettings(
            weight=self.weight, priority=self.priority, placement=self.tenant_class, limits=self.limits
        )


class NewTenant(ChangedTenant):
    """A tenant that is to be made."""

    name: Name


class KeyRequest(BaseModel):
    """A key that is to be made. scopes: all but admin where they are not named. groups: every document of the tenant."""

    model_config = ConfigDict(extra="forbid", strict=True)
    tenant: Name
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], items(1, len(Scope))] | None = None
    groups: Annotated[list[Annotated[str, Field(pattern=GROUP_PATTERN)]], items(0, MAX_GROUPS)] | None = None
    limits: LimitValues = Field(default_factory=dict)
    expires_at: Time | None = None


class Rotation(BaseModel):
    """How a key is to be rotated."""

    model_config = ConfigDict(extra="forbid", strict=True)
    overlap_s: Annotated[int, Field(ge=0, le=MAX_OVERLAP_S), WHOLE] = OVERLAP_S
    """For which the secret that is replaced stays good, too."""


TenantObject = TypedDict(
    "TenantObject",
    {
        "object": Literal["tenant"],
        "name": str,
        "weight": float,
        "priority": int,
        "class": str,
        "limits": dict[str, int],
        "suspended": bool,
        "created_at": int,
    },
)


class KeyObject(TypedDict):
    """A key, without what opens."""

    object: Literal["api_key"]
    id: str
    tenant: str
    status: Literal["active", "expired", "revoked"]
    scopes: list[Scope]
    groups: list[str] | None
    limits: dict[str, int]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    previous_secret_until: int | None


class NewKeyObject(KeyObject):
    """A key with what it is used by, which is shown this once."""

    key: str


class AuditObject(TypedDict):
    """An act of an administrator."""

    object: Literal["audit_record"]
    id: str
    at: float
    actor: str
    act: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class TenantsBody(TypedDict):
    """All tenants, by name."""

    object: Literal["list"]
    data: list[TenantObject]


class KeysBody(TypedDict):
    """Keys, the newest first."""

    object: Literal["list"]
    data: list[KeyObject]


class AuditBody(TypedDict):
    """Acts, the newest first."""

    object: Literal["list"]
    data: list[AuditObject]
    has_more: bool
