"""Fetches one file whose SHA-256 is known, within deadlines."""

import hashlib
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, Any

CONNECT_SECONDS = 5.0
BODY_SECONDS = 300.0

Progress = Callable[[int, int], None]
"""Called with the bytes so far and the bytes in all (0 where the server does not say)."""


class DownloadError(Exception):
    """Why the file could not be had, in a few words."""


def fetch(
    url: str, sha256: str, progress: Progress | None = None, *, connect_seconds: float = CONNECT_SECONDS
) -> bytes:
    """The body of `url`.

    Raises DownloadError where the host does not answer within `connect_seconds`, the body takes longer than
    `BODY_SECONDS`, or the checksum is another one.
    """
    response = _open(url, connect_seconds)
    total = int(response.headers.get("Content-Length") or 0)  # type: ignore[attr-defined]
    deadline = time.monotonic() + BODY_SECONDS
    digest, chunks, done = hashlib.sha256(), [], 0
    try:
        with response:
            while chunk := response.read(1 << 18):
                digest.update(chunk)
                chunks.append(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
                if time.monotonic() > deadline:
                    raise DownloadError(f"took longer than {BODY_SECONDS:.0f} s")
    except OSError as error:
        raise DownloadError(f"ended after {done} bytes ({error})") from error
    if digest.hexdigest() != sha256:
        raise DownloadError(
            f"has the checksum {digest.hexdigest()[:12]}… instead of {sha256[:12]}…, so it was not used"
        )
    return b"".join(chunks)


def _open(url: str, seconds: float) -> IO[bytes]:
    """Opens `url` in a thread of its own: the time-out of a socket does not bound the name look-up before it."""
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=seconds))  # noqa: S310 - our own http(s) URLs
        except (OSError, ValueError) as error:
            answer.put(error)

    threading.Thread(target=attempt, daemon=True, name="download").start()
    try:
        got = answer.get(timeout=seconds)
    except queue.Empty:
        raise DownloadError(f"no answer within {seconds:.0f} s") from None
    if isinstance(got, urllib.error.HTTPError):
        raise DownloadError(f"HTTP {got.code}")
    if isinstance(got, urllib.error.URLError):
        raise DownloadError(str(got.reason))
    if isinstance(got, Exception):
        raise DownloadError(str(got))
    return got  # type: ignore[no-any-return]
