"""Where Consul comes from: the machine's own mirrors, and archives unpacked without touching the system."""

import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from ragfleet import apt_sources, consul_binary
from ragfleet.download import DownloadError

DEB822 = """\
# a comment
Types: deb deb-src
# another, inside a stanza
URIs: http://mirror.example/debian
      http://second.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 key

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://other.example/node
Suites: nodistro
Components: stable
"""


def test_reads_the_deb822_format() -> None:
    assert list(apt_sources.parse_deb822(DEB822)) == ["http://mirror.example/debian", "http://second.example/debian/"]


def test_reads_the_one_line_format() -> None:
    text = """
    deb [arch=amd64 signed-by=/usr/share/x.gpg] http://mirror.example/debian bookworm main contrib  # ours
    deb-src http://source.example/debian bookworm main
    # deb http://off.example/debian bookworm main
    deb https://other.example/apt cloud-sdk stable
    """
    assert list(apt_sources.parse_one_line(text)) == ["http://mirror.example/debian"]


def test_mirrors_of_a_machine_each_once_and_only_over_http(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(
        "deb cdrom:[x] bookworm main\ndeb http://mirror.example/debian/ bookworm main\n"
    )
    (parts / "debian.sources").write_text(DEB822)
    (parts / "ignored.sources.disabled").write_text(DEB822.replace("mirror", "ignored"))
    assert apt_sources.mirrors(tmp_path) == ["http://mirror.example/debian", "http://second.example/debian"]
    assert apt_sources.mirrors(tmp_path / "no-apt-here") == []


def ar(*members: tuple[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def tar_with(path: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(path)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_unpacks_a_debian_package() -> None:
    data = lzma.compress(tar_with("./usr/bin/consul", b"program"))
    package = ar(("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", data))
    assert consul_binary.from_deb(package) == b"program"


def test_unpacks_a_release() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("consul", b"program")
    assert consul_binary.from_zip(buffer.getvalue()) == b"program"


def test_something_else_is_no_package() -> None:
    with pytest.raises(DownloadError):
        consul_binary.from_deb(b"<html>")


def test_what_is_in_the_cache_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    cached = tmp_path / "consul" / "consul"
    cached.parent.mkdir()
    cached.write_bytes(b"program")
    found = consul_binary.obtain(tmp_path)
    assert (found.path, found.origin) == (cached, "cache")


def test_the_next_source_is_tried_and_the_program_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    asked = []

    def fetch(url: str, sha256: str, progress: object) -> bytes:
        asked.append(url)
        if url.endswith(".zip"):
            raise DownloadError("no answer within 5 s")
        assert sha256 == consul_binary.DEBIAN_SHA256
        return ar(("data.tar", tar_with("./usr/bin/consul", b"program")))

    monkeypatch.setattr(consul_binary, "fetch", fetch)
    found = consul_binary.obtain(tmp_path / "cache", apt=tmp_path)
    assert found.path.read_bytes() == b"program"
    assert found.path.stat().st_mode & 0o111
    assert len(asked) == 2
    assert asked[1].startswith("http://mirror.example/debian/pool/main/c/consul/")


def test_failure_is_one_sentence_that_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    def fetch(url: str, sha256: str, progress: object) -> bytes:
        raise DownloadError("no answer within 5 s")

    monkeypatch.setattr(consul_binary, "fetch", fetch)
    with pytest.raises(consul_binary.ConsulMissingError, match="Install Consul"):
        consul_binary.obtain(tmp_path / "cache", apt=tmp_path)
