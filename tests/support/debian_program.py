"""Programs out of Debian packages, unpacked into the cache and not installed, for tests that ask a real checker."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ragfleet.paths import cache_folder


def unpack(name: str, *packages: str) -> Path:
    """The folder with the content of `packages`, downloaded once. Skips the test where apt cannot get them, with its reason."""
    target = cache_folder() / "debian" / name
    if target.is_dir():
        return target
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here, so no Debian package to unpack")
    fresh = target.with_name(f".{name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        got = subprocess.run(
            ["apt-get", "download", "-qq", *packages],
            cwd=fresh,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        if got.returncode:
            pytest.skip(f"apt-get download {' '.join(packages)}: {got.stderr.strip()[:200]}")
        for package in fresh.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, fresh], check=True, timeout=60)
            package.unlink()
        fresh.replace(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target
