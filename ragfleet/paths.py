"""Where an embedded fleet keeps its state: one folder, `RAGFLEET_HOME`, laid out as docs/contracts.md says."""

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout: the model repository, the Consul configuration and the examples lie beside this package."""


@dataclass(frozen=True, slots=True)
class Home:
    """The paths under one state folder. Nothing is created until `make()`."""

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
    def parts_file(self) -> Path:
        """What the supervisor sees of each part."""
        return self.run / "parts.json"

    @property
    def supervisor_pid(self) -> Path:
        """The supervisor's pid; it holds a lock on this file as long as it lives."""
        return self.run / "supervisor.pid"

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
    """`RAGFLEET_HOME`, or `var/` in the checkout; always absolute."""
    return Home(Path(os.environ.get("RAGFLEET_HOME") or PROJECT / "var").resolve())


def cache_folder() -> Path:
    """Downloads that outlive `make clean`: `RAGFLEET_CACHE`, or `.cache/` in the checkout."""
    return Path(os.environ.get("RAGFLEET_CACHE") or PROJECT / ".cache").resolve()
