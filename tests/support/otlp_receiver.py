"""A real OTLP/HTTP receiver (oteltap), and the traces that came to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

DEADLINE_S = 60.0


class ReceivedSpan:
    """One span as it came."""

    def __init__(self, span: Any) -> None:
        self.name: str = span.name
        self.trace: str = span.trace_id.hex()
        self.id: str = span.span_id.hex()
        self.parent: str = span.parent_span_id.hex()
        self.links = [link.span_id.hex() for link in span.links]
        self.failed: bool = span.status.code == 2
        self.attributes = {each.key: _value(each.value) for each in span.attributes}

    def __repr__(self) -> str:
        return f"{self.name} {self.attributes}"


class OtlpReceiver:
    """Keeps what comes. `url`: its base."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[ReceivedSpan] = []
        self._news = asyncio.Event()

    def take(self, span: Any) -> None:
        """One more."""
        self.spans.append(ReceivedSpan(span))
        self._news.set()

    async def until(self, name: str, count: int = 1) -> list[ReceivedSpan]:
        """So many spans with that name; raises TimeoutError where they do not come."""
        async with asyncio.timeout(DEADLINE_S):
            while len(found := self.named(name)) < count:
                self._news.clear()
                await self._news.wait()
        return found

    def named(self, name: str) -> list[ReceivedSpan]:
        """Those that came so far."""
        return [span for span in self.spans if span.name == name]

    def under(self, parent: ReceivedSpan) -> Iterator[ReceivedSpan]:
        """Its children, by their name."""
        return (span for span in self.spans if span.parent == parent.id and span.trace == parent.trace)


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[OtlpReceiver]:
    """A receiver at that port."""
    settings = OtelTapHttpProtobufReceiverSettings(http_port=port, print_traces_as_ndjson=False)
    async with OtelTapHttpProtobufReceiver(settings) as tap:
        receiver = OtlpReceiver(f"http://127.0.0.1:{port}")

        async def listen() -> None:
            async for span in tap.stream_traces():
                receiver.take(span)

        listening = asyncio.create_task(listen(), name="received spans")
        try:
            yield receiver
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)
