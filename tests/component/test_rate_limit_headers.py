"""`x-ratelimit-*` on every kind of answer: OpenAI's names and format, and numbers that are right."""

import json
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.rate_limits import HEADERS, duration
from gateway.triton.fake_answers import Script
from tests.support.replies import Reply
from tests.support.running import EMBEDDING, MODEL, Fleet

LIMITS = {"requests_per_minute": 40, "tokens_per_minute": 100_000, "embedding_tokens_per_minute": 5_000}
NOON = 1_700_049_600.0
"""Nothing begins anew while a test runs."""
KEY = {"authorization": "Bearer acme"}
ROUTES: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {"model": MODEL, "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 8},
    "/v1/completions": {"model": MODEL, "prompt": "Hello?", "max_tokens": 8},
    "/v1/responses": {"model": MODEL, "input": "Hello?", "max_output_tokens": 16},
    "/v1/embeddings": {"model": EMBEDDING, "input": "three words here"},
}
USAGE = {"stream_options": {"include_usage": True}}
KINDS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any] | bytes]] = {
    "whole": lambda body: body,
    "streamed": lambda body: {**body, "stream": True, **({} if "input" in body else USAGE)},
    "no JSON": lambda _: b'{"model": ',
    "no object": lambda _: b"[]",
    "a wrong value": lambda body: {**body, "model": 7},
    "an unknown field": lambda body: {**body, "no_such_field": 1},
    "an unknown model": lambda body: {**body, "model": "no-such-model"},
    "too long": lambda body: {**body, ("input" if "input" in body else "prompt"): "word " * 2_000},
    "a broken engine": lambda body: body,
}
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(text: str) -> float:
    """What OpenAI's clients read from `6m0s`."""
    assert re.fullmatch(r"(\d+h)?(\d+m)?\d+s|\d+ms", text), text
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|h|m|s)", text))


@given(st.floats(0, 32 * 86_400))
def test_a_duration_is_written_as_openai_does_and_never_too_short(given_s: float) -> None:
    told = seconds(duration(given_s))
    assert given_s - 1e-6 <= told <= given_s + 1.0
    assert given_s >= 1 or told <= given_s + 0.001 + 1e-6


async def test_every_kind_of_answer_of_every_route_tells_what_is_left(start: Any, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(f"tenants: [{{name: acme, keys: [acme], limits: {json.dumps(LIMITS)}}}]")
    fleet: Fleet = await start(tenants_file=file, attempts=1)
    fleet.gateway.quotas._client.now = lambda: NOON
    left = {"requests": LIMITS["requests_per_minute"], "/v1/embeddings": LIMITS["embedding_tokens_per_minute"]}
    left |= dict.fromkeys(set(ROUTES) - left.keys(), LIMITS["tokens_per_minute"])
    cases = [(path, kind) for path in ROUTES for kind in KINDS if (path, kind) != ("/v1/embeddings", "streamed")]
    random.Random(7).shuffle(cases)
    statuses: dict[str, set[int]] = {}
    for path, kind in cases:
        if kind == "a broken engine":
            fleet.answers.script("embedding" if "embed" in path else "llm", *[Script(status=500, error="broken")] * 2)
        reply = await fleet.post(KINDS[kind](ROUTES[path]), path=path, headers=KEY)
        fleet.answers.scripts.clear()
        statuses.setdefault(kind, set()).add(reply.status)
        told = _told(reply)
        assert told["limit-requests"] == LIMITS["requests_per_minute"]
        assert told["limit-tokens"] == (5_000 if "embed" in path else 100_000)
        if reply.status == 200:  # while it runs it has one request, and the tokens that it may take
            left["requests"] -= 1
            assert told["remaining-requests"] == left["requests"]
            assert told["remaining-tokens"] <= left[path]
            used = _tokens(reply)
            for each in (path,) if "embed" in path else set(ROUTES) - {"/v1/embeddings"}:
                left[each] -= used
        after = _told(await fleet.post(b"{}", path=path, headers=KEY))
        assert (after["remaining-requests"], after["remaining-tokens"]) == (left["requests"], left[path]), (path, kind)
    assert statuses["whole"] == statuses["streamed"] == {200}
    assert statuses["a wrong value"] == {400}
    assert statuses["an unknown model"] == {404}
    assert min(statuses["a broken engine"]) >= 500
    while left["requests"]:
        assert (await fleet.post(ROUTES["/v1/embeddings"], path="/v1/embeddings", headers=KEY)).status == 200
        left["requests"] -= 1
    for path, body in ROUTES.items():
        refused = await fleet.post(body, path=path, headers=KEY)
        assert refused.status == 429
        assert _told(refused)["remaining-requests"] == 0


def _told(reply: Reply) -> dict[str, int]:
    """The numbers, without what all of their names begin with; each name is there once."""
    names = [name.lower() for name in reply.headers if name.lower().startswith("x-ratelimit-")]
    assert sorted(names) == sorted(HEADERS)
    assert all(seconds(reply.headers[f"x-ratelimit-reset-{unit}"]) == 60 for unit in ("requests", "tokens"))
    return {name.removeprefix("x-ratelimit-"): int(reply.headers[name]) for name in names if "-reset-" not in name}


def _tokens(reply: Reply) -> int:
    """What an answer says that it used; a stream says so near its end."""
    return int(re.findall(rb'"total_tokens": ?(\d+)', reply.raw)[-1])
