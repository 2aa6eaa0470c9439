"""HTTP to the parts of a fleet on this machine: no proxy is asked, and whatever answers, there is an end after a known time."""

import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import IO, Any

ANSWER_SECONDS = 2.0
MAX_BYTES = 64 << 20
"""Of an answer; what is longer is none of ours."""

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def open_url(url: str, *, headers: Mapping[str, str], data: bytes | None = None, seconds: float) -> IO[bytes]:
    """The answer, to be read; `seconds` bound each silence. Raises urllib.error.HTTPError, OSError, HTTPException, ValueError."""
    request = urllib.request.Request(url, data=data, headers=dict(headers))  # noqa: S310 - our own loopback URLs
    opened: IO[bytes] = _opener.open(request, timeout=seconds)
    return opened


def get(url: str, key: str = "", seconds: float = ANSWER_SECONDS) -> tuple[int, bytes]:
    """Status and body; (0, b"") where no whole answer comes within `seconds`, however it trickles in."""
    answer: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ask() -> None:
        try:
            try:
                with open_url(url, headers=headers, seconds=seconds) as response:
                    answer.put((response.status, response.read(MAX_BYTES)))  # type: ignore[attr-defined]
            except urllib.error.HTTPError as error:
                with error:
                    answer.put((error.code, error.read(MAX_BYTES)))
        except (OSError, ValueError, HTTPException):
            answer.put((0, b""))

    # A socket's time-out bounds each silence, not the whole: that takes a thread that can be left behind.
    threading.Thread(target=ask, daemon=True, name="loopback").start()
    try:
        return answer.get(timeout=seconds)
    except queue.Empty:
        return 0, b""


def get_json(url: str, key: str = "") -> tuple[int, Any]:
    """Status and body of an answer; (0, None) where there is none within ANSWER_SECONDS, (status, None) where it is no JSON."""
    status, body = get(url, key)
    try:
        return status, json.loads(body or b"null")
    except (ValueError, RecursionError):
        return status, None
