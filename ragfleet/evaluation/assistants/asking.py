"""Assistants as an evaluation asks them: one conversation, one reply; many of them side by side."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ragfleet.client import GatewayError, connect, told

T = TypeVar("T")
CONCURRENCY = 4
Messages = Sequence[Mapping[str, str]]
Progress = Callable[[int, int], None]
"""Called with what is done, and all there is to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantReply:
    """What came. error: why nothing did, in the gateway's words."""

    text: str = ""
    sources: Sequence[str] = ()
    """Names of the files that the passages are of, the best first."""
    cited: Sequence[str] = ()
    """Of the sources."""
    paths: Sequence[str] = ()
    """Of the same files within their folder."""
    places: Sequence[tuple[str, str]] = ()
    """Of the same passages: the path, and the text as it stood in the prompt."""
    handover: Mapping[str, Any] | None = None
    """The arguments, where a person was called."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """So many of so many."""

    what: str
    good: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantResult:
    """Of one assistant."""

    assistant: str
    measures: Sequence[Score]
    misses: Sequence[str] = ()
    """What was not as it should be, a line each."""


class Assistants(Protocol):
    """Used from several threads at once."""

    def ask(self, name: str, messages: Messages, *, max_tokens: int) -> AssistantReply: ...


class OpenAIAssistants:
    """See Assistants: those of a gateway. Close it."""

    def __init__(self, url: str, key: str) -> None:
        self._client = connect(url, key).with_options(timeout=600.0)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, name: str, messages: Messages, *, max_tokens: int) -> AssistantReply:
        """See Assistants. What the gateway refuses is a reply, too: one question in hundreds ends no evaluation."""
        asked: Any = list(messages)  # the client's type has a class for each role
        try:
            made = told(
                self._client.chat.completions.create, model=f"assistant:{name}", messages=asked, max_tokens=max_tokens
            )
        except GatewayError as error:
            return AssistantReply(error=str(error))
        rag = (made.model_extra or {}).get("rag") or {}
        files = {source["n"]: str(source["filename"]) for source in rag.get("sources", ())}
        message = made.choices[0].message
        calls = [call.function for call in message.tool_calls or () if call.type == "function"]
        return AssistantReply(
            text=message.content or "",
            sources=list(files.values()),
            paths=[_path(source) for source in rag.get("sources", ())],
            places=[(_path(source), str(source["text"])) for source in rag.get("sources", ())],
            cited=[files[each["n"]] for each in rag.get("citations", ()) if each["n"] in files],
            handover=next((json.loads(each.arguments) for each in calls if each.name == "handover"), None),
        )


def _path(source: Mapping[str, Any]) -> str:
    return str(source.get("attributes", {}).get("path") or source["filename"])


def ask_each(
    assistants: Assistants, name: str, conversations: Sequence[Messages], *, max_tokens: int, progress: Progress
) -> list[AssistantReply]:
    """The replies, in their order. When the asker leaves, what has not begun is called off."""
    pool = ThreadPoolExecutor(CONCURRENCY)
    try:
        futures = [pool.submit(assistants.ask, name, each, max_tokens=max_tokens) for each in conversations]
        replies = []
        for future in futures:
            replies.append(future.result())
            progress(len(replies), len(futures))
        return replies
    finally:
        pool.shutdown(cancel_futures=True)


def limited(items: Sequence[T], count: int | None) -> Sequence[T]:
    """`count` of them, evenly spread and always the same ones; all for None."""
    if count is None or count >= len(items):
        return items
    return [items[number * len(items) // count] for number in range(count)]


def one_question(text: str) -> Messages:
    """A conversation that begins."""
    return [{"role": "user", "content": text}]
