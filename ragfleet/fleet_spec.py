"""What `ragfleet up` wants of the fleet: var/run/fleet.json, the supervisor's desired state."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ragfleet.paths import data_folder

MAX_INSTANCES = 64
MAX_GATEWAYS = 8
MAX_PORT_BASE = 64_000
OPTIONAL_PARTS = ("milvus", "gateway")
_SAME_KIND = ("instances", "gateways", "flavour", "api_key", "model_repository", "milvus_uri", "without")


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of an embedded fleet; docs/contracts.md states them."""

    gateway: int = 8000
    consul: int = 8500
    consul_server: int = 8300
    consul_serf: int = 8301
    milvus: int = 19530
    first_triton: int = 8101
    further_gateways: int = 8001

    @classmethod
    def based(cls, base: int | None) -> "Ports":
        """The default ports, or all of them moved to `base`…"""
        if base is None:
            return cls()
        return cls(base, base + 1, base + 2, base + 3, base + 8, base + 11, base + 14)

    def gateway_of(self, index: int) -> int:
        """Of the gateway `index`; the first one's is `gateway`."""
        return self.further_gateways + index - 1 if index else self.gateway

    def triton(self, index: int) -> tuple[int, int, int]:
        """HTTP, gRPC and metrics of the instance `index`."""
        first = self.first_triton + 10 * index
        return first, first + 1, first + 2


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """One fleet as it should be."""

    instances: int = 2
    gateways: int = 1
    flavour: str = ""
    port_base: int | None = None
    api_key: str = ""
    model_repository: str = str(data_folder("model_repository"))
    milvus_uri: str = ""
    """A Milvus that runs elsewhere; empty: Milvus Lite is one of the parts."""
    without: list[str] = field(default_factory=list)
    """Parts that somebody else runs, of OPTIONAL_PARTS."""

    @property
    def ports(self) -> Ports:
        """Every port that the fleet uses."""
        return Ports.based(self.port_base)

    @property
    def gateway_url(self) -> str:
        """Where clients call; OpenAI's base URL is this and /v1. Of several gateways it is the first one's."""
        return f"http://127.0.0.1:{self.ports.gateway}"

    @property
    def gateway_urls(self) -> dict[str, str]:
        """Of each gateway, by its name as a part; empty where somebody else runs them."""
        count = 0 if "gateway" in self.without else self.gateways
        return {
            f"gateway-{index}" if index else "gateway": f"http://127.0.0.1:{self.ports.gateway_of(index)}"
            for index in range(count)
        }

    @property
    def consul_url(self) -> str:
        """Consul's HTTP API, and its UI under /ui."""
        return f"http://127.0.0.1:{self.ports.consul}"

    @property
    def milvus(self) -> str:
        """The Milvus in use."""
        return self.milvus_uri or f"http://127.0.0.1:{self.ports.milvus}"

    @property
    def names(self) -> list[str]:
        """The instances' names, in order."""
        return [f"triton-{index}" for index in range(self.instances)]


def write(path: Path, plan: FleetSpec) -> None:
    """Replaces the file whole, readable by this user only: it holds the API key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(asdict(plan), indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


def read(path: Path) -> FleetSpec | None:
    """The plan, or None where there is none that can be read."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        spec = FleetSpec(**{name: fields[name] for name in FleetSpec.__slots__ if name in fields})
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return spec if _sound(spec) else None


def _sound(spec: FleetSpec) -> bool:
    """Whether every field has the kind and the bounds that `up` gives it: a file may come from anywhere."""
    plain = FleetSpec()
    if not all(type(getattr(spec, name)) is type(getattr(plain, name)) for name in _SAME_KIND):
        return False
    if not all(type(part) is str for part in spec.without):
        return False
    base = spec.port_base
    return (
        0 <= spec.instances <= MAX_INSTANCES
        and 1 <= spec.gateways <= MAX_GATEWAYS
        and (base is None or (type(base) is int and 1024 <= base <= MAX_PORT_BASE))
    )
