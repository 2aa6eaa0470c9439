"""Reads which Debian mirrors this machine uses, from apt's own configuration, in both formats that apt knows.

Formats: sources.list(5), the one-line style and the deb822 style.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

APT = Path("/etc/apt")


def parse_one_line(text: str) -> Iterator[str]:
    """The URIs of the `deb` lines in a `*.list` file that carry the component main."""
    for line in text.splitlines():
        fields = re.sub(r"\[[^\]]*\]", " ", line.partition("#")[0]).split()
        if len(fields) >= 4 and fields[0] == "deb" and "main" in fields[3:]:
            yield fields[1]


def parse_deb822(text: str) -> Iterator[str]:
    """The URIs of the enabled `deb` stanzas in a `*.sources` file that carry the component main."""
    # A comment line inside a stanza does not end it, an empty line does.
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if (
            fields.get("enabled", "yes").lower() not in {"no", "false", "0"}
            and "deb" in fields.get("types", "").split()
            and "main" in fields.get("components", "").split()
        ):
            yield from fields.get("uris", "").split()


def mirrors(folder: Path = APT) -> list[str]:
    """The http(s) mirrors in apt's configuration, in order, each once; empty where apt is not used."""
    found: list[str] = []
    for path in _files(folder):
        text = path.read_text(encoding="utf-8", errors="replace")
        found.extend((parse_deb822 if path.suffix == ".sources" else parse_one_line)(text))
    kept = (uri.rstrip("/") for uri in found if uri.startswith(("http://", "https://")))
    return list(dict.fromkeys(kept))


def _files(folder: Path) -> Iterable[Path]:
    yield from (path for path in [folder / "sources.list"] if path.is_file())
    parts = folder / "sources.list.d"
    if parts.is_dir():
        yield from sorted(path for path in parts.iterdir() if path.suffix in {".list", ".sources"})
