"""What the documents name is there: files and folders of this project, and the pages that they link to."""

import re
from pathlib import Path

import pytest

from ragfleet.paths import PROJECT

PAGES = sorted([*(PROJECT / "docs").glob("*.md"), *PROJECT.glob("*/README.md"), PROJECT / "README.md"])
FOLDERS = "gateway|worker|ragfleet|build_scripts|tokens|model_repository|docker|consul|tests|benchmarks|examples|docs"
NAMED = re.compile(
    rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]*?[\w-]+\.(?:py|md|pbtxt|hcl|ya?ml|sh|json|cfg|txt|Dockerfile))\b"
)
SHORT = re.compile(r"(?<![\w/.-])([a-z_]+/[a-z_]+\.py)\b")
"""Within a part: `routing/placer.py`, `prompt_builder/wording.py`."""
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
MODULES = [path.as_posix() for folder in FOLDERS.split("|") for path in (PROJECT / folder).rglob("*.py")]
LATER = {"docker/secrets"}
"""Made by whoever deploys (docker/make-secrets.sh)."""
COMING = {"gpu.md"}
"""Pages that others link to while they are still being written: take one out of here when it is there."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    named = {name for name in NAMED.findall(text) if not name.startswith(tuple(LATER))}
    assert not sorted(name for name in named if not (PROJECT / name).is_file())
    links = set(LINK.findall(text)) - COMING
    assert not sorted(link for link in links if not (page.parent / link.partition("#")[0]).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_module_that_a_page_names_in_short_exists(page: Path) -> None:
    short = {name for name in SHORT.findall(page.read_text("utf-8")) if not re.match(FOLDERS, name)}
    assert not sorted(name for name in short if not any(path.endswith(f"/{name}") for path in MODULES))
