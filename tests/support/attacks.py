"""What a hostile client sends: bodies that cost more than they weigh, and connections that are not HTTP as it should be.

Each attack is sent to a running gateway over sockets, and says what became of it. Some need a key, most do not.
"""

import asyncio
import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

BODY = 3_900_000
"""Bytes: what a gateway takes by default, or nearly."""
PATIENCE_S = 30.0
"""After which an attack counts as one that was neither answered nor cut off."""
CHUNK = 1 << 16
PER_ADDRESS = 250
"""Connections of an attack that come from one address of this machine."""


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway."""

    port: int
    key: str
    model: str
    embedding_model: str
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one connection."""

    status: int | None
    """Of the answer; None where there was none."""
    seconds: float
    """Until the answer was whole, or the connection closed."""
    closed: bool
    """By the gateway."""

    @property
    def withstood(self) -> bool:
        """Answered with a 4xx (or told to come later), or cut off."""
        return self.closed if self.status is None else 400 <= self.status < 500 or self.status == 503


@dataclass(frozen=True, slots=True)
class Attack:
    """`send` makes the bytes to send for a target, `connections` times at once."""

    name: str
    data: Callable[[Target], bytes]
    connections: int = 1
    slowly: bool = False
    """One byte a second, after what `data` gives."""
    within_s: float = 1.0
    """In which it is to be answered; what waits for more is to be cut off within 15 s."""
    expected: frozenset[int] = field(default_factory=frozenset)
    """Statuses other than 4xx that are right: some of it is only large."""


def _post(
    path: str, body: Callable[[], bytes], *, headers: bytes = b"", announced: int | None = None
) -> Callable[[Target], bytes]:
    def make(target: Target) -> bytes:
        given = body().replace(b"$MODEL", target.model.encode()).replace(b"$EMBEDDING", target.embedding_model.encode())
        length = len(given) if announced is None else announced
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {target.key}\r\nContent-Length: {length}\r\n"
        return head.encode() + b"Content-Type: application/json\r\nConnection: close\r\n" + headers + b"\r\n" + given

    return make


def _json(*, model: str = "$MODEL", **fields: object) -> bytes:
    return orjson.dumps({"model": model, **fields})


def _vectors(given: object) -> bytes:
    return _json(model="$EMBEDDING", input=given)


def _said(content: object, **fields: object) -> bytes:
    return _json(messages=[{"role": "user", "content": content}], **fields)


def _filled(unit: bytes, before: bytes, after: bytes) -> bytes:
    """A body of BODY bytes, most of it a list of one thing."""
    count = (BODY - len(before) - len(after)) // (len(unit) + 1)
    return before + b",".join([unit] * count) + after


def _long() -> str:
    return "word " * (BODY // 5)


def _within(levels: int, innermost: object) -> object:
    """A schema of objects within each other."""
    for _ in range(levels):
        innermost = {"type": "object", "properties": {"x": innermost}}
    return innermost


def _format(schema: object) -> bytes:
    return _said(
        "x", max_tokens=8, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    )


def _tool(schema: object, name: str = "x") -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def _doubling(levels: int) -> object:
    """A schema that is short, and its meaning 2^levels long."""
    twice = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{levels}": {"type": "string"}}}


def _chain(length: int) -> object:
    """Objects, each within the one before, by reference."""
    parts = {
        f"d{n}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}, "required": ["a"]}
        for n in range(length)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**parts, f"d{length}": {"type": "string"}}}


def _rules(length: int) -> str:
    """A grammar whose rules refer each to the next one."""
    return "\n".join(["start: r0", *(f"r{n}: r{n + 1}" for n in range(length)), f'r{length}: "a"'])


_CHAT, _RESPONSES, _PROMPTS, _EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings"
_PARTS = b'[{"role":"user","content":['
_LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
_CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"
_SERVED = frozenset({200})

