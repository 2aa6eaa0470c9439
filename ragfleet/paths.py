"""Where a fleet's state, its downloads, and what it reads beside its code lie: in a checkout, and where a wheel was installed."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platformdirs import PlatformDirs

_PACKAGE = Path(__file__).resolve().parent
PROJECT = _PACKAGE.parent
"""The checkout, or the folder in an image that is laid out like it."""
_BUNDLED = _PACKAGE / "_data"
"""Only a wheel has it (setup.py)."""


def data_folder(name: str) -> Path:
    """`model_repository`, `consul` or `examples`: the checkout's, or what the wheel brought."""
    return _BUNDLED / name if _BUNDLED.is_dir() else PROJECT / name


@dataclass(frozen=True, slots=True)
class Home:
    """The paths under one state folder, laid out as docs/contracts.md says. Nothing is created until `make()`."""

    root: Path

    @property
    def run(self) -> Path:
        """Small JSON files that say what runs now."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """One log per part."""
        return self.root / "log"

    @property
    def consul_data(self) -> Path:
        """Consul's own data folder."""
        return self.root / "consul"

    @property
    def milvus_data(self) -> Path:
        """Milvus Lite's own data folder."""
        return self.root / "milvus"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer and chat template of the default model, made by `ragfleet setup`."""
        return self.root / "models" / "smollm2"

    @property
    def plan_file(self) -> Path:
        """What `up` wanted; the supervisor's desired state."""
        return self.run / "fleet.json"

    @property
    def filter_secret(self) -> Path:
        """What gateway and Tritons sign and check filters with."""
        return self.run / "filter_secret"

    @property
    def api_key(self) -> Path:
        """The key of the fleet's one user, for the gateway; `ragfleet status` tells it."""
        return self.run / "api_key"

    @property
    def admin_key(self) -> Path:
        """The key that administers: it makes tenants and keys by the gateway's /admin."""
        return self.run / "admin_key"

    @property
    def parts_file(self) -> Path:
        """What the supervisor sees of each part."""
        return self.run / "parts.json"

    @property
    def supervisor_pid(self) -> Path:
        """The supervisor's pid; it holds a lock on this file as long as it lives."""
        return self.run / "supervisor.pid"

    @property
    def start_lock(self) -> Path:
        """Whoever starts the fleet holds a lock on it until all of it serves."""
        return self.run / "up.lock"

    def instance_file(self, name: str) -> Path:
        """The state file that the worker of `name` writes."""
        return self.run / f"{name}.json"

    def log_of(self, part: str) -> Path:
        """The log file of a part, e.g. `gateway`, `triton-0.worker`, `triton-0`."""
        return self.log / f"{part}.log"

    def make(self) -> None:
        """Creates the folders that every part expects; only this user can read them, for fleet.json holds a key."""
        for folder in (self.root, self.run, self.log):
            folder.mkdir(parents=True, exist_ok=True)
        self.run.chmod(0o700)


def home_from_environment() -> Home:
    """`RAGFLEET_HOME`; without it `var/` in the checkout, or the user's state folder. Always absolute."""
    return Home(_folder("RAGFLEET_HOME", "var", lambda: _user_folders().user_state_path))


def cache_folder() -> Path:
    """Downloads that outlive `make clean`: `RAGFLEET_CACHE`; without it `.cache/` in the checkout, or the user's cache folder."""
    return _folder("RAGFLEET_CACHE", ".cache", lambda: _user_folders().user_cache_path)


def embedding_graph() -> Path:
    """The default embedding model for ONNX Runtime, made by `ragfleet setup` once for all state folders."""
    return cache_folder() / "embedding-onnx"


def _folder(variable: str, in_checkout: str, of_user: Callable[[], Path]) -> Path:
    if named := os.environ.get(variable):
        return Path(named).resolve()
    return of_user() if _BUNDLED.is_dir() else PROJECT / in_checkout


def _user_folders() -> "PlatformDirs":
    from platformdirs import PlatformDirs

    return PlatformDirs("ragfleet", appauthor=False)
