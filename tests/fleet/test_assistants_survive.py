"""Each kind of assistant's answer outlives the Triton that wrote it: real Consul, workers, Tritons, Milvus and gateway.

The engine is the simulated one, whose answers can be compared to the letter. tests/component/test_assistant_failures.py has the
same kinds, killed at each of their steps, without processes.
"""

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import OpenAI

from build_scripts.tokenizer import PreparationFailed, prepare
from tests.support.chat_client import Seen, take
from tests.support.embedded_fleet import EmbeddedFleet, embedded
from tests.support.observed_fleet import Victim
from tests.support.word_files import paragraph, run, word_file, words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a whole fleet, and some restarts of a Triton

AT_ONCE = 4
"""Requests of each kind, so that some of them are where it dies."""
TRIES = 12
LATER_S = (1.5, 0.5, 1.0)
"""How long an instance writes before it is killed, in turn."""
HANDBOOK = {
    "returns.md": "# Returns\n\nA greenhouse lamp can be returned within thirty days, with its receipt.",
    "warranty.md": "# Warranty\n\nThe warranty of a greenhouse lamp is three years.",
}
SOURCE = {
    "house/door.py": 'class Door:\n    """A way in."""\n\n    def open_slowly(self):\n        turn_key(self)\n',
    "house/lock.py": 'def turn_key(door):\n    """Clockwise."""\n    return door\n',
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROFILES = {
    "poet": "system: You speak in rhymes.\nmax_tokens: 120\n",
    "desk": (
        "kind: support\nknowledge: true\nstores: [handbook]\nmax_tokens: 60\nmin_score: 0.3\n"
        "support: {handover_words: [a human], unsupported_before_handover: 2,"
        " texts: {en: {unknown: I know nothing of that., handover: Somebody comes.}}}\n"
    ),
    "reader": "kind: code\nknowledge: true\nstores: [source]\nmax_tokens: 60\n",
    "writer": "kind: content\nmax_tokens: 40\nwriting: {glossary: {pump: Pumpe}, piece_chars: 200, concurrency: 3}\n",
    "analyst": "kind: data\nmax_tokens: 256\nwarehouse: {words: true}\n",
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "minLength": 100, "maxLength": 120}},
            "required": ["city"],
        },
    },
}
CITED = {"guided_regex": r"[A-Z][a-z]{3,9}( [a-z]{2,9}){6,9} \[1\], and [a-z]{4,9}( [a-z]{2,9}){6,9} \[1\]\."}
LONG = "\n\n".join(f"Paragraph {n} says that the pump leaks, and that nobody has seen to it." for n in range(12))
TEXT = "# The pump leaks\n\n- see `P-1`, **often**\n- call us\n\nThe pump is *loud*, and nobody knows why.\n"
UNKNOWN = "Who won the chess championship of 1972?"


@dataclass(frozen=True)
class Asked:
    """A kind of answer. words: a message, or a conversation. by_model: no model writes what rules decide."""

    model: str
    words: str | list[dict[str, str]]
    more: Mapping[str, Any] = field(default_factory=dict)
    by_model: bool = True


KINDS = {
    "a chat": Asked("poet", "A rhyme, please."),
    "a tool call": Asked("poet", "The weather?", {"tools": [WEATHER], "tool_choice": "required"}),
    "customer service": Asked("desk", "When can I return a greenhouse lamp?"),
    "a person called for": Asked("desk", "I want to talk to a human.", by_model=False),
    "a person called twice unsupported": Asked(
        "desk",
        [
            {"role": "user", "content": UNKNOWN},
            {"role": "assistant", "content": "I know nothing of that."},
            {"role": "user", "content": UNKNOWN},
        ],
        by_model=False,
    ),
    "source code, cited": Asked("reader", "How does `Door.open_slowly` work?", CITED),
    "a query in words": Asked("analyst", "How many customers are there per region?"),
    "a translation": Asked("writer", f"Translate to German:\n{TEXT}"),
    "a summary": Asked("writer", f"Summarise this:\n{LONG}"),
}
FILL, WORD = "a hole that is filled", "a document of Word"


