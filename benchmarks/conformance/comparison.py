"""OpenAI's description beside ours: each property of its is there and right, or it is missing, and why."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from benchmarks.conformance.description import SCALARS, Alternative, Description, Json, Operation

HOSTED = re.compile(
    r"image|audio|web_?search|computer|code_?interpreter|mcp|^shell|tool_search|namespace|program", re.IGNORECASE
)
MAX_DEPTH = 24


class Aside(Enum):
    """Why something missing is in no share. The strict share counts all of it."""

    HOSTED = "images, audio, and tools that OpenAI itself runs"
    OPTIONAL = "what an answer may leave out, and ours do"


class Side(Enum):
    """Who writes a value."""

    REQUEST = "request"
    ANSWER = "answer"


@dataclass(frozen=True)
class Finding:
    """Of one property (or alternative) of OpenAI's."""

    place: str
    """Component and property; a property without a component by its path."""
    why: str = ""
    """What is wrong; "" for one that is right."""
    aside: Aside | None = None


class Comparison:
    """Walks both descriptions. A property of a component counts once, whatever paths lead there, and is wrong where it is wrong
    on one of them. What is missing counts once, without what would be in it."""

    def __init__(self, theirs: Description, ours: Description) -> None:
        self._theirs = theirs
        self._ours = ours
        self._found: dict[str, Finding] = {}

    def of(self, their: Operation, our: Operation | None) -> None:
        """Compare one operation."""
        at = f"{their.method.upper()} {their.path}"
        self._note(at, "" if our is not None else "no such endpoint", aside=None)
        for name, schema in their.query.items():
            mine = None if our is None else our.query.get(name.removesuffix("[]")) or our.query.get(name)
            self._property(Side.REQUEST, f"{at} ?{name}", schema, mine, aside=_hosted(name), depth=0)
        if our is None:
            return
        for side, wanted, mine in ((Side.REQUEST, their.body, our.body), (Side.ANSWER, their.answer, our.answer)):
            if wanted is not None and mine is None:
                self._note(f"{side.value} {at}", "not described", aside=None)
            elif wanted is not None and mine is not None:
                self._value(side, at, wanted, mine, aside=None, depth=0)

    def truth(self, their: Operation, our: Operation, body: Any) -> None:
        """Compare a real answer with both descriptions."""
        for whose, description, schema in (("OpenAI's", self._theirs, their.answer), ("our", self._ours, our.answer)):
            if schema is not None:
                faults = description.faults(schema, body)
                why = f"{whose} schema: {faults[0]}" if faults else ""
                self._note(f"real answer of {their.method.upper()} {their.path}", why, aside=None)

    def findings(self) -> list[Finding]:
        """All, by place."""
        return sorted(self._found.values(), key=lambda each: each.place)

    def _note(self, place: str, why: str, *, aside: Aside | None) -> None:
        before = self._found.get(place)
        counts_now = before is not None and before.aside is not None and aside is None
        if before is None or counts_now or (before.aside is aside and why and not before.why):
            self._found[place] = Finding(place, why, aside)

    def _property(
        self, side: Side, place: str, theirs: Json, ours: Json | None, *, aside: Aside | None, depth: int
    ) -> None:
        if ours is None:
            self._note(place, "not there", aside=aside)
        else:
            self._value(side, place, theirs, ours, aside=aside, depth=depth + 1)

    def _value(self, side: Side, place: str, theirs: Json, ours: Json, *, aside: Aside | None, depth: int) -> None:
        """All that a value may be."""
        if depth > MAX_DEPTH:
            return
        mine = self._ours.alternatives(ours)
        wanted = self._theirs.alternatives(theirs)
        objects = [each for each in wanted if each.kind == "object" and each.properties]
        self._scalars(side, place, [each for each in wanted if each.kind in SCALARS], mine, aside=aside)
        for each in wanted:
            if each.kind == "array":
                fits = [a for a in mine if a.kind in ("array", "")]
                if not fits and (side is Side.REQUEST or len(wanted) == 1):
                    self._note(place, "may be no list", aside=aside)
                if not fits:
                    continue
                self._note_bounds(side, place, each, fits, aside=aside)
                inner = {"anyOf": [a.schema.get("items", {}) for a in fits]}
                self._value(side, place, each.schema.get("items", {}), inner, aside=aside, depth=depth + 1)
        for each in objects:
            self._object(side, place, each, mine, several=len(objects) > 1, aside=aside, depth=depth)
        if not self._found.get(place):
            self._note(place, "", aside=aside)

    def _object(
        self,
        side: Side,
        place: str,
        each: Alternative,
        mine: list[Alternative],
        *,
        several: bool,
        aside: Aside | None,
        depth: int,
    ) -> None:
        label = each.name or place
        aside = aside or _hosted(_tag(self._theirs, each) or (each.name if several else ""))
        objects = [a for a in mine if a.kind == "object"]
        alike = self._alike(side, each, [a for a in objects if a.properties])
        if not alike and (side is Side.ANSWER or all(a.kind and (a.kind != "object" or a.properties) for a in mine)):
            form = each.name or f"{place} as {_tag(self._theirs, each)}"
            aside = aside or (Aside.OPTIONAL if several and side is Side.ANSWER else None)
            self._note(f"{side.value} {form}" if several else place, "this form is not there", aside=aside)
        if not alike:
            return  # taken whatever is in it
        for name, schema in each.properties.items():
            schemas = [a.properties[name] for a in alike if name in a.properties]
            inner = {"anyOf": schemas} if schemas else None
            inside = f"{side.value} {label.removeprefix(side.value + ' ')}.{name}"
            outside = aside or _hosted(name)
            if inner is None and side is Side.ANSWER and name not in each.required:
                outside = outside or Aside.OPTIONAL
            self._property(side, inside, schema, inner, aside=outside, depth=depth)
            if inner is None:
                continue
            if side is Side.REQUEST and all(name in a.required for a in alike) and name not in each.required:
                self._note(inside, "required here", aside=outside)
            if side is Side.ANSWER and name in each.required and any(name not in a.required for a in alike):
                self._note(inside, "not always there", aside=outside)

    def _alike(self, side: Side, each: Alternative, objects: list[Alternative]) -> list[Alternative]:
        """Ours for an object of theirs: by its `type`, its `role` or its `object`, otherwise those that share a property."""
        tagged = objects
        for name in ("type", "role", "object"):
            values = _values(self._theirs, each.properties.get(name))
            if values:
                tagged = [
                    a
                    for a in tagged
                    if not (own := _values(self._ours, a.properties.get(name))) or set(own) & set(values)
                ]
        return [a for a in tagged if a.properties.keys() & each.properties.keys()]

    def _scalars(
        self, side: Side, place: str, wanted: list[Alternative], mine: list[Alternative], *, aside: Aside | None
    ) -> None:
        if not wanted:
            return
        free = any(not each.kind for each in mine)
        for each in wanted:
            alike = [a for a in mine if _takes(a.kind, each.kind, side)]
            if not alike and not free and side is Side.REQUEST:
                self._note(place, f"may be no {each.kind}", aside=aside)
                continue
            self._note_bounds(side, place, each, alike, aside=aside)
        theirs, ours = [v for each in wanted for v in each.values], [v for a in mine for v in a.values]
        open_theirs = any(not each.values and each.kind == "string" for each in wanted)
        open_ours = free or any(not a.values and a.kind == "string" for a in mine)
        if side is Side.REQUEST and not open_ours and ours:
            if lacking := [v for v in theirs if v is not None and v not in ours and not HOSTED.search(str(v))]:
                self._note(place, f"does not take {', '.join(map(str, lacking))}", aside=aside)
            elif open_theirs and not theirs:
                self._note(place, f"takes only {', '.join(map(str, ours))}", aside=aside)
        foreign = [v for v in ours if v is not None and v not in theirs]
        if side is Side.ANSWER and theirs and not open_theirs and foreign:
            self._note(place, f"may be {', '.join(map(str, foreign))}", aside=aside)
        if (
            side is Side.ANSWER
            and mine
            and not free
            and not any(_takes(e.kind, a.kind, side) for e in wanted for a in mine)
        ):
            self._note(place, f"is {mine[0].kind}, not {wanted[0].kind}", aside=aside)

    def _note_bounds(
        self, side: Side, place: str, each: Alternative, alike: list[Alternative], *, aside: Aside | None
    ) -> None:
        if side is Side.ANSWER or not alike or any(not a.bounds and not a.values for a in alike):
            return
        for name, own in alike[0].bounds.items():
            given = each.bounds.get(name)
            if given is None or (own <= given if name.startswith("min") else own >= given) or math.isclose(own, given):
                continue
            self._note(place, f"{name} {own}, not {given}", aside=aside)


