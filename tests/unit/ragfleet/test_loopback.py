"""Asking a part on this machine: whatever answers, there is an end, and no proxy is asked."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ragfleet.loopback import get, get_json
from ragfleet.question import AskError, CitedAnswer, stream


@contextmanager
def answering(*pieces: bytes, hold: bool = False) -> Iterator[str]:
    """A server that sends the pieces to each caller and hangs up; `hold`: it says the last one again and again."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not over.is_set():
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    try:
                        client.recv(65536)
                        for piece in pieces:
                            client.sendall(piece)
                        while hold and not over.wait(0.02):
                            client.sendall(pieces[-1])
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


GARBAGE = (
    b"",
    b"\x16\x03\x01\x02\x00",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: gopher://x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
)


@pytest.mark.parametrize("said", GARBAGE)
def test_garbage_is_no_answer(said: bytes) -> None:
    with answering(said) as url:
        status, found = get_json(url)
        assert found is None
        assert status in {0, 200, 302}
        answer = CitedAnswer()
        for store in (None, "default"):
            with pytest.raises(AskError, match=r"ragfleet status|HTTP status"):
                list(stream(url, "sk", "hi", store=store, max_tokens=1, answer=answer))


@pytest.mark.parametrize(
    "said", [b"[]", b"3", b"null", b"<html>", b'{"data": [{"id": "m"}]}', b"[" * 100_000, b'{"choices": 3}', b"\xff"]
)
def test_an_answer_of_something_else(said: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said)
    with answering(head, said) as url:
        assert get(url) == (200, said)
        assert get_json(url)[0] == 200
        with pytest.raises(AskError):
            list(stream(url, "sk", "hi", store="default", max_tokens=1, answer=CitedAnswer()))


@pytest.mark.parametrize("pieces", [(b"H",), (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b"x")])
def test_one_that_trickles_has_an_end(pieces: tuple[bytes, ...]) -> None:
    with answering(*pieces, hold=True) as url:
        assert get(url, seconds=0.3) == (0, b"")


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as url:
        assert get_json(url) == (200, {})