@dataclass(frozen=True, slots=True)
class Told:
    """Of an answer all that is the same each time."""

    text: str
    calls: Sequence[tuple[str, str, int]]
    """Name, arguments, and how many ids it had."""
    sources: Sequence[str]
    citations: Sequence[tuple[int, int, int]]
    finish: str | None
    tokens: int


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's own, with tokens for filling in under the names of some that no answer has."""
    folder = tmp_path_factory.mktemp("tokenizer")
    try:
        prepare(folder)
    except PreparationFailed as error:
        pytest.skip(str(error))
    text = (folder / "tokenizer.json").read_text("utf-8")
    for old, new in (("jupyter_start", "fim_prefix"), ("jupyter_text", "fim_suffix"), ("jupyter_code", "fim_middle")):
        assert f"<{old}>" in text
        text = text.replace(f"<{old}>", f"<{new}>")
    (folder / "tokenizer.json").write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def fleet(
    consul_program: Path, ports: int, tokenizer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedFleet]:
    """Two instances of everything and a gateway, which know the handbook and the source code."""
    profiles = tmp_path_factory.mktemp("profiles")
    for name, profile in PROFILES.items():
        (profiles / f"{name}.yaml").write_text(profile)
    engine = {
        "decode_step_ms": 25,
        "decode_step_ms_per_sequence": 0,
    }
    env = {
        "RAGFLEET_ASSISTANTS_DIR": str(profiles),
        "RAGFLEET_TOKENIZER_DIR": str(tokenizer),
        "RAGFLEET_LLM_PARAMS": json.dumps(engine),
    }
    with embedded(instances=2, flavour="simulated", port_base=ports, env=env) as started:
        with OpenAI(base_url=f"{started.gateway_urls[0]}/v1", api_key=started.key, max_retries=5) as client:
            _learn(client, "handbook", HANDBOOK)
            _learn(client, "source", SOURCE)
        yield started


def _learn(client: OpenAI, name: str, texts: Mapping[str, str]) -> None:
    store = client.vector_stores.create(name=name)
    for path, text in texts.items():
        file = client.files.create(file=(path.rpartition("/")[2], text.encode()), purpose="assistants")
        about: dict[str, str | float | bool] = {"path": path, "commit": COMMIT}
        member = client.vector_stores.files.create_and_poll(
            file.id, vector_store_id=store.id, attributes=about, poll_interval_ms=200
        )
        assert member.status == "completed", member.last_error


class Asker:
    """Asks each kind, and tells of an answer what is the same each time."""

    def __init__(self, fleet: EmbeddedFleet, http: aiohttp.ClientSession, document: str) -> None:
        """document: the id of a file of Word."""
        self._http = http
        self._url = f"http://127.0.0.1:{fleet.port}/v1"
        self._document = document
        self.moved: set[str] = set()
        """Kinds of which an answer has lost its instance while it was written there."""
        self.tokens = 0
        """Of all answers."""

    async def ask(self, kind: str) -> Told:
        """One answer, whole."""
        path, body = self._request(kind)
        seen, rag, done = Seen(), {}, False
        body |= {"stream": True, "temperature": 0, "stream_options": {"include_usage": True}}
        async with self._http.post(f"{self._url}/{path}", json=body) as response:
            assert response.status == 200, f"{kind}: {await response.text()}"
            async for line in response.content:
                done = done or line.startswith(b"data: [DONE]")
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                rag |= event.get("rag") or {}
                for choice in event.get("choices", ()):
                    choice.setdefault("delta", {"content": choice.get("text")})
                take(seen, event)
        assert seen.error is None, f"{kind}: {seen.error}"
        assert done, f"{kind}: it has no end"
        if any(part["tokens"] and part["cause"] != "end" for part in seen.attempts):
            self.moved.add(kind)
        self.tokens += seen.completion_tokens
        return Told(
            await self._with_files(seen.text),
            [(call.name, call.arguments, len(call.ids)) for call in seen.calls.values()],
            [source["filename"] for source in rag.get("sources", ())],
            [(each["n"], each["start_index"], each["end_index"]) for each in rag.get("citations", ())],
            seen.finish,
            seen.completion_tokens,
        )

    def _request(self, kind: str) -> tuple[str, dict[str, Any]]:
        if kind == FILL:
            body = {"model": "assistant:reader", "prompt": "def turn(key):\n    ", "suffix": "\n    return key"}
            return "completions", {**body, "max_tokens": 80}
        if kind == WORD:
            parts = [
                {"type": "text", "text": "Translate to German"},
                {"type": "file", "file": {"file_id": self._document}},
            ]
            return "chat/completions", {
                "model": "assistant:writer",
                "messages": [{"role": "user", "content": parts}],
            }
        asked = KINDS[kind]
        messages = [{"role": "user", "content": asked.words}] if isinstance(asked.words, str) else asked.words
        return "chat/completions", {"model": f"assistant:{asked.model}", "messages": messages, **asked.more}

    async def _with_files(self, text: str) -> str:
        """With the words of files that were made in the place of their ids."""
        for file_id in re.findall(r"/files/(file-\w+)/content", text):
            async with self._http.get(f"{self._url}/files/{file_id}/content") as response:
                assert response.status == 200, await response.text()
                text = text.replace(file_id, " ".join(words(await response.read())))
        return text

    async def files(self) -> int:
        """That there are."""
        async with self._http.get(f"{self._url}/files?limit=1000") as response:
            return len((await response.json())["data"])

    async def charged(self) -> int:
        """Tokens of answers in the ledger."""
        async with self._http.get(f"{self._url}/usage?bucket_width=1h") as response:
            page = await response.json()
        return sum(int(result["output_tokens"]) for bucket in page["data"] for result in bucket["results"])


