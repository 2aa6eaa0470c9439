"""The wheel by itself: installed into an empty environment, `ragfleet demo` gives a cited answer in an empty folder."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from ragfleet import processes
from ragfleet.paths import PROJECT

NOT_IN_A_CLONE = shutil.ignore_patterns(".git", ".venv", ".*cache", "var", "build", "dist", "*.egg-info", "__pycache__")
OURS = ("RAGFLEET_", "MILVUS_", "CONSUL_", "PYTHON", "VIRTUAL_ENV", "XDG_", "AWS_")


def run(*argv: str | Path, seconds: float, folder: Path, **more: str) -> str:
    """Its output, in this folder and without what this process was told of Python and of a fleet; fails where it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | more
    ended = subprocess.run(argv, cwd=folder, env=kept, capture_output=True, text=True, timeout=seconds, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    return str(ended.stdout)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_wheel_installs_elsewhere_and_its_demo_answers(
    tmp_path: Path, take_ports: Callable[[], int], consul_program: Path
) -> None:
    shutil.copytree(PROJECT, tmp_path / "source", ignore=NOT_IN_A_CLONE)
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", f"--wheel-dir={tmp_path}", str(tmp_path / "source")]
    run(sys.executable, *build, seconds=300, folder=tmp_path)
    shutil.rmtree(tmp_path / "source")
    (wheel,) = tmp_path.glob("ragfleet-*.whl")
    venv.create(tmp_path / "environment", with_pip=True)
    binaries = tmp_path / "environment" / "bin"
    # With the versions that were tested: this test is about our wheel, not about what others published since.
    wanted = [f"--constraint={PROJECT / 'constraints.txt'}", f"{wheel}[embedded]"]
    run(binaries / "python", *pip, "install", *wanted, seconds=1800, folder=tmp_path)

    folder, user, base = tmp_path / "empty", tmp_path / "user", take_ports()
    folder.mkdir()
    user.mkdir()
    home, program = user / ".local" / "state" / "ragfleet", binaries / "ragfleet"
    place = {"HOME": str(user), "PATH": f"{consul_program.parent}:{os.environ['PATH']}"}
    try:
        said = run(program, "demo", "--instances=1", f"--port-base={base}", seconds=400, folder=folder, **place)
        assert "[1] support-reset-fernwright-200.md" in said
        assert "cited" in said
        assert "ready" in run(program, "status", seconds=60, folder=folder, **place)
        run(program, "down", seconds=90, folder=folder, **place)
        assert not list(processes.members(home))
    finally:
        processes.sweep(home)
    assert (home / "catalog.db").is_file(), "state is the user's, not the installation's"
    assert not list(folder.iterdir())
