"""An HTTP server that checks ask and scrapes read."""

import asyncio


class FakeHttpServer:
    """An HTTP server that answers what it is told to, or not at all."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"ok"
        self.hang = False
        self.asked: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head.split()[1].decode())
            while self.hang:
                await asyncio.sleep(0.01)
            length = len(self.body)
            writer.write(b"HTTP/1.0 %d X\r\nContent-Length: %d\r\n\r\n" % (self.status, length) + self.body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
