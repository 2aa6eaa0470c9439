"""Finds the program `consul`, or unpacks one into the cache without touching the system.

Order: PATH, the cache, HashiCorp's release, the package of Debian 11 (the last Debian that has one) from the mirror that
this machine's apt uses. Version and checksum of both are pinned here.
"""

import io
import lzma
import platform
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ragfleet import apt_sources
from ragfleet.download import DownloadError, Progress, fetch

RELEASE_VERSION = "1.20.2"
RELEASE_URL = "https://releases.hashicorp.com/consul/{version}/consul_{version}_linux_{arch}.zip"
RELEASE_SHA256 = {
    "amd64": "1bf7ddf332f02e6e36082b0fdf6c3e8ce12a391e7ec7dafd3237bb12766a7fd5",
    "arm64": "c06a1c82888f9e27962f42af89f6ebc860f07f7ced0793ded4325f9b2c875f8b",
}
DEBIAN_PATH = "pool/main/c/consul/consul_1.8.7+dfsg1-2+b3_amd64.deb"
DEBIAN_SHA256 = "e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9"


Unpack = Callable[[bytes], bytes]


class ConsulMissingError(Exception):
    """No Consul anywhere; the text says what was tried and what to do."""


@dataclass(frozen=True, slots=True)
class FoundProgram:
    """The program, and where it came from in words."""

    path: Path
    origin: str


def find(cache: Path) -> FoundProgram | None:
    """The program if it is on PATH or in the cache; never downloads."""
    if on_path := shutil.which("consul"):
        return FoundProgram(Path(on_path), "PATH")
    cached = cache / "consul" / "consul"
    return FoundProgram(cached, "cache") if cached.is_file() else None


def obtain(cache: Path, progress: Progress | None = None, *, apt: Path = apt_sources.APT) -> FoundProgram:
    """The program, downloaded into `cache`/consul/ when it is not there yet. Raises ConsulMissingError."""
    if found := find(cache):
        return found
    tried: list[str] = []
    for origin, url, sha256, unpack in _sources(apt):
        try:
            program = unpack(fetch(url, sha256, progress))
        except DownloadError as error:
            tried.append(f"{origin}: {error}")
            continue
        return FoundProgram(_install(program, cache / "consul" / "consul"), origin)
    raise ConsulMissingError(
        "No program 'consul' on PATH, and none could be downloaded"
        f" ({'; '.join(tried) or 'no source for this kind of machine'})."
        " Install Consul 1.8 or newer (https://developer.hashicorp.com/consul/install) and run this again."
    )


def _sources(apt: Path) -> Iterator[tuple[str, str, str, Unpack]]:
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
    if arch in RELEASE_SHA256:
        url = RELEASE_URL.format(version=RELEASE_VERSION, arch=arch)
        yield f"HashiCorp's release {RELEASE_VERSION}", url, RELEASE_SHA256[arch], from_zip
    if arch == "amd64":
        for mirror in apt_sources.mirrors(apt):
            # '+' stands for itself in a path, but some mirrors decode it as a space.
            yield "Debian 11's package", f"{mirror}/{DEBIAN_PATH.replace('+', '%2B')}", DEBIAN_SHA256, from_deb


def from_zip(archive: bytes) -> bytes:
    """The program in a release's zip archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as unzipped:
        return unzipped.read("consul")


def from_deb(package: bytes) -> bytes:
    """The program in a Debian package: an ar archive that holds a compressed tar archive (deb(5))."""
    for name, data in ar_members(package):
        if name.startswith("data.tar"):
            plain = lzma.decompress(data) if name.endswith(".xz") else data
            with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
                member = tar.extractfile("./usr/bin/consul")
                assert member is not None
                return member.read()
    raise DownloadError("the package contains no data.tar")


def ar_members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each member of an ar archive (ar(5): 60-byte headers, members padded to even offsets)."""
    if not archive.startswith(b"!<arch>\n"):
        raise DownloadError("not a Debian package")
    offset = 8
    while offset + 60 <= len(archive):
        header = archive[offset : offset + 60]
        name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        yield name, archive[offset + 60 : offset + 60 + size]
        offset += 60 + size + size % 2


def _install(program: bytes, target: Path) -> Path:
    """Writes the program whole or not at all: another `ragfleet setup` may run beside this one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(program)
    path = Path(file.name)
    path.chmod(0o755)
    return path.replace(target)
