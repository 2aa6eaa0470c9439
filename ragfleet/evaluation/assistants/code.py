"""Source code: the right file among the first five, names found exactly, places that are in their files."""

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import assistants.eval
from assistants.code import places_in
from ragfleet.evaluation.assistants.asking import (
    AssistantReply,
    AssistantResult,
    Assistants,
    Progress,
    Score,
    ask_each,
    limited,
    one_question,
)

NAME = "code"
MAX_TOKENS = 16
"""Of an answer: what is measured are its sources, and the places behind it."""
AT = 5
"""Files that are looked at."""
NAMES = 200
"""Of the repository, that are looked up."""
SET = "assistants/eval/code.yaml"
"""It has the questions themselves, so it is no answer, and takes no place."""
_FOLDERS = ("assistants", "gateway", "ragfleet", "tokens", "worker")
"""Whose definitions are looked up."""
Lookup = Callable[[str], Sequence[str]]
"""A name → the paths of what a search for it finds, the best first."""


@dataclass(frozen=True, slots=True)
class DefinitionName:
    """Of a class or function: the path, and the name with its scope."""

    path: str
    name: str


def code_questions() -> list[dict[str, Any]]:
    """The set: `part`, `ask`, `files`."""
    path = Path(assistants.eval.__file__).with_name("code.yaml")
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))
    return found


def evaluate_code(
    asked: Assistants, limit: int | None, progress: Progress, *, repository: Path, lookup: Lookup
) -> AssistantResult:
    """limit: questions, and as many names. repository: what the store was made of."""
    chosen = limited(code_questions(), limit)
    wanted = limited(definitions(repository), min(limit or NAMES, NAMES))
    total = len(chosen) + len(wanted)
    replies = ask_each(
        asked,
        NAME,
        [one_question(str(each["ask"])) for each in chosen],
        max_tokens=MAX_TOKENS,
        progress=lambda done, _: progress(done, total),
    )
    measures, misses = [], []
    for part in sorted({each["part"] for each in chosen}):
        good = []
        for question, reply in zip(chosen, replies, strict=True):
            if question["part"] == part:
                files = [path for path in dict.fromkeys(reply.paths) if path != SET][:AT]
                good.append(bool(set(files) & set(question["files"])))
                if not good[-1]:
                    misses.append(f"{question['ask']} → {question['files'][0]}, but {reply.error or ', '.join(files)}")
        measures.append(Score(f"part {part}: the right file is among the first {AT}", sum(good), len(good)))
    told = [hold for reply in replies for hold in held_places(reply, repository)]
    measures.append(Score("lines that are told are those of the passages", sum(told), len(told)))
    first = []
    for number, definition in enumerate(wanted, 1):
        found = lookup(definition.name)
        first.append(found[:1] == [definition.path])
        if not first[-1]:
            misses.append(f"{definition.name} → {definition.path}, but {', '.join(found[:3]) or 'nothing'}")
        progress(len(chosen) + number, total)
    measures.append(Score("definitions that are found first by their names", sum(first), len(first)))
    return AssistantResult(assistant=NAME, measures=measures, misses=misses)


def definitions(repository: Path) -> list[DefinitionName]:
    """Classes and functions of the project by Python's own parser, named so that one alone is meant."""
    return [
        DefinitionName(path.relative_to(repository).as_posix(), name)
        for folder in _FOLDERS
        for path in sorted((repository / folder).rglob("*.py"))
        for name in dict.fromkeys(_names(ast.parse(path.read_text("utf-8")), _module(path.relative_to(repository))))
    ]


def _module(path: Path) -> str:
    """As an import names it."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _names(tree: ast.AST, scope: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{scope}.{node.name}"
            yield from _names(node, f"{scope}.{node.name}")
        else:
            yield from _names(node, scope)


def held_places(reply: AssistantReply, repository: Path) -> list[bool]:
    """Of each passage that says where it stands: whether the repository has its words there."""
    held = []
    for path, text in reply.places:
        head, _, body = text.partition("\n")
        place = next(places_in(head), None)
        file = repository / path
        if place is None or not file.is_file():
            continue
        lines = file.read_text("utf-8", errors="replace").split("\n")[place.first - 1 : place.last]
        held.append(place.path == path and " ".join(body.split()) in " ".join("\n".join(lines).split()))
    return held
