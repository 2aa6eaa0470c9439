"""The texts to learn from: the handbook, the World Factbook (public domain), and Python's documentation.

None of them is in a test collection. The gateway's own chunker cuts them, so that the model sees what it will be asked about.
"""

import ast
import html
import json
import pydoc_data.topics
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.knowledge.chunking import Chunker, token_counter
from gateway.knowledge.conversion import convert, convert_bytes
from gateway.knowledge.documents import Document, DocumentError
from ragfleet.reranker.passages import TrainingPassage

_TAG = re.compile(r"<[^>]+>")
_PROSE = re.compile(r"(?:[a-z]{2,}[ ,;]+){5}")
"""Five words in a row: what has none is a list of numbers or names."""


def make_passages(documents: Iterable[tuple[str, Document]], model: Path) -> list[TrainingPassage]:
    """Of documents with their subjects, cut as the gateway cuts them. `model`: whose tokens chunks are measured in."""
    chunker = Chunker(count=token_counter(model))
    made = [
        TrainingPassage(subject, chunk.indexed)
        for subject, document in documents
        for chunk in chunker.chunks(document)
        if _PROSE.search(chunk.body)
    ]
    return list(dict.fromkeys(made))


def handbook(folder: Path) -> Iterator[tuple[str, Document]]:
    """Every file of a folder."""
    for path in sorted(folder.iterdir()):
        document = convert(path)
        yield document.title, document


def countries(folder: Path) -> Iterator[tuple[str, Document]]:
    """The World Factbook: one for each country's JSON."""
    for path in sorted(folder.rglob("*.json")):
        country = json.loads(path.read_text(encoding="utf-8"))
        names = country.get("Government", {}).get("Country name", {})
        name = names.get("conventional short form", {}).get("text") or path.stem
        name = path.stem if name == "none" else name.split(";")[0]
        parts = [f"# {name}\n"]
        for heading, section in country.items():
            parts += [f"## {heading}\n", *_facts(section)]
        yield name, convert_bytes(f"{name}.md", "\n".join(parts).encode())


def python_topics() -> Iterator[tuple[str, Document]]:
    """What Python's `help` knows of the language."""
    for name, text in sorted(pydoc_data.topics.topics.items()):
        yield name, convert_bytes(f"{name}.txt", text.encode())


def python_docstrings() -> Iterator[tuple[str, Document]]:
    """One document for each module of the standard library, with its docstrings of three lines and more."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted([*library.glob("*.py"), *library.glob("[a-z]*/*.py")]):
        module = ".".join(path.relative_to(library).with_suffix("").parts).removesuffix(".__init__")
        if "packages" in module or "test" in module:
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
        found = [(getattr(node, "name", module), ast.get_docstring(node) or "") for node in nodes]
        parts = [f"## {name}\n{text}\n" for name, text in found if text.count("\n") > 2]
        if parts:
            try:
                yield module, convert_bytes(f"{module}.md", "\n".join([f"# {module}\n", *parts]).encode())
            except DocumentError:
                continue


def _facts(section: Mapping[str, Any]) -> Iterator[str]:
    for name, fact in section.items():
        if isinstance(text := fact.get("text") if isinstance(fact, dict) else None, str):
            plain = " ".join(html.unescape(_TAG.sub(" ", text)).split())
            yield f"### {name.strip()}\n{plain}\n"
        elif isinstance(fact, dict):
            yield from _facts({f"{name}: {part}": value for part, value in fact.items()})
