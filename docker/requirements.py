"""Prints the dependencies that pyproject.toml declares, one a line: `requirements.py pyproject.toml [EXTRA …]`.

An image installs them in a layer of their own, before our code is copied.
"""

import sys
import tomllib
from pathlib import Path


def main(file: str, *extras: str) -> None:
    """The main dependencies, then those of each extra."""
    project = tomllib.loads(Path(file).read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    for wanted in (project["dependencies"], *(optional[extra] for extra in extras)):
        print("\n".join(wanted))


if __name__ == "__main__":
    main(*sys.argv[1:])
