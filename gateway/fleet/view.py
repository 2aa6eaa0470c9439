"""One immutable picture of the fleet: who is in it, and what each carries.

Everything that decides (placement, admission, status) reads a `FleetView`; only the store replaces it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Instance:
    """A Triton as Consul describes it (docs/contracts.md); constant while it is registered."""

    name: str
    address: str
    http_port: int
    grpc_port: int
    metrics_port: int
    model: str
    engine: str = ""
    flavour: str = ""
    device: str = "cpu"
    slots: int = 1
    """Sequences that the engine decodes at the same time."""
    max_context: int = 2048
    """Tokens, prompt and answer together."""
    version: str = ""
    loras: frozenset[str] = frozenset()
    """Adapters that it serves (Consul meta `loras`, comma-separated, optional)."""
    tenant_classes: frozenset[str] = frozenset()
    """Tenant classes that it is kept for; empty: for everybody (Consul meta `tenant_classes`, optional)."""
    embedding_model: str = ""
    """The model that its `embedding` serves; empty where it did not say."""
    cached_prompts: int = 0
    """Prompts that its prefix cache keeps, whatever their length; 0: a pool of KV blocks (optional in Consul's meta)."""


@dataclass(frozen=True, slots=True)
class LoadSample:
    """One scrape of an instance's metrics. Counts are requests, blocks or bytes; a metric that is missing is None."""

    at: float
    """Monotonic seconds when the scrape was answered."""
    waiting: int | None = None
    active: int | None = None
    scheduled: int | None = None
    kv_used_blocks: int | None = None
    kv_max_blocks: int | None = None
    kv_block_tokens: int | None = None
    gpu_memory_used_bytes: float | None = None
    gpu_memory_total_bytes: float | None = None
    gpu_utilization: float | None = None
    slots: int | None = None
    """Requests that the engine can hold at the same time, as it says itself."""

    @property
    def kv_fraction(self) -> float | None:
        """KV blocks in use, 0–1."""
        if self.kv_used_blocks is None or not self.kv_max_blocks:
            return None
        return self.kv_used_blocks / self.kv_max_blocks


@dataclass(frozen=True, slots=True)
class FleetMember:
    """An instance with what is known of it now."""

    instance: Instance
    load: LoadSample | None = None
    healthy: bool = True
    """Both Consul checks pass and it is not in maintenance."""
    draining: bool = False
    reason: str = ""
    """Why it is not healthy, in words."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet at one moment. `version` grows with each change of membership, not of load."""

    version: int = 0
    members: Mapping[str, FleetMember] = field(default_factory=lambda: MappingProxyType({}))
    source_alive: bool = False
    """Whether Consul answered last time; when it did not, this is the last view it gave."""
    _serving: list[tuple[FleetMember, ...]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def serving(self) -> tuple[FleetMember, ...]:
        """The members that may be given new work; found once for each view."""
        if not self._serving:
            self._serving.append(tuple(m for m in self.members.values() if m.healthy and not m.draining))
        return self._serving[0]
