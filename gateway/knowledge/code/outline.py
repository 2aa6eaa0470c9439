"""The outline of a source file: its definitions with what they belong to, and the names that it calls and imports.

tree-sitter reads what is not quite valid, too: a file with an error has the outline of what is around it. Offsets are characters
of the text, lines count from 1.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate

from tree_sitter import Node, QueryCursor

from gateway.knowledge.code.languages import grammar_of, tools

MAX_BYTES = 2 << 20
"""Of a text in UTF-8. A longer one is generated, and has no outline."""
MAX_NAME = 200
"""Characters of a name; what is longer is none."""
MAX_NAMES = 20_000
"""Of one file, of each kind."""

_WRAPPERS = frozenset(
    {
        *(
            "decorated_definition",
            "export_statement",
            "template_declaration",
            "lexical_declaration",
            "type_declaration",
        ),
        *("variable_declaration", "function_definition", "declaration", "field_declaration", "type_definition"),
        *("pointer_declarator", "reference_declarator", "const_declaration", "var_declaration"),
        "expression_statement",
    }
)
"""Of a definition that begins or ends with them: its decorators, its `export`, its body."""
_COMMENTS = frozenset({"comment", "line_comment", "block_comment", "attribute_item"})


class DefinitionKind(StrEnum):
    """What a definition is, of what all languages have."""

    CLASS = "class"  # and whatever else is a type, or has members
    FUNCTION = "function"
    CONSTANT = "constant"
    FIELD = "field"


@dataclass(frozen=True, slots=True)
class Definition:
    """`scope`: the names of what it stands in, from the outermost one, joined by dots. `start` … `end` has its decorators, and
    the comments right above it. `named_at`: where its name is."""

    name: str
    scope: str
    kind: DefinitionKind
    start: int
    end: int
    named_at: int

    @property
    def qualified(self) -> str:
        """With its scope."""
        return f"{self.scope}.{self.name}" if self.scope else self.name


@dataclass(frozen=True, slots=True)
class Use:
    """A name that is called or imported, at its place in the text."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Outline:
    """All in the order of the text."""

    definitions: Sequence[Definition] = ()
    calls: Sequence[Use] = ()
    imports: Sequence[Use] = ()


@dataclass(slots=True)
class _Found:
    name: str
    scope: str | None
    kind: DefinitionKind | None
    start: int
    end: int
    named_at: int


@dataclass(slots=True)
class _Captures:
    definitions: dict[tuple[int, str], _Found] = field(default_factory=dict)
    calls: list[Use] = field(default_factory=list)
    imports: list[Use] = field(default_factory=list)


def outline(text: str, name: str) -> Outline:
    """Of a file's text; `name` says in which language it is. Empty where no grammar knows it, or where it is too long."""
    grammar = grammar_of(name)
    if grammar is None or len(text) > MAX_BYTES:
        return Outline()
    source = text.encode()
    if len(source) > MAX_BYTES:
        return Outline()
    parser, query = tools(grammar)
    place = _places(text, source)
    found = _Captures()
    for _, captures in QueryCursor(query).matches(parser.parse(source).root_node):
        _take(captures, found, place)
    definitions = list(_nested(sorted(found.definitions.values(), key=lambda each: (each.start, -each.end))))
    calls, imports = (sorted(each, key=lambda use: use.at)[:MAX_NAMES] for each in (found.calls, found.imports))
    return Outline(definitions[:MAX_NAMES], calls, imports)


def line_starts(text: str) -> list[int]:
    """Where each line begins."""
    return [0, *accumulate(len(line) + 1 for line in text.split("\n")[:-1])]


def line_at(starts: Sequence[int], offset: int) -> int:
    """The number of the line, from 1."""
    return bisect_right(starts, offset)


def _places(text: str, source: bytes) -> Callable[[int], int]:
    """From a byte's place to its character's."""
    if len(text) == len(source):
        return lambda byte: byte
    ends = list(accumulate(len(char.encode()) for char in text))
    return lambda byte: bisect_right(ends, byte)


def _take(captures: dict[str, list[Node]], found: _Captures, place: Callable[[int], int]) -> None:
    for role, uses in (("call", found.calls), ("import", found.imports)):
        for node in captures.get(role, ()):
            if used := _text(node):
                uses.append(Use(used, place(node.start_byte)))
    kind = next((each for each in ("within", *DefinitionKind) if each in captures), None)
    if kind is None or "name" not in captures:
        return
    whole, scope = captures[kind][0], captures.get("scope")
    first, last = _extent(whole)
    for node in captures["name"]:
        if name := _text(node):
            made = _Found(
                name=name,
                scope=_text(scope[0]) if scope else None,
                kind=None if kind == "within" else DefinitionKind(kind),
                start=place(first),
                end=place(last),
                named_at=place(node.start_byte),
            )
            # A constant that is a function matches twice: the more particular one counts.
            before = found.definitions.get((made.named_at, name))
            if before is None or before.kind in (DefinitionKind.CONSTANT, DefinitionKind.FIELD):
                found.definitions[made.named_at, name] = made


def _extent(node: Node) -> tuple[int, int]:
    """With what is wrapped around it, and the comments that touch it from above."""
    while (parent := node.parent) is not None and parent.type in _WRAPPERS:
        node = parent
    first = node
    while (above := first.prev_sibling) is not None and above.type in _COMMENTS:
        if first.start_point.row - _last_row(above) > 1 or not _alone(above):
            break
        first = above
    return first.start_byte, node.end_byte


def _last_row(node: Node) -> int:
    """Some comments have their line's end in them."""
    end = node.end_point
    return end.row - 1 if end.column == 0 and end.row > node.start_point.row else end.row


def _alone(comment: Node) -> bool:
    """Whether it stands on lines of its own, and not behind something."""
    before = comment.prev_sibling
    return before is None or _last_row(before) < comment.start_point.row


def _text(node: Node) -> str:
    text = (node.text or b"").decode(errors="replace").strip("<>\"'")
    return text if len(text) <= MAX_NAME and "\n" not in text else ""


def _nested(found: Sequence[_Found]) -> Iterator[Definition]:
    """With the scopes that they stand in. A method that names its own scope is of it, wherever it stands."""
    around: list[_Found] = []
    for each in found:
        while around and around[-1].end <= each.start:
            around.pop()
        names = [outer.name for outer in around if outer.end >= each.end and outer is not each]
        if each.scope is not None and (not names or names[-1] != each.scope):
            names.append(each.scope)
        if each.kind is not None:
            yield Definition(each.name, ".".join(names), each.kind, each.start, each.end, each.named_at)
        if each.kind in (None, DefinitionKind.CLASS, DefinitionKind.FUNCTION):
            around.append(each)