BODIES: Sequence[Attack] = (
    Attack(
        "chat: parts of nothing",
        _post(_CHAT, lambda: _filled(b"{}", b'{"model":"$MODEL","messages":' + _PARTS, b"]}]}")),
    ),
    Attack("chat: 9,500 parts of nothing", _post(_CHAT, lambda: _said([{}] * 9_500))),
    Attack("chat: messages of nothing", _post(_CHAT, lambda: _filled(b"[]", b'{"model":"$MODEL","messages":[', b"]}"))),
    Attack("chat: stop of numbers", _post(_CHAT, lambda: _said("x", stop=[1] * 300_000))),
    Attack("chat: 330,000 unknown keys", _post(_CHAT, lambda: _json(**{f"k{n}": 1 for n in range(330_000)}))),
    Attack("chat: 1,000 unknown keys", _post(_CHAT, lambda: _json(**{f"k{n}": 1 for n in range(1000)}))),
    Attack("chat: nested lists", _post(_CHAT, lambda: b'{"messages":' + b"[" * 1_900_000 + b"]" * 1_900_000 + b"}")),
    Attack("chat: one long message", _post(_CHAT, lambda: _said(_long(), max_tokens=1))),
    Attack("chat: 600 kB of words", _post(_CHAT, lambda: _said("word " * 120_000))),
    Attack("chat: 600 kB of spaces", _post(_CHAT, lambda: _said("x" + " " * 600_000 + "x"))),
    Attack(
        "responses: parts of nothing",
        _post(_RESPONSES, lambda: _filled(b"{}", b'{"model":"$MODEL","input":' + _PARTS, b"]}]}")),
    ),
    Attack("responses: long instructions", _post(_RESPONSES, lambda: _json(input="x", instructions=_long()))),
    Attack("completions: 4 MB of text", _post(_PROMPTS, lambda: _json(prompt=_long(), max_tokens=1))),
    Attack("completions: 32 texts", _post(_PROMPTS, lambda: _json(prompt=["word " * 24_000] * 32, max_tokens=1))),
    Attack("completions: 300,000 ids", _post(_PROMPTS, lambda: _json(prompt=[1] * 300_000, max_tokens=1))),
    Attack("embeddings: negative ids", _post(_EMBEDDINGS, lambda: _vectors([-1] * 300_000))),
    Attack("embeddings: 1 MB of text", _post(_EMBEDDINGS, lambda: _vectors("word " * 200_000))),
    Attack(
        "embeddings: lists of nothing",
        _post(_EMBEDDINGS, lambda: _filled(b"[]", b'{"model":"$EMBEDDING","input":[', b"]}")),
    ),
    Attack("stores: 300,000 files", _post("/v1/vector_stores", lambda: orjson.dumps({"file_ids": ["x"] * 300_000}))),
    Attack(
        "stores: metadata",
        _post("/v1/vector_stores", lambda: orjson.dumps({"metadata": {f"k{n}": "v" for n in range(1000)}})),
    ),
    Attack("gzip", _post(_CHAT, lambda: gzip.compress(b"[" * 10_000_000), headers=b"Content-Encoding: gzip\r\n")),
    Attack("a body that is announced as 4 GB", _post(_CHAT, lambda: b"", announced=2**32)),
)
"""Each with a key, and one connection."""

_CONVERSATIONS = "/v1/conversations"
_MANY = {f"k{n}": {"type": "string"} for n in range(1000)}