@pytest.fixture
async def asker(fleet: EmbeddedFleet) -> AsyncIterator[Asker]:
    """With a document of Word."""
    content = word_file(
        paragraph(run("The pump leaks."), "Heading1") + paragraph(run("Nobody has ") + run("seen to it.", "<w:b/>"))
    )
    form = aiohttp.FormData({"purpose": "user_data"})
    form.add_field("file", content, filename="report.docx")
    headers = {"Authorization": f"Bearer {fleet.key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=300)) as http:
        async with http.post(f"http://127.0.0.1:{fleet.port}/v1/files", data=form) as response:
            assert response.status == 200, await response.text()
            document = (await response.json())["id"]
        yield Asker(fleet, http, document)


async def _killed(victim: Victim, asked: "asyncio.Future[list[Told]]", later_s: float) -> tuple[str, int]:
    """The instance with most of the answers, a while after the first has begun, or when all have come: its name and pid."""
    running: dict[str, int] = {}
    while not asked.done() and not any(running.values()):
        await asyncio.sleep(0.05)
        running = await _streams(victim)
    if not asked.done():
        await asyncio.sleep(later_s)
    running = await _streams(victim)
    name = max(running, key=running.__getitem__)
    return name, victim.signal(name, signal.SIGKILL)


async def _streams(victim: Victim) -> dict[str, int]:
    while True:
        with suppress(OSError):  # a busy gateway answers late
            return {name: each["streams"] for name, each in (await victim.instances()).items()}
        await asyncio.sleep(0.05)


async def _back(victim: Victim, name: str, pid: int) -> None:
    """Its worker has started it anew, and the gateway knows of it."""
    ends = time.monotonic() + 240
    while victim.pid(name) == pid or victim.state(name).get("state") != "ready":
        assert time.monotonic() < ends, f"{name} does not come back"
        await asyncio.sleep(0.2)
    await victim.ready(2, seconds=240)


async def test_what_an_instance_dies_of_reaches_no_answer(fleet: EmbeddedFleet, asker: Asker) -> None:
    """Premise, tried again until each kind has met it: that an answer was being written where an instance died."""
    victim, kinds = Victim(fleet), [*KINDS, FILL, WORD]
    by_rules = [kind for kind, asked in KINDS.items() if not asked.by_model]
    alone = {kind: await asker.ask(kind) for kind in kinds}
    assert [kind for kind, told in alone.items() if not told.text and not told.calls] == []
    assert [[call[0] for call in alone[kind].calls] for kind in by_rules] == [["handover"]] * len(by_rules)
    assert alone["customer service"].sources
    assert alone["source code, cited"].citations
    assert "house/door.py" in alone["source code, cited"].text
    files = await asker.files()
    missing = [kind for kind in kinds if kind not in by_rules]
    for attempt in range(TRIES):
        chosen = [kind for kind in [*by_rules, *missing] for _ in range(AT_ONCE)]
        asked = asyncio.gather(*map(asker.ask, chosen))
        name, pid = await _killed(victim, asked, LATER_S[attempt % len(LATER_S)])
        told = await asked
        assert told == [alone[kind] for kind in chosen]
        files += chosen.count(WORD)
        assert await asker.files() == files, "each answer makes its file once"
        await _back(victim, name, pid)
        missing = [kind for kind in missing if kind not in asker.moved]
        print(f"try {attempt + 1}: {name} was killed; not met yet: {missing}")
        if not missing:
            break
    assert not missing, f"in {TRIES} tries nothing of these was written where an instance died"
    await victim.until(
        lambda seen: not any(e["streams"] or e["in_flight"] or (e["load"] or {}).get("active") for e in seen.values()),
        seconds=120,
        what="nothing is held",
    )
    ends = time.monotonic() + 120
    while await asker.charged() != asker.tokens and time.monotonic() < ends:
        await asyncio.sleep(0.5)
    assert await asker.charged() == asker.tokens, "each token is paid once"
