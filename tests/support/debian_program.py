"""Programs out of Debian packages, unpacked into the cache and not installed, for tests that ask a real program."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ragfleet.paths import cache_folder

# A mirror that is slow to answer is asked again; one that is gone costs half a minute and not two.
PATIENCE = ("-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30")


class NotToBeHad(Exception):
    """This machine has no such program and cannot get it; the message says why."""


def unpack(name: str, *packages: str) -> Path:
    """The folder with the content of `packages`, downloaded once. Skips the test where apt cannot get them, with its reason."""
    try:
        return download(name, *packages)
    except NotToBeHad as why:
        pytest.skip(str(why))


def download(name: str, *packages: str, dependencies: bool = False) -> Path:
    """Like `unpack`, with what the packages stand on and this machine lacks, if wanted. Raises NotToBeHad."""
    target = cache_folder() / "debian" / name
    if target.is_dir():
        return target
    if shutil.which("apt-get") is None:
        raise NotToBeHad("no apt-get here, so no Debian package to unpack")
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as scratch:
        fresh = Path(scratch) / name
        fresh.mkdir()
        try:
            _fetch(fresh, packages, dependencies=dependencies)
        except NotToBeHad:  # the machine's lists of packages may be none, or older than the mirror
            _fetch(fresh, packages, *_own_lists(Path(scratch) / "apt"), dependencies=dependencies)
        for package in fresh.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, fresh], check=True, timeout=300)
            package.unlink()
        fresh.replace(target)
    return target


def _fetch(folder: Path, packages: Sequence[str], *options: str, dependencies: bool) -> None:
    wanted = set(packages)
    if dependencies:
        plan = _apt(folder, *options, "install", "--simulate", "--no-install-recommends", *packages)
        wanted |= {line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")}
    _apt(folder, *options, "download", "-qq", *sorted(wanted))


def _own_lists(state: Path) -> tuple[str, ...]:
    """Options for apt with fresh lists of packages in `state`: the machine's can be written by root alone, and are not ours."""
    (state / "lists" / "partial").mkdir(parents=True)
    (state / "archives" / "partial").mkdir(parents=True)
    options = (
        "-o",
        f"Dir::State={state}",
        "-o",
        f"Dir::Cache={state}",
        "-o",
        "Dir::State::status=/var/lib/dpkg/status",
    )
    _apt(state, *options, "update", "-qq")
    return options


def _apt(folder: Path, *arguments: str) -> str:
    """What apt-get said. Bounded: a machine without a network is told so, and no test waits for it."""
    command = ["apt-get", *PATIENCE, *arguments]
    try:
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"apt-get {' '.join(arguments)}: no end after 240 s") from None
    if said.returncode:
        raise NotToBeHad(f"apt-get {' '.join(arguments)}: {said.stderr.strip()[:300]}")
    return said.stdout
