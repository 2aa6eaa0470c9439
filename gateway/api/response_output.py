"""The items of a response's output and the events that tell of them."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson

from gateway.api.client_tools import CALL_ITEMS, call_fields
from gateway.api.log_prob_serializers import content_log_probs
from gateway.api.response_items import PREFIXES
from gateway.api.sse import TextEvent, sse
from gateway.serving.log_probs import AnswerLogProbs
from gateway.serving.tools import ToolCall

Json = dict[str, Any]


class ResponseEvents:
    """Numbers the events of one stream, and names its items: the same ones whenever the same answer is made again."""

    def __init__(self, response_id: str, first: int = 0) -> None:
        """first: the number of the first event."""
        self._response = uuid.UUID(response_id.rpartition("_")[2])
        self._next = first
        self._items = 0

    def new_item(self, prefix: str) -> str:
        """The id of a further item."""
        self._items += 1
        return f"{prefix}_{uuid.uuid5(self._response, str(self._items)).hex}"

    def event(self, kind: str, **fields: Any) -> bytes:
        """One event."""
        return sse({"type": kind, "sequence_number": self._number(), **fields}, name=kind)

    def deltas(self, kind: str, **fields: Any) -> Callable[[str], bytes]:
        """Events that add a piece of text each."""
        event = TextEvent(lambda text: {"type": kind, **fields, "delta": text}, name=kind)

        def numbered(piece: str) -> bytes:
            return b'%b%b,"sequence_number":%d}\n\n' % (event.before, orjson.dumps(piece), self._number())

        return numbered

    def _number(self) -> int:
        number, self._next = self._next, self._next + 1
        return number


class OutputItems:
    """The items so far, `items`, and the events of the one that is being written."""

    def __init__(
        self, events: ResponseEvents, items: Sequence[Json] = (), *, log_probs: AnswerLogProbs | None = None
    ) -> None:
        """items: those that are complete already. log_probs: of the answer, where they are asked for."""
        self._events = events
        self._log_probs = log_probs
        self._told: list[Json] = []
        self._item_id = ""
        self._call = ToolCall("", "")
        self._call_kind = "function"
        self._thoughts = ""
        self.items = list(items)
        self.writing: Literal["reasoning", "message", "call"] | None = None
        """What was begun and is not complete."""
        self.delta: Callable[[str], bytes] = lambda _: b""
        """The event with a further piece of the item that was begun last."""

    def begin_message(self) -> bytes:
        """A message begins."""
        self._item_id, self.writing = self._events.new_item("msg"), "message"
        event = self._events.event
        self._told = []
        self.delta = self._text_delta
        if self._log_probs is None:
            self.delta = self._events.deltas("response.output_text.delta", **self._part, logprobs=[])
        return event(
            "response.output_item.added", **self._place, item=message_item(self._item_id, "in_progress")
        ) + event("response.content_part.added", **self._part, part=text_part("", []))

    def end_message(self, status: str, text: str, citations: Sequence[Json]) -> bytes:
        """The message is complete."""
        event, at = self._events.event, self._part
        self._take_log_probs()
        told = [
            event("response.output_text.annotation.added", **at, annotation_index=index, annotation=citation)
            for index, citation in enumerate(citations)
        ]
        told.append(event("response.output_text.done", **at, text=text, logprobs=self._told))
        told.append(event("response.content_part.done", **at, part=text_part(text, citations, self._told)))
        return b"".join([*told, self._done(message_item(self._item_id, status, text, citations, self._told))])

    def text(self, piece: str) -> bytes:
        """A piece of a message, which begins with it where none has."""
        begin = b"" if self.writing == "message" else self.end_reasoning("completed") + self.begin_message()
        return begin + self.delta(piece)

    def thought(self, piece: str) -> bytes:
        """A piece of a reasoning item, which begins with it where none has."""
        event, begin = self._events.event, b""
        if self.writing != "reasoning":
            self._item_id, self.writing, self._thoughts = self._events.new_item("rs"), "reasoning", ""
            item = reasoning_item(self._item_id, "in_progress")
            begin = event("response.output_item.added", **self._place, item=item)
            begin += event("response.content_part.added", **self._part, part=reasoning_part(""))
        self._thoughts += piece
        return begin + event("response.reasoning_text.delta", **self._part, delta=piece)

    def end_reasoning(self, status: str) -> bytes:
        """The reasoning item is complete, where one was being written."""
        if self.writing != "reasoning":
            return b""
        event, at, text = self._events.event, self._part, self._thoughts
        told = event("response.reasoning_text.done", **at, text=text)
        told += event("response.content_part.done", **at, part=reasoning_part(text))
        return told + self._done(reasoning_item(self._item_id, status, text))

    def begin_call(self, call: ToolCall, kind: str) -> bytes:
        """A call begins; kind: of its tool. Of other calls than those of functions nothing is told before they are complete."""
        self.writing, self._call, self._call_kind = "call", call, kind
        self._item_id = new_call_id(self._events, kind)
        if kind != "function":
            self.delta = lambda _: b""
            return b""
        at = {**self._place, "item_id": self._item_id}
        self.delta = self._events.deltas("response.function_call_arguments.delta", **at)
        item = call_item(ToolCall(call.id, call.name), "in_progress", self._item_id)
        return self._events.event("response.output_item.added", **self._place, item=item)

    def end_call(self, status: str) -> bytes:
        """The call is complete, with the arguments that it has by now; nothing is told of one that cannot be read."""
        call, event, at = self._call, self._events.event, {**self._place, "item_id": self._item_id}
        item = call_item(call, status, self._item_id, self._call_kind)
        if item is None:
            self.writing = None
            return b""
        if self._call_kind == "function":
            told = event("response.function_call_arguments.done", **at, name=call.name, arguments=call.arguments)
        else:
            told = event("response.output_item.added", **self._place, item={**item, "status": "in_progress"})
        if self._call_kind == "custom":
            told += event("response.custom_tool_call_input.delta", **at, delta=item["input"])
            told += event("response.custom_tool_call_input.done", **at, input=item["input"])
        return told + self._done(item)

    def _text_delta(self, piece: str) -> bytes:
        return self._events.event(
            "response.output_text.delta", **self._part, delta=piece, logprobs=self._take_log_probs()
        )

    def _take_log_probs(self) -> list[Json]:
        """Of the tokens since the last call."""
        new = [] if self._log_probs is None else content_log_probs(self._log_probs.take())
        self._told += new
        return new

    @property
    def _place(self) -> Json:
        return {"output_index": len(self.items)}

    @property
    def _part(self) -> Json:
        return {**self._place, "content_index": 0, "item_id": self._item_id}

    def _done(self, item: Json) -> bytes:
        told = self._events.event("response.output_item.done", **self._place, item=item)
        self.items.append(item)
        self.writing = None
        return told


def message_item(
    item_id: str, status: str, text: str | None = None, citations: Sequence[Json] = (), log_probs: Sequence[Json] = ()
) -> Json:
    """A message; text: None while there is none."""
    content = [] if text is None else [text_part(text, citations, log_probs)]
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def reasoning_item(item_id: str, status: str, text: str = "") -> Json:
    """What the model thought."""
    content = [reasoning_part(text)] if text else []
    return {"id": item_id, "type": "reasoning", "status": status, "summary": [], "content": content}


def reasoning_part(text: str) -> Json:
    """The one part of a reasoning item."""
    return {"type": "reasoning_text", "text": text}


def text_part(text: str, citations: Sequence[Json], log_probs: Sequence[Json] = ()) -> Json:
    """The one part of a message."""
    return {"type": "output_text", "text": text, "annotations": list(citations), "logprobs": list(log_probs)}


def new_call_id(events: ResponseEvents, kind: str) -> str:
    """The id of a call's item. kind: of its tool."""
    return events.new_item(PREFIXES[CALL_ITEMS[kind]])


def call_item(call: ToolCall, status: str, item_id: str, kind: str = "function") -> Json | None:
    """A call; None for one that cannot be read. kind: of its tool."""
    fields = call_fields(kind, call)
    if fields is None:
        return None
    return {"id": item_id, "status": status if kind in ("function", "custom") else "completed", **fields}


def new_response_id() -> str:
    """`resp_` and 32 hexadecimal digits."""
    return f"resp_{uuid.uuid4().hex}"