GENERATION: Sequence[Attack] = (
    Attack(
        "tools: 25 levels, 128 times",
        _post(_CHAT, lambda: _said("x", max_tokens=8, tools=[_tool(_within(25, {}), f"t{n}") for n in range(128)])),
        expected=_SERVED,
    ),
    Attack("tools: 10,000 of them", _post(_CHAT, lambda: _said("x", tools=[1] * 300_000))),
    Attack(
        "tools: 9,000 properties",
        _post(
            _CHAT,
            lambda: _said(
                "x", max_tokens=8, tools=[_tool({"type": "object", "properties": _MANY}, f"t{n}") for n in range(9)]
            ),
        ),
        expected=_SERVED,
    ),
    Attack(
        "tools: a description of 3 MB",
        _post(
            _CHAT, lambda: _said("x", tools=[{"type": "function", "function": {"name": "x", "description": _long()}}])
        ),
    ),
    Attack("tools: a name of 3 MB", _post(_CHAT, lambda: _said("x", tools=[_tool({}, "x" * BODY)]))),
    Attack("tools: names that are all alike", _post(_CHAT, lambda: _said("x", tools=[_tool({})] * 128))),
    Attack(
        "tools: calls with 3 MB of arguments",
        _post(
            _CHAT,
            lambda: _json(
                messages=[
                    {"role": "user", "content": "x"},
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {"id": "c", "type": "function", "function": {"name": "x", "arguments": _long()}}
                        ],
                    },
                    {"role": "tool", "tool_call_id": "c", "content": "x"},
                ]
            ),
        ),
    ),
    Attack(
        "tools: calls of nothing",
        _post(_CHAT, lambda: _json(messages=[{"role": "assistant", "tool_calls": [1] * 300_000}])),
    ),
    Attack("format: 25 levels", _post(_CHAT, lambda: _format(_within(25, {"type": "string"}))), expected=_SERVED),
    Attack("format: an enum of 300,000", _post(_CHAT, lambda: _format({"enum": list(range(300_000))}))),
    Attack("format: an enum of 3 MB", _post(_CHAT, lambda: _format({"enum": [f"{n:0>1000}" for n in range(3500)]}))),
    Attack("format: 2^40 by references", _post(_CHAT, lambda: _format(_doubling(40))), expected=_SERVED),
    Attack("format: a chain of 700 references", _post(_CHAT, lambda: _format(_chain(700))), expected=_SERVED),
    Attack(
        "grammar: a chain of 4,000 rules",
        _post(_CHAT, lambda: _said("x", max_tokens=1, guided_grammar=_rules(4000))),
        expected=_SERVED,
    ),
    Attack("format: itself", _post(_CHAT, lambda: _format({"$ref": "#"}))),
    Attack(
        "format: a pattern that tracks back",
        _post(_CHAT, lambda: _format({"type": "string", "pattern": "^(a+)+$"})),
        expected=_SERVED,
    ),
    Attack(
        "format: a pattern of 10^9",
        _post(_CHAT, lambda: _format({"type": "string", "pattern": "((a{1000}){1000}){1000}"})),
        expected=_SERVED,
    ),
    Attack(
        "format: a pattern of 3 MB", _post(_CHAT, lambda: _format({"type": "string", "pattern": "(a|b)" * 700_000}))
    ),
    Attack(
        "format: a text of 10^9",
        _post(_CHAT, lambda: _format({"type": "string", "minLength": 10**9})),
        expected=_SERVED,
    ),
    Attack(
        "format: a list of 10^9",
        _post(_CHAT, lambda: _format({"type": "array", "items": {"type": "string"}, "minItems": 10**9})),
        expected=_SERVED,
    ),
    Attack(
        "format: a number of 4,000 digits",
        _post(_CHAT, lambda: _format({"type": "integer", "maximum": 0}).replace(b":0", b":" + b"9" * 4000)),
        expected=_SERVED,
    ),
    Attack(
        "bias: 1,000 tokens",
        _post(_CHAT, lambda: _said("x", logit_bias={str(n): 1 for n in range(1000)})),
        expected=_SERVED,
    ),
    Attack("bias: 30,000 tokens", _post(_CHAT, lambda: _said("x", logit_bias={str(n): 1 for n in range(30_000)}))),
    Attack(
        "bias: tokens of 5,000 digits",
        _post(_CHAT, lambda: _said("x", logit_bias={f"{n:0>5000}": 1 for n in range(500)})),
    ),
    Attack("n: 10^9", _post(_CHAT, lambda: _said("x", n=10**9))),
    Attack("best_of: 10^9", _post(_PROMPTS, lambda: _json(prompt="x", best_of=10**9))),
    Attack("top_logprobs: 10^9", _post(_CHAT, lambda: _said("x", logprobs=True, top_logprobs=10**9))),
    Attack("responses: 300,000 items", _post(_RESPONSES, lambda: _json(input=[1] * 300_000))),
    Attack(
        "responses: 9,000 references",
        _post(_RESPONSES, lambda: _json(input=[{"type": "item_reference", "id": "x"}] * 9000)),
    ),
    Attack(
        "responses: a call with 3 MB",
        _post(_RESPONSES, lambda: _json(input=[{"type": "function_call_output", "call_id": "x", "output": _long()}])),
    ),
    Attack("responses: an id of 3 MB", _post(_RESPONSES, lambda: _json(input="x", previous_response_id="x" * BODY))),
    Attack("responses: tools of nothing", _post(_RESPONSES, lambda: _json(input="x", tools=[{}] * 9000))),
    Attack(
        "responses: metadata", _post(_RESPONSES, lambda: _json(input="x", metadata={f"k{n}": "v" for n in range(1000)}))
    ),
    Attack("responses: stored and large", _post(_RESPONSES, lambda: _json(input="word " * 120_000, background=True))),
    Attack("conversations: 300,000 items", _post(_CONVERSATIONS, lambda: orjson.dumps({"items": [1] * 300_000}))),
    Attack(
        "conversations: 20 items of 190 kB",
        _post(
            _CONVERSATIONS,
            lambda: orjson.dumps({"items": [{"type": "message", "role": "user", "content": "x" * 190_000}] * 20}),
        ),
        expected=_SERVED,
    ),
    Attack(
        "conversations: parts of nothing",
        _post(
            _CONVERSATIONS,
            lambda: orjson.dumps({"items": [{"type": "message", "role": "user", "content": [{}] * 9000}]}),
        ),
    ),
    Attack("conversations: metadata", _post(_CONVERSATIONS, lambda: orjson.dumps({"metadata": {"k": "v" * BODY}}))),
    Attack(
        "admin: a tenant's limits",
        _post("/admin/tenants", lambda: orjson.dumps({"name": "x", "limits": {f"k{n}": 1 for n in range(1000)}})),
    ),
    Attack("admin: a name of 3 MB", _post("/admin/tenants", lambda: orjson.dumps({"name": "x" * BODY}))),
    Attack("admin: groups", _post("/admin/keys", lambda: orjson.dumps({"tenant": "x", "groups": ["g"] * 300_000}))),
)
"""What stands in a request for an answer, and what is kept of one; each with a key, and one connection."""

