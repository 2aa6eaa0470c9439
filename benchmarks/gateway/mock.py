"""An OpenAI-shaped backend for the peers: 64 chunks, one each 5 ms, each stream on its own clock.

It is to a peer what the simulated engine is to Ragfleet: the same number of events at the same pace, and, like the
engine's, not in lockstep, so that a proxy cannot save work by meeting many streams' events in one wake-up.
`python -m benchmarks.gateway.mock PORT`
"""

import asyncio
import sys

import uvloop

CHUNK = (
    b'data: {"id":"chatcmpl-7f3a1f0c2b","object":"chat.completion.chunk","created":1760000000,"model":"mock",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}\n\n'
)
MODELS = b'{"object":"list","data":[{"id":"mock","object":"model","created":0,"owned_by":"bench"}]}'
TOKENS = 64
PERIOD_S = 0.005


def chunked(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(v)
                    for n, _, v in (x.partition(b":") for x in head.split(b"\r\n"))
                    if n.lower() == b"content-length"
                ),
                0,
            )
            await reader.readexactly(length)
            if head.startswith(b"GET"):
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(MODELS), MODELS)
                )
                continue
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            due = loop.time()
            for _ in range(TOKENS):
                due += PERIOD_S
                await asyncio.sleep(max(0.0, due - loop.time()))
                writer.write(chunked(CHUNK))
            writer.write(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
