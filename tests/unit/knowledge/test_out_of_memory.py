"""A converter that runs out of memory says so: no reader of a broken part takes it for a broken part."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.knowledge import converters

SOURCES = sorted(Path(str(converters.__file__)).parent.rglob("*.py"))


def _names(handler: ast.ExceptHandler) -> set[str]:
    parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {part.id for part in parts if isinstance(part, ast.Name)}


def _swallowing(source: Path) -> Iterator[int]:
    """The lines that catch everything, and no MemoryError before it."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Try):
            before: set[str] = set()
            for handler in node.handlers:
                if _names(handler) & {"Exception", "BaseException"} and "MemoryError" not in before:
                    yield handler.lineno
                before |= _names(handler)


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_what_catches_everything_lets_memory_errors_pass(source: Path) -> None:
    assert not list(_swallowing(source))
