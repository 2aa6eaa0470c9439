"""`python -m worker --all-gpus`: real processes started, started again and stopped together."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from ragfleet.paths import PROJECT
from tests.fleet.real_parts import eventually
from worker.host import Child, Host

LASTING = (
    "import pathlib, signal, sys; pathlib.Path(sys.argv[1]).open('a').write('x'); signal.sigwait([signal.SIGTERM])"
)
FAILING = "import pathlib, sys; pathlib.Path(sys.argv[1]).open('a').write('x'); sys.exit(1)"
UNFIT = "import sys; sys.exit(3)"
DEAF = "import pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN); pathlib.Path(sys.argv[1]).touch(); time.sleep(300)"


def child(code: str, mark: Path) -> Child:
    return Child(mark.name, (sys.executable, "-c", code, str(mark)))


async def until(mark: Path, size: int) -> None:
    async with asyncio.timeout(60):
        while not mark.exists() or mark.stat().st_size < size:
            await asyncio.sleep(0.02)


async def test_workers_are_stopped_together(tmp_path: Path) -> None:
    marks = [tmp_path / "a", tmp_path / "b"]
    host = Host([child(LASTING, mark) for mark in marks], patience=10)
    running = asyncio.create_task(host.run())
    for mark in marks:
        await until(mark, 1)
    host.stop()
    assert await asyncio.wait_for(running, 60) == 0


async def test_one_that_dies_is_started_again_and_the_other_is_left_alone(tmp_path: Path) -> None:
    well, ill = tmp_path / "well", tmp_path / "ill"
    host = Host([child(LASTING, well), child(FAILING, ill)], patience=10)
    running = asyncio.create_task(host.run())
    await until(ill, 2)
    host.stop()
    assert await asyncio.wait_for(running, 60) == 0
    assert well.read_text() == "x"


async def test_workers_that_cannot_run_are_not_tried_again(tmp_path: Path) -> None:
    host = Host([child(UNFIT, tmp_path / "a"), child(UNFIT, tmp_path / "b")], patience=10)
    assert await asyncio.wait_for(host.run(), 60) == 3


async def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "deaf"
    host = Host([child(DEAF, mark)], patience=0.3)
    running = asyncio.create_task(host.run())
    await until(mark, 0)
    host.stop()
    assert await asyncio.wait_for(running, 60) == 0


def test_workers_do_not_outlive_a_host_that_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "orphan"
    script = (
        "import asyncio, sys; from worker.host import Child, Host;"
        f"asyncio.run(Host([Child('a', (sys.executable, '-c', {LASTING!r}, {str(mark)!r}))], patience=5).run())"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT) as parent:
        eventually(mark.exists, "the worker runs")
        orphans = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
    assert len(orphans) == 1
    psutil.wait_procs(orphans, timeout=10)
    assert not orphans[0].is_running()


def test_a_host_without_gpus_says_what_to_do(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "worker", "--all-gpus", "--name=host-a", "--http-port=8101"],
        cwd=PROJECT,
        env={**os.environ, "RAGFLEET_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert "error host-a --all-gpus: NVML" in ended.stderr
    assert "Traceback" not in ended.stderr
