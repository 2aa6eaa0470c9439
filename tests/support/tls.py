"""A private authority, and TLS before a server that has none."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trustme


class Authority:
    """Signs certificates for loopback; all of it lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, name: str) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        made = self._authority.issue_cert("127.0.0.1", "localhost")
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return certificate, key

    def server(self, *, protocols: tuple[str, ...] = (), asks: bool = False) -> ssl.SSLContext:
        """What a server needs. asks: for a certificate of this authority, too."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            self._authority.configure_trust(context)
        return context

    def client(self) -> ssl.SSLContext:
        """One that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.ca_file))


@asynccontextmanager
async def terminated(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port at which TLS is taken off what goes to `port`."""
    writers: set[asyncio.StreamWriter] = set()

    async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, to_behind = await asyncio.open_connection("127.0.0.1", port)
        both = {writer, to_behind}
        writers.update(both)
        await asyncio.gather(pour(reader, to_behind), pour(behind, writer))
        writers.difference_update(both)

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        left = tuple(writers)
        for writer in left:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in left), return_exceptions=True)
        while writers:
            await asyncio.sleep(0)
