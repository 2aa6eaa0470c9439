"""Each limit that the document tells, filled and overfilled: what is within it is read, what is over it is refused by name."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.component.test_described_parameters import GOOD, Document
from tests.support.replies import Reply
from tests.support.running import Fleet

pytestmark = pytest.mark.timeout(600)  # many requests, some of them large
Json = dict[str, Any]
DEEPEST = 4
MOST_BYTES = 3_000_000
"""Of one body; a limit above it is filled as far as that."""


TOO_COMPLEX = "body_too_complex"
"""What is said of bodies of too many values, whose place is not looked for."""


class Filler(Document):
    """Values that fill limits of the OpenAPI document."""

    def limits(self, schema: Json, depth: int = 0) -> Iterator[tuple[str, Any, Any]]:
        """For each limit within a schema: its place, a value that fills it, and one that is over it."""
        for arm in self._arms(schema):
            yield from self._own(arm)
            if depth == DEEPEST:
                continue
            for name, inner in arm.get("properties", {}).items():
                for place, full, over in self.limits(inner, depth + 1):
                    least = self._least(arm)
                    yield f"{name}.{place}", {**least, name: full}, {**least, name: over}
            if isinstance(items := arm.get("items"), dict):
                for place, full, over in self.limits(items, depth + 1):
                    yield f"0.{place}", [full], [over]

    def _own(self, arm: Json) -> Iterator[tuple[str, Any, Any]]:
        if (most := arm.get("maximum")) is not None:
            yield "maximum", most, most + 1
        if (most := arm.get("exclusiveMaximum")) is not None and arm.get("type") == "integer":
            yield "exclusiveMaximum", int(most) - 1, int(most)
        if (most := arm.get("maxLength")) is not None and "pattern" not in arm and most < MOST_BYTES:
            yield "maxLength", "a" * most, "a" * (most + 1)
        if (most := arm.get("maxItems")) is not None:
            one = self._least(arm.get("items", {}))
            if most * (len(str(one)) + 2) < MOST_BYTES:
                yield "maxItems", [one] * most, [one] * (most + 1)
        if (most := arm.get("maxProperties")) is not None:
            one = self._least(arm["additionalProperties"]) if isinstance(arm.get("additionalProperties"), dict) else "a"
            yield "maxProperties", {f"k{n}": one for n in range(most)}, {f"k{n}": one for n in range(most + 1)}

    def _least(self, schema: Json, depth: int = 0) -> Any:
        """The smallest value that is allowed."""
        arm = next((each for each in self._arms(schema) if each.get("type") != "null"), {})
        if "const" in arm or "enum" in arm:
            return arm.get("const", arm.get("enum", [None])[0])
        match arm.get("type"):
            case "integer" | "number":
                return arm.get("minimum", 1)
            case "boolean":
                return False
            case "array":
                return [self._least(arm.get("items", {}), depth + 1)] * arm.get("minItems", 0)
            case "object":
                named = arm.get("properties", {})
                return {each: self._least(named[each], depth + 1) for each in arm.get("required", ()) if depth < 8}
        return "a" * max(1, arm.get("minLength", 1))


def _code(reply: Reply) -> Any:
    return reply.error["code"] if reply.status >= 400 else None


async def test_limits_are_read_to_the_full_and_not_beyond(fleet: Fleet) -> None:
    document = Filler((await fleet.get("/openapi.json")).json)
    store = (await fleet.post({}, path="/v1/vector_stores")).json["id"]
    filled, wrong = 0, []
    for path, good in GOOD.items():
        real = path.format(store_id=store, conversation_id="conv_" + "0" * 32, upload_id="upload_0")
        for name, schema in document.body(path)["properties"].items():
            for place, full, over in document.limits(schema):
                filled += 1
                within = await fleet.post({**good, name: full}, path=real)
                beyond = await fleet.post({**good, name: over}, path=real)
                param = (beyond.error["param"] or "") if beyond.status in (400, 413) else None
                if within.status >= 500 or _code(within) == TOO_COMPLEX or b"64 bits" in within.raw:
                    wrong.append(f"{path} {name}.{place}: within it {within.status} {within.raw[:200]!r}")
                if param is None or (param.partition(".")[0] != name and _code(beyond) != TOO_COMPLEX):
                    wrong.append(f"{path} {name}.{place}: over it {beyond.status} {beyond.raw[:200]!r}")
    assert not wrong, f"{len(wrong)} of {filled}:\n" + "\n".join(wrong[:60])
    assert filled > 100
