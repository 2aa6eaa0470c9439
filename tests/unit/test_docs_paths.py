"""What the documents name is there: files and folders of this project, and the pages that they link to."""

import re
from pathlib import Path

import pytest

from ragfleet.paths import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("*/README.md")])
FOLDERS = "assistants|gateway|worker|ragfleet|build_scripts|tokens|model_repository|docker|consul|tests|benchmarks|examples|docs"
NAMED = re.compile(
    rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]*?[\w-]+\.(?:py|md|pbtxt|hcl|ya?ml|sh|json|cfg|txt|Dockerfile))\b"
)
SHORT = re.compile(r"(?<![\w/.-])([a-z_]+/[a-z_]+\.py)\b")
"""Within a part: `routing/placer.py`, `prompt_builder/wording.py`."""
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
MODULES = [path.as_posix() for folder in FOLDERS.split("|") for path in (PROJECT / folder).rglob("*.py")]
LATER = {"docker/secrets"}
"""Made by whoever deploys (docker/make-secrets.sh)."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    named = {name for name in NAMED.findall(text) if not name.startswith(tuple(LATER))}
    assert not sorted(name for name in named if not (PROJECT / name).is_file())
    links = set(LINK.findall(text))
    assert not sorted(link for link in links if not (page.parent / link.partition("#")[0]).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_module_that_a_page_names_in_short_exists(page: Path) -> None:
    short = {name for name in SHORT.findall(page.read_text("utf-8")) if not re.match(FOLDERS, name)}
    assert not sorted(name for name in short if not any(path.endswith(f"/{name}") for path in MODULES))


def test_each_step_of_a_request_names_files_that_exist() -> None:
    """In docs/design.md a name without a folder is in the folder of the one before it; folders are those of gateway/."""
    missing, folder = [], PROJECT
    for name in re.findall(r"`([\w/{}-]+(?:\.py|/))`", (PROJECT / "docs/design.md").read_text()):
        places = (
            [PROJECT / "gateway" / name, PROJECT / name] if "/" in name else [folder / name, PROJECT / "gateway" / name]
        )
        found = next((place for place in places if place.exists()), None)
        if found is None:
            missing.append(name)
        else:
            folder = found if name.endswith("/") else found.parent
    assert not missing
