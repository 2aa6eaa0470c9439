"""Where tritonserver is, and how it is started: its arguments, its environment, its backend folder.

Flags are those of Triton 2.51 and newer; a flag that only newer servers know is used when `--help` lists it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.settings import WorkerSettings

SYSTEM_BINARY = Path("/opt/tritonserver/bin/tritonserver")
RESTRICTED = "shared-memory,model-repository,statistics,trace,logging"
"""APIs that no client of the fleet needs and that let one client harm another (CVE-2025-23319 and its kin)."""
MAX_INPUT_BYTES = 16 << 20
CACHE_BYTES = 64 << 20
HELP_SECONDS = 20.0
TENSORRT_BACKEND = re.compile(r'^\s*backend\s*:\s*"tensorrtllm"', re.MULTILINE)
KV_SHARE = re.compile(r'^\s*parameters[^#\n]*"kv_cache_free_gpu_mem_fraction"', re.MULTILINE)
RESPONSE_CACHE = re.compile(r"response_cache\s*:?\s*\{\s*enable\s*:\s*true", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Installation:
    """One tritonserver and what it needs beside itself."""

    binary: Path
    backends: Path
    caches: Path
    libraries: tuple[Path, ...] = ()
    """Folders for LD_LIBRARY_PATH; empty where the system's loader finds everything."""
    stub: Path | None = None
    """The Python backend's stub for this interpreter, where it does not lie in `backends` already."""

    @property
    def from_wheel(self) -> bool:
        """Whether it is the one that the wheel nvidia-pytriton carries."""
        return bool(self.libraries)


def site_packages() -> Path:
    """Where this interpreter's packages are."""
    return Path(sysconfig.get_paths()["purelib"])


def find(site: Path | None = None, path: str | None = None) -> Installation | None:
    """A server on PATH, in NVIDIA's container, or in the wheel nvidia-pytriton; None where there is none."""
    on_path = shutil.which("tritonserver", path=path)
    for binary in (Path(on_path) if on_path else None, SYSTEM_BINARY):
        if binary and binary.is_file():
            root = binary.resolve().parent.parent
            return Installation(binary, root / "backends", root / "caches")
    site = site or site_packages()
    root = site / "pytriton" / "tritonserver"
    if not (root / "bin" / "tritonserver").is_file():
        return None
    return Installation(
        binary=root / "bin" / "tritonserver",
        backends=root / "backends",
        caches=root / "caches",
        libraries=(site / "nvidia_pytriton.libs", Path(sysconfig.get_config_var("LIBDIR") or "")),
        stub=root / "python_backend_stubs" / interpreter() / "triton_python_backend_stub",
    )


def interpreter() -> str:
    """`3.11`: the version that the Python backend's stub must have been built for."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def prepare_backends(installation: Installation, home: Path) -> Path:
    """The folder for --backend-directory.

    The wheel keeps the stubs apart from the backend, which wants its stub beside itself; so both are linked into one
    folder of ours. Safe to run in several workers at once.
    """
    if installation.stub is None:
        return installation.backends
    target = home / "triton" / "backends" / "python"
    target.mkdir(parents=True, exist_ok=True)
    for source in (*(installation.backends / "python").iterdir(), installation.stub):
        link = target / source.name
        if link.is_symlink() and link.readlink() == source:
            continue
        fresh = target / f".{source.name}.{os.getpid()}"
        fresh.symlink_to(source)
        fresh.replace(link)
    return target.parent


def known_flags(installation: Installation, environment: Mapping[str, str]) -> frozenset[str]:
    """The flags that this server's `--help` lists; raises OSError or subprocess.SubprocessError where it cannot run."""
    shown = subprocess.run(
        [installation.binary, "--help"],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=HELP_SECONDS,
        check=False,
    )
    flags = frozenset(re.findall(r"^\s*(--[a-z][a-z0-9-]+)", shown.stdout + shown.stderr, re.MULTILINE))
    if not flags:
        raise OSError(f"{installation.binary} --help says: {(shown.stderr or shown.stdout).strip()[:300]}")
    return flags


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the models of a repository want of the server's command line."""

    response_cache: bool = False
    """A model asks for the response cache, which must then be given a size."""
    complete_configs: bool = False
    """A model's backend (TensorRT-LLM's) cannot complete its configuration, and fails when it is asked to."""
    gpu: bool = False
    """A model takes a share of a GPU's memory for its KV cache: it cannot serve without one."""


def wishes(repository: Path, flavour: str) -> Wishes:
    """Reads the configurations that Triton will load: a model's `configs/<flavour>.pbtxt`, else its config.pbtxt."""
    texts = []
    for model in repository.iterdir():
        chosen = model / "configs" / f"{flavour}.pbtxt"
        path = chosen if flavour and chosen.is_file() else model / "config.pbtxt"
        if path.is_file():
            texts.append(path.read_text(encoding="utf-8"))
    return Wishes(
        response_cache=any(RESPONSE_CACHE.search(text) for text in texts),
        complete_configs=any(TENSORRT_BACKEND.search(text) for text in texts),
        gpu=any(KV_SHARE.search(text) for text in texts),
    )


