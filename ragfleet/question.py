"""Asks the gateway one question over OpenAI's API, and reads the answer as it comes, with its sources."""

import json
import urllib.error
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from ragfleet.loopback import open_url

SILENCE_SECONDS = 120.0
"""How long the gateway may say nothing: a long prompt on two slow cores takes a while to read."""

_NO_GATEWAY = "What answers at the gateway's port is no gateway. See: ragfleet status"


class AskError(Exception):
    """The question was not answered; the text is the gateway's own, or says that it does not answer."""


@dataclass(slots=True)
class CitedAnswer:
    """What has come so far. `text` grows while `stream` is read."""

    text: str = ""
    model: str = ""
    grounded: bool | None = None
    """Whether passages support it; None for an answer without retrieval."""
    store: str = ""
    query: str = ""
    """What was searched."""
    sources: list[dict[str, Any]] = field(default_factory=list)
    citations: list[dict[str, Any]] = field(default_factory=list)
    """Of the sources: those that the answer marks, or whose words it has. Known at its end."""
    finish_reason: str = ""
    usage: dict[str, Any] = field(default_factory=dict)


def stream(
    gateway_url: str,
    key: str,
    question: str,
    *,
    store: str | None,
    model: str = "",
    max_tokens: int,
    answer: CitedAnswer,
) -> Iterator[str]:
    """Yields the pieces of the answer, and fills `answer` with everything else.

    `store` None: the bare model, without retrieval; `model` or the first that the gateway offers. Raises AskError.
    """
    name = f"rag:{store}" if store is not None else model or _bare_model(gateway_url, key)
    body = {
        "model": name,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    with _open(f"{gateway_url}/v1/chat/completions", key, body) as response:
        for line in _lines(response):
            data = line.decode("utf-8", errors="replace").strip().removeprefix("data:").strip()
            if not data:
                continue
            if data == "[DONE]":
                return
            chunk = _parsed(data)
            try:
                yield from _read(chunk, answer)
            except (TypeError, ValueError, LookupError, AttributeError):
                raise AskError(_NO_GATEWAY) from None
    raise AskError("The answer broke off. See: ragfleet status")


def _parsed(data: str | bytes) -> Mapping[str, Any]:
    """Raises AskError where it is no object: something else answers at the gateway's port."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Mapping):
        raise AskError(_NO_GATEWAY)
    return found


def _lines(response: Iterable[bytes]) -> Iterator[bytes]:
    """Raises AskError where the gateway goes, or says nothing for SILENCE_SECONDS."""
    try:
        yield from response
    except TimeoutError:
        raise AskError(f"The gateway said nothing for {SILENCE_SECONDS:g} s. See: ragfleet status") from None
    except (OSError, HTTPException) as error:
        raise AskError(f"The answer broke off ({error or type(error).__name__}). See: ragfleet status") from None


def _read(chunk: Mapping[str, Any], answer: CitedAnswer) -> Iterator[str]:
    if error := chunk.get("error"):
        raise AskError(str(error.get("message", error)))
    answer.model = chunk.get("model") or answer.model
    answer.usage = chunk.get("usage") or answer.usage
    rag = chunk.get("rag") or {}
    if "sources" in rag:  # the first chunk
        answer.grounded, answer.sources = bool(rag.get("grounded")), list(rag["sources"])
        answer.store, answer.query = str(rag.get("store", "")), str(rag.get("query", ""))
    answer.citations += rag.get("citations", [])
    for choice in chunk.get("choices", []):
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
        delta = choice.get("delta", {})
        called = "".join(_told(call["function"]) for call in delta.get("tool_calls", ()))
        if piece := (delta.get("content") or "") + called:
            answer.text += piece
            yield piece


def _told(call: Mapping[str, Any]) -> str:
    """A piece of a call, as people read it."""
    begun = f"{call['name']} " if "name" in call else ""
    return begun + str(call.get("arguments") or "")


def _bare_model(gateway_url: str, key: str) -> str:
    with _open(f"{gateway_url}/v1/models", key) as response:
        listed = _parsed(b"".join(_lines(response)))
    try:
        names = [str(entry["id"]) for entry in listed["data"]]
    except (TypeError, LookupError):
        raise AskError(_NO_GATEWAY) from None
    bare = [name for name in names if name != "rag" and not name.startswith(("rag:", "assistant:"))]
    if not bare:
        raise AskError("No instance is ready. See: ragfleet status")
    return bare[0]


def _open(url: str, key: str, body: Mapping[str, Any] | None = None) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        return open_url(url, headers=headers, data=data, seconds=SILENCE_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            raise AskError(_message(error.code, error.read())) from None
    except (OSError, HTTPException) as error:
        raise AskError(f"The gateway at {url} does not answer ({error}). See: ragfleet status") from None


def _message(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The gateway answered with HTTP status {status}."