HEADS: Sequence[Attack] = (
    Attack("a header of 64 MB", lambda _: _LIVE + b"X-Large: " + b"a" * 64_000_000 + b"\r\n\r\n", within_s=15),
    Attack("a header of 40 kB", lambda _: _LIVE + b"X-Large: " + b"a" * 40_000 + b"\r\n\r\n"),
    Attack("1,000 headers", lambda _: _LIVE + b"".join(b"X-%d: a\r\n" % n for n in range(1000)) + b"\r\n"),
    Attack("a path of 64 MB", lambda _: b"GET /" + b"a" * 64_000_000, within_s=15),
    Attack("a trailer of 16 MB", lambda _: _CHUNKED + b"X-Large: " + b"a" * 16_000_000, within_s=15),
    Attack("100,000 requests at once", lambda _: (_LIVE + b"\r\n") * 100_000, within_s=15, expected=_SERVED),
    Attack("TLS", lambda _: b"\x16\x03\x01\x02\x00\x01"),
)
"""Without a key."""

CROWDS: Sequence[Attack] = (
    Attack("silent connections", lambda _: b"", connections=1000, within_s=15),
    Attack("heads that never end", lambda _: _LIVE + b"X-A: ", connections=1000, slowly=True, within_s=15),
    Attack(
        "bodies that never come",
        _post(_CHAT, lambda: b"{", announced=900_000),
        connections=100,
        slowly=True,
        within_s=15,
    ),
    Attack("100 bodies of 3.9 MB", _post(_CHAT, lambda: _said(_long())), connections=100, within_s=15),
)
"""Many connections at once."""


EVERY = (*BODIES, *GENERATION, *HEADS, *CROWDS)


def launched(name: str, target: Target) -> list[Outcome]:
    """`launch` for a process of its own."""
    (attack,) = (each for each in EVERY if each.name == name)
    return asyncio.run(launch(attack, target))


async def launch(attack: Attack, target: Target) -> list[Outcome]:
    """Send it and wait for what becomes of it."""
    data = attack.data(target)
    return list(await asyncio.gather(*(_one(attack, target, data, n) for n in range(attack.connections))))


async def _one(attack: Attack, target: Target, data: bytes, number: int) -> Outcome:
    started = time.monotonic()
    address = f"127.0.0.{1 + number // PER_ADDRESS}", 0
    try:
        reader, writer = await asyncio.open_connection(target.host, target.port, local_addr=address)
    except OSError:
        return Outcome(None, time.monotonic() - started, closed=True)
    sending = asyncio.ensure_future(_send(writer, data, slowly=attack.slowly))
    answer = bytearray()
    closed = True
    try:
        async with asyncio.timeout(PATIENCE_S):
            while piece := await reader.read(CHUNK):
                answer += piece
                del answer[1 << 20 :]
    except ConnectionError:
        pass
    except TimeoutError:
        closed = False
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()
    head = bytes(answer).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").split(b" ", 2)
    status = int(head[1]) if len(head) > 2 and head[0] == b"HTTP/1.1" else None
    return Outcome(status, time.monotonic() - started, closed=closed)


async def _send(writer: asyncio.StreamWriter, data: bytes, *, slowly: bool) -> None:
    for at in range(0, len(data), CHUNK):
        writer.write(data[at : at + CHUNK])
        await writer.drain()
    while slowly:
        await asyncio.sleep(1)
        writer.write(b"a")
        await writer.drain()


def judged(attack: Attack, outcomes: Sequence[Outcome]) -> str:
    """Why an attack was not withstood; '' where it was."""
    late = max((o.seconds for o in outcomes if o.status not in attack.expected), default=0.0)
    wrong = [o for o in outcomes if not (o.withstood or o.status in attack.expected)]
    if wrong:
        return f"{len(wrong)} of {len(outcomes)} were neither refused nor cut off (status {wrong[0].status})"
    return f"{late:.1f} s, not {attack.within_s:g}" if late > attack.within_s else ""
