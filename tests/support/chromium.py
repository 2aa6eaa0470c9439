"""Chromium for tests in a browser: the machine's own, or Debian's, unpacked into the cache and not installed.

`python -m tests.support.chromium` gets it and says what it found; tests only look for it.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from ragfleet.paths import cache_folder
from tests.support.debian_program import NotToBeHad, download

PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core", "fontconfig-config")
PROGRAM = Path("usr/lib/chromium/chromium-headless-shell")


@cache
def chromium() -> tuple[Path, dict[str, str]]:
    """The program, and the environment that it wants. Raises NotToBeHad, with the reason."""
    for name in ("chromium-headless-shell", "chromium", "google-chrome"):
        if found := shutil.which(name):
            return _that_starts(Path(found), dict(os.environ))
    root = cache_folder() / "debian" / "chromium"
    if not root.is_dir():
        raise NotToBeHad("this machine has no Chromium, and `make test-ui` could not get Debian's or was not called")
    libraries = [str(each) for name in ("", "/pulseaudio") for each in root.glob(f"usr/lib/*-linux-gnu{name}")]
    added = {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(_fonts(root))}
    return _that_starts(root / PROGRAM, {**os.environ, **added})


def _that_starts(program: Path, environment: dict[str, str]) -> tuple[Path, dict[str, str]]:
    """Both, if it starts at all: one that misses a library of this machine is none."""
    try:
        command = [program, "--no-sandbox", "--version"]
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        stderr = getattr(error, "stderr", None) or ""
        raise NotToBeHad(f"{program} does not start here: {error} {stderr.strip()[:300]}") from error
    return program, environment


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


def _get() -> str:
    try:
        return f"Chromium: {chromium()[0]}"
    except NotToBeHad:
        chromium.cache_clear()
    try:
        download("chromium", *PACKAGES, dependencies=True)
        return f"Chromium: {chromium()[0]}"
    except NotToBeHad as why:
        return f"No Chromium can be had here, so the tests in a browser are skipped: {why}"


if __name__ == "__main__":
    print(_get())
