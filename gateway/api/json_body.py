"""JSON bodies, bounded before they are parsed.

A parser's work grows with the values in a body rather than with its bytes: four megabytes of `[],` are a second and a half of
it, and the event loop stands still meanwhile. So the values are counted first, by a few passes over the bytes, where a glance
cannot rule out that there are too many. What is within the bounds takes some tens of milliseconds at the worst.
"""

import codecs
from typing import Any

import numpy as np
import orjson

from gateway.errors import BadRequest

MAX_VALUES = 310_000
"""Values in one body, those within each other included: OpenAI takes 300,000 token ids in one."""
MAX_MEMBERS = 40_000
"""Names with their values, in all objects of one body together."""
MAX_CONTAINERS = 10_000
"""Objects and lists in one body."""
MAX_DEPTH = 64
"""Objects and lists within each other."""
MAX_KEYS = 1024
"""Of one object."""


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, behind a byte order mark if there is one (PowerShell writes it). Raises BadRequest."""
    body = body.removeprefix(codecs.BOM_UTF8)
    _check_structure(body)
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from None
    if not isinstance(raw, dict):
        raise BadRequest("The body must be a JSON object.")
    if body.count(b":") > MAX_KEYS:
        _check_keys(raw)
    return raw


def _check_structure(body: bytes) -> None:
    opened = body.count(b"[") + body.count(b"{")
    # What stands in strings is counted, too, here: most bodies are under the bounds even so.
    if opened <= MAX_DEPTH and opened + body.count(b",") <= MAX_VALUES and body.count(b":") <= MAX_MEMBERS:
        return
    # Without escapes each quote opens or closes a string. A body is parsed up to its first fault, and this is right up to there.
    plain = np.frombuffer(body.replace(rb"\\", b"").replace(rb"\"", b""), np.uint8)
    outside = ~np.bitwise_xor.accumulate((plain == ord('"')).view(np.uint8)).view(bool)
    upper = plain | 0x20  # "[" becomes "{", "]" becomes "}"
    begins, ends = (upper == ord("{")) & outside, (upper == ord("}")) & outside
    containers = int(np.count_nonzero(begins))
    values = containers + int(np.count_nonzero((plain == ord(",")) & outside))
    if values > MAX_VALUES:
        raise _too_much(f"The JSON body has {values} values; at most {MAX_VALUES} are read.")
    if (members := int(np.count_nonzero((plain == ord(":")) & outside))) > MAX_MEMBERS:
        raise _too_much(f"The JSON body has {members} members of objects; at most {MAX_MEMBERS} are read.")
    if containers > MAX_CONTAINERS:
        raise _too_much(f"The JSON body has {containers} objects and lists; at most {MAX_CONTAINERS} are read.")
    levels = begins.view(np.int8) - ends.view(np.int8)
    if containers > MAX_DEPTH and int(np.cumsum(levels, dtype=np.int32).max()) > MAX_DEPTH:
        raise _too_much(f"The JSON body has more than {MAX_DEPTH} objects and lists within each other.")


def _check_keys(value: Any) -> None:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if len(each) > MAX_KEYS:
                raise _too_much(f"An object in the JSON body has {len(each)} keys; at most {MAX_KEYS} are read.")
            each = each.values()
        waiting += [inner for inner in each if isinstance(inner, dict | list)]


def _too_much(message: str) -> BadRequest:
    return BadRequest(message, code="body_too_complex")
