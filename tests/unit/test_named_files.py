"""The documents name files that exist, so that a newcomer finds them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
NAMED = re.compile(
    r"\b((?:gateway|worker|ragfleet|tests|tokens|benchmarks|build_scripts|model_repository|docker|consul|docs)"
    r"/[\w/.-]+\.(?:py|md|pbtxt|ya?ml|json|hcl|sh))\b"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_files_that_exist(document: Path) -> None:
    named = set(NAMED.findall(document.read_text()))
    assert not {name for name in named if not (ROOT / name).exists()}


def test_each_step_of_a_request_names_files_that_exist() -> None:
    """In docs/design.md a name without a folder is in the folder of the one before it; folders are those of gateway/."""
    missing, folder = [], ROOT
    for name in re.findall(r"`([\w/{}-]+(?:\.py|/))`", (ROOT / "docs/design.md").read_text()):
        places = [ROOT / "gateway" / name, ROOT / name] if "/" in name else [folder / name, ROOT / "gateway" / name]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            missing.append(name)
        else:
            folder = found if name.endswith("/") else found.parent
    assert not missing
