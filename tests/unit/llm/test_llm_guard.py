"""The guard ends the server when its own process has gone, and only then."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_engine import guard

CODE = "import sys; from llm_engine.guard import Guard; made = Guard(int(sys.argv[1])); sys.argv[2:] and made.dismiss()"


@pytest.fixture
def server(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that goes by the server's name and waits."""
    name = tmp_path / guard.SERVER
    name.symlink_to("/bin/sleep")
    with subprocess.Popen([name, "60"]) as process:
        yield process
        process.kill()


def child(server: int, *arguments: str) -> None:
    """A process that sets the guard and ends."""
    env = {**os.environ, "PYTHONPATH": str(Path(guard.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", CODE, str(server), *arguments], env=env, check=True, timeout=20)


def test_a_crash_takes_the_server_along(server: "subprocess.Popen[bytes]") -> None:
    child(server.pid)
    assert server.wait(10) == -9


def test_a_good_end_does_not(server: "subprocess.Popen[bytes]") -> None:
    child(server.pid, "dismiss")
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(0.3)


def test_another_parent_is_not_guarded() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        child(process.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.kill()
