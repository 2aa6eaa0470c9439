"""The images' health check against real sockets."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ragfleet.paths import PROJECT


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def check(*arguments: str, home: Path) -> tuple[int, str]:
    argv = [sys.executable, "-I", str(PROJECT / "docker" / "healthcheck.py"), *arguments]
    done = subprocess.run(
        argv, env={"RAGFLEET_HOME": str(home)}, capture_output=True, text=True, timeout=20, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_only_200_is_healthy(port: int, tmp_path: Path) -> None:
    assert check(str(port), "/well", home=tmp_path)[0] == 0
    code, words = check(str(port), "/ill", home=tmp_path)
    assert code == 1
    assert "503" in words


def test_it_asks_what_the_entrypoint_wrote(port: int, tmp_path: Path) -> None:
    (tmp_path / "healthcheck").write_text(f"{port} /well\n")
    assert check(home=tmp_path)[0] == 0


def test_silence_is_ill_and_told_in_words(tmp_path: Path) -> None:
    code, words = check(home=tmp_path)
    assert code == 1
    assert "healthcheck" in words
    assert "Traceback" not in words
    code, words = check("1", "/well", home=tmp_path)
    assert code == 1
    assert "refused" in words
