"""What a fleet takes, measured on processes that carry its marks."""

import os
import subprocess
import sys
from pathlib import Path

from ragfleet import usage
from ragfleet.processes import HOME_MARK, PART_MARK


def test_each_part_is_told_with_all_its_processes(tmp_path: Path) -> None:
    def start(part: str, *argv: str) -> subprocess.Popen[bytes]:
        marks = {**os.environ, HOME_MARK: str(tmp_path), PART_MARK: part}
        return subprocess.Popen([*argv], env=marks, stdin=subprocess.PIPE)

    sleepers = [start("gateway", "cat"), start("gateway", "cat")]
    busy = start("triton-0", sys.executable, "-c", "while True: pass")
    child = start("gateway", sys.executable, "-c", "import sys; sys.stdin.read()", "gateway.ingestion")
    try:
        used = usage.measure(tmp_path, 0.2)
    finally:
        for process in (*sleepers, busy, child):
            process.kill()
            process.communicate()
    assert list(used) == ["gateway", "ingestion", "triton-0", "total"]
    assert [used[name].processes for name in used] == [2, 1, 1, 4]
    assert used["triton-0"].cpu_percent > used["gateway"].cpu_percent
    assert (
        used["total"].memory_bytes == sum(used[name].memory_bytes for name in ("gateway", "ingestion", "triton-0")) > 0
    )
