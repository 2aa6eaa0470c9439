"""The passages to learn from, and the file that keeps them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrainingPassage:
    """`text` as it is indexed, headings included; `title` is the document's subject, "" where it has none."""

    title: str
    text: str


def write_passages(passages: Iterable[TrainingPassage], path: Path) -> None:
    """As lines of JSON."""
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in passages), encoding="utf-8")


def read_passages(path: Path) -> list[TrainingPassage]:
    """What `write_passages` wrote."""
    return [TrainingPassage(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