def shared_memory_prefix(home: Path, name: str = "") -> str:
    """The prefix of an instance's regions in /dev/shm: distinct for each instance of each fleet on this machine.

    Without a name, the prefix of all instances of the fleet at `home`.
    """
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    return f"ragfleet_{digest}_{name}_" if name else f"ragfleet_{digest}_"


def arguments(
    settings: WorkerSettings,
    installation: Installation,
    *,
    backends: Path,
    flags: Collection[str],
    wishes: Wishes,
    gpu: bool,
    cores: int,
    key: str,
) -> list[str]:
    """The whole command line. `key` guards the restricted APIs; nobody is told it."""
    argv = [
        str(installation.binary),
        f"--id={settings.name}",
        f"--model-repository={settings.model_repository}",
        "--model-control-mode=none",
        f"--backend-directory={backends}",
        f"--backend-config=python,shm-region-prefix-name={shared_memory_prefix(settings.home, settings.name)}",
        "--model-load-thread-count=8",  # loading a Python model is mostly waiting for its interpreter
        f"--exit-timeout-secs={max(1, round(settings.exit_timeout))}",
        "--log-format=ISO8601",
        f"--http-address={settings.bind}",
        f"--http-port={settings.http_port}",
        # Each thread is an event loop that serves many streams; the default of 8 only makes 2 cores switch more.
        f"--http-thread-count={max(2, min(2 * cores, 8))}",
        f"--http-restricted-api={RESTRICTED}:ragfleet-admin={key}",
        f"--grpc-address={settings.bind}",
        f"--grpc-port={settings.grpc_port}",
        f"--grpc-restricted-protocol={RESTRICTED}:ragfleet-admin={key}",
        f"--metrics-port={settings.metrics_port}",
        f"--allow-gpu-metrics={str(gpu).lower()}",
        "--allow-sagemaker=false",
        "--allow-vertex-ai=false",
    ]
    if not gpu:
        argv += ["--cuda-memory-pool-byte-size=0:0", "--pinned-memory-pool-byte-size=0"]
    if settings.flavour:
        argv.append(f"--model-config-name={settings.flavour}")
    if wishes.complete_configs:
        argv.append("--disable-auto-complete-config")
    if wishes.response_cache:
        argv += [f"--cache-config=local,size={CACHE_BYTES}", f"--cache-directory={installation.caches}"]
    if settings.trace_endpoint:
        argv += _tracing(settings)
    optional = {
        "--http-max-input-size": str(MAX_INPUT_BYTES),
        "--metrics-address": settings.bind,
        # Context calls are ensembles: each holds a thread of the pool while its steps are set up.
        "--grpc-infer-thread-count": str(max(2, min(2 * cores, 16))),
    }
    argv += [f"{flag}={value}" for flag, value in optional.items() if flag in flags]
    return argv


def _tracing(settings: WorkerSettings) -> list[str]:
    """Spans of what a request does in Triton, for those that come with a trace context (rate 0): the gateway samples."""
    values = (
        "mode=opentelemetry",
        "level=TIMESTAMPS",
        "rate=0",
        f"opentelemetry,url={settings.trace_endpoint}/v1/traces",
        "opentelemetry,resource=service.name=ragfleet-triton",
        f"opentelemetry,resource=service.instance.id={settings.name}",
    )
    return [f"--trace-config={value}" for value in values]


def environment(
    settings: WorkerSettings,
    installation: Installation,
    inherited: Mapping[str, str],
    *,
    cores: int,
    gpu: bool = False,
    site: Path | None = None,
) -> dict[str, str]:
    """The environment of tritonserver and of its Python stubs. `gpu`: the models work on one.

    PATH leads to this interpreter and PYTHONPATH to its packages, because the stub starts an interpreter of its own and
    looks for its home there.
    """
    site = site or site_packages()
    project = Path(__file__).resolve().parent.parent
    env = {
        **inherited,
        "RAGFLEET_HOME": str(settings.home),
        "RAGFLEET_INSTANCE": settings.name,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(site), str(project)])),
        "PYTHONDONTWRITEBYTECODE": "1",  # the repository may be read-only
        # A GPU embeds faster than one core tokenizes. Where the cores embed too, more threads would only fight for them.
        "TOKENIZERS_PARALLELISM": str(gpu).lower(),
        "HF_HUB_OFFLINE": "1",
    }
    env.setdefault("OMP_NUM_THREADS", str(max(1, cores // 2)))
    return library_environment(installation, env)


def library_environment(installation: Installation, inherited: Mapping[str, str]) -> dict[str, str]:
    """`inherited` with what the server's own libraries need."""
    if not installation.libraries:
        return dict(inherited)
    already = inherited.get("LD_LIBRARY_PATH", "")
    folders = [str(folder) for folder in installation.libraries]
    path = os.pathsep.join(dict.fromkeys([*folders, *filter(None, already.split(os.pathsep))]))
    return {**inherited, "LD_LIBRARY_PATH": path}


def digest(argv: Sequence[str]) -> str:
    """Names a way of starting Triton, whatever the random key: two equal digests mean interchangeable servers."""
    lasting = [argument for argument in argv if "ragfleet-admin=" not in argument]
    return hashlib.sha256("\0".join(lasting).encode()).hexdigest()[:16]
