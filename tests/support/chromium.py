"""Chromium for tests in a browser: the machine's own, or Debian's, unpacked into the cache and not installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ragfleet.paths import cache_folder
from tests.support.debian_program import unpack

PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core", "fontconfig-config")
PROGRAM = Path("usr/lib/chromium/chromium-headless-shell")


def chromium() -> tuple[Path, dict[str, str]]:
    """The program, and the environment that it wants. Skips the test where there is none, with its reason."""
    for name in ("chromium-headless-shell", "chromium", "google-chrome"):
        if found := shutil.which(name):
            return Path(found), dict(os.environ)
    root = cache_folder() / "debian" / "chromium"
    if not (root / PROGRAM).is_file():
        root = unpack("chromium", *_missing())
    libraries = [str(each) for name in ("", "/pulseaudio") for each in root.glob(f"usr/lib/*-linux-gnu{name}")]
    added = {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(_fonts(root))}
    return root / PROGRAM, {**os.environ, **added}


def _missing() -> list[str]:
    """The packages, and those that they stand on as far as this machine has none of them."""
    command = ("apt-get", "install", "--simulate", "--no-install-recommends", *PACKAGES)
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if said.returncode:
        pytest.skip(f"apt-get install --simulate: {said.stderr.strip()[:200]}")
    return sorted({line.split()[1] for line in said.stdout.splitlines() if line.startswith("Inst ")} | set(PACKAGES))


def _fonts(root: Path) -> Path:
    """A configuration of fontconfig that knows the unpacked fonts, beside the machine's."""
    file = root / "fonts.conf"
    if not file.is_file():
        folders = f"<dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{root}/fontconfig</cachedir>"
        fresh = file.with_suffix(f".{os.getpid()}")
        fresh.write_text(
            f'<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>{folders}</fontconfig>'
        )
        fresh.replace(file)
    return file
