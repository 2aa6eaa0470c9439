"""Two who start one fleet, and a supervisor's file that names somebody else by now."""

import fcntl
import subprocess
import sys
import threading
from pathlib import Path

from ragfleet import launch, shutdown, supervisor
from ragfleet.paths import Home


def test_the_second_start_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path)
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        def say(text: str) -> None:
            order.append(text)
            waits.set()

        with launch.alone(home, say):
            order.append("second")

    thread = threading.Thread(target=second, daemon=True)
    with launch.alone(home, order.append):
        thread.start()
        assert waits.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["Another 'ragfleet up' starts this fleet. Waiting for it.", "first", "second"]


def test_a_pid_that_is_another_programs_by_now_is_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as stranger:
        for said in (f"{stranger.pid}\n", "", "no number", "99999999999999999999", "1", "-1"):
            home.supervisor_pid.write_text(said)
            assert supervisor.running(home) == 0
            with home.supervisor_pid.open("a") as starting:  # a supervisor that has not written its pid yet
                fcntl.flock(starting, fcntl.LOCK_EX)
                assert supervisor.running(home) == -1
                assert shutdown.stop(home) == []
            assert stranger.poll() is None
        assert stranger.stdin is not None
        stranger.stdin.close()
        assert stranger.wait(60) == 0
