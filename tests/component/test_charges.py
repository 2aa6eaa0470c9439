"""What several prompts, and several answers to each, come to: in the answer's usage, in the ledger, and of the limit."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.knowledge.catalog import schema
from gateway.tenants import ledger
from tests.support.running import MODEL, Fleet

LIMIT = 100_000
TOKENS = 8
"""Of each answer: the fake engine never ends by itself."""
NOON = 1_700_049_600.0
KEY = {"authorization": "Bearer acme"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "prompts", "made"),
    [
        ({"n": 3}, 1, 3),
        ({"best_of": 4, "n": 2}, 1, 4),
        ({"prompt": ["Hello?", "How are you?"]}, 2, 1),
        ({"prompt": ["Hello?", "How are you?", "And now?"], "n": 2, "echo": True}, 3, 2),
    ],
    ids=str,
)
async def test_each_prompt_is_charged_once_and_every_answer_that_was_made(
    start: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    prompts: int,
    made: int,
    stream: bool,
) -> None:
    if stream and "best_of" in fields:
        fields = fields | {"n": fields["best_of"]}  # which are best is known at the end
    monkeypatch.setattr(ledger, "COMMIT_S", 60.0)
    file = tmp_path / "tenants.yaml"
    file.write_text(f"tenants: [{{name: acme, keys: [acme], limits: {{tokens_per_minute: {LIMIT}}}}}]")
    fleet: Fleet = await start(tenants_file=file)
    fleet.gateway.quotas._client.now = lambda: NOON
    body = {"model": MODEL, "prompt": "Hello?", "max_tokens": TOKENS, **fields}
    path = "/v1/completions"
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    answer = await fleet.post(body, path=path, headers=KEY)
    usage = json.loads(answer.raw.decode().split("data: ")[-2])["usage"] if stream else answer.json["usage"]
    asked = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    assert usage["prompt_tokens"] == sum(len(fleet.table.encode(each)) for each in asked)
    assert usage["completion_tokens"] == prompts * made * TOKENS
    async with fleet.gateway.accounts.read() as connection:
        rows = (await connection.execute(select(schema.ledger))).all()
    assert len(rows) == prompts
    assert sum(row.prompt for row in rows) == usage["prompt_tokens"]
    assert sum(row.completion for row in rows) == usage["completion_tokens"]
    refused = await fleet.post({}, path=path, headers=KEY)
    assert int(refused.headers["x-ratelimit-remaining-tokens"]) == LIMIT - usage["total_tokens"]