def _hosted(name: str) -> Aside | None:
    return Aside.HOSTED if HOSTED.search(name) else None


def _takes(ours: str, theirs: str, side: Side) -> bool:
    numbers = ("integer", "number")
    if side is Side.ANSWER and ours == "integer" and theirs == "number":
        return False
    return ours in ("", theirs) or (ours == "number" and theirs in numbers) or (ours in numbers and theirs == "number")


def _values(description: Description, schema: Json | None) -> list[Any]:
    return [] if schema is None else [v for each in description.alternatives(schema) for v in each.values]


def _tag(description: Description, each: Alternative) -> str:
    values = _values(description, each.properties.get("type"))
    return str(values[0]) if len(values) == 1 else ""


def paired(
    theirs: Description, ours: Description, belongs: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, Operation, Operation | None]]:
    """Group, operation of OpenAI's, and ours where there is one."""
    own = {(each.method, _bare(each.path.removeprefix("/v1"))): each for each in ours.operations()}
    for each in theirs.operations():
        if "?" in each.path:  # the same path under another header
            continue
        for group, roots in belongs.items():
            if any(each.path == root or each.path.startswith(f"{root}/") for root in roots):
                yield group, each, own.get((each.method, _bare(each.path)))


def _bare(path: str) -> str:
    return re.sub(r"{\w+(:\w+)?}", "{}", path)
