"""Prints what the extras of pyproject.toml want, one requirement a line: `requirements.py pyproject.toml EXTRA …`.

An image installs them in a layer of their own, before our code is copied.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

OURS = re.compile(r"ragfleet\[([\w,-]+)\]")


def requirements(optional: Mapping[str, Sequence[str]], extras: Sequence[str]) -> Iterator[str]:
    """Those of each extra; an extra that names others of ours stands for theirs, too."""
    for extra in extras:
        for wanted in optional[extra]:
            if others := OURS.fullmatch(wanted):
                yield from requirements(optional, others[1].split(","))
            else:
                yield wanted


def main(file: str, *extras: str) -> None:
    """Each requirement once."""
    project = tomllib.loads(Path(file).read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *requirements(project["optional-dependencies"], extras)]
    print("\n".join(dict.fromkeys(wanted)))


if __name__ == "__main__":
    main(*sys.argv[1:])
