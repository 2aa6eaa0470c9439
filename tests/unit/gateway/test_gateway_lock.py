"""A gateway that ended without a word is seen to be dead, one that lives is not."""

import subprocess
import sys
from pathlib import Path

from gateway.serving.gateway_lock import GatewayLock

DIES = """
import os, signal, sys
from pathlib import Path
from gateway.serving.gateway_lock import GatewayLock
lock = GatewayLock(Path(sys.argv[1]), "dead")
lock.take()
print("taken", flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_gateway_is_dead_until_it_is_forgotten(tmp_path: Path) -> None:
    mine = GatewayLock(tmp_path / "gateways", "mine")
    assert mine.dead() == [], "there is no folder"
    mine.take()
    with subprocess.Popen(
        [sys.executable, "-c", DIES, str(tmp_path / "gateways")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"taken\n"
        assert mine.dead() == []
        other.stdin.close()
        other.wait(60)
    assert mine.dead() == mine.dead() == ["dead"]
    mine.forget("dead")
    assert mine.dead() == []
    mine.release()


def test_one_that_ends_in_order_leaves_nothing(tmp_path: Path) -> None:
    first, second = (GatewayLock(tmp_path, name) for name in ("first", "second"))
    first.take()
    second.take()
    first.release()
    first.release()
    assert second.dead() == []
    assert [each.name for each in tmp_path.iterdir()] == ["second"]
    second.release()
