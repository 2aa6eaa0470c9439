"""Which files of a repository `ragfleet ingest --code` takes, and with which commit."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ragfleet import repository
from ragfleet.folder_sync import Document
from ragfleet.repository import RepositoryError, find_code

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="git is not installed here; without it a repository is any folder")


def git(folder: Path, *arguments: str) -> str:
    """What it says, without anybody's settings."""
    assert GIT is not None
    who = {f"GIT_{role}_{what}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run([GIT, "-C", str(folder), *arguments], capture_output=True, check=True, env=environment)
    return done.stdout.decode().strip()


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(folder: Path) -> tuple[dict[str, Document], dict[str, str]]:
    skipped: dict[str, str] = {}
    return {each.path: each for each in find_code([folder], skipped)}, skipped


@needs_git
def test_what_git_ignores_and_what_nobody_wrote_stays_out(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, src__a_dot_py="a = 1", _dot_gitignore="*.log\n", x_dot_log="no", node_modules__m__i_dot_js="m()")
    write(tmp_path, new_dot_py="b = 2", empty_dot_py="", yarn_dot_lock="x", lib_dot_min_dot_js="x")
    (tmp_path / "p.bin").write_bytes(b"\x00\x01")
    (tmp_path / "long.txt").write_bytes(b"x" * (repository.MAX_BYTES + 1))
    (tmp_path / "out.py").symlink_to("/etc/hostname")
    (tmp_path / "nowhere.py").symlink_to("gone.py")
    git(tmp_path, "add", "src", ".gitignore", "node_modules", "yarn.lock", "p.bin", "out.py")
    files, skipped = found(tmp_path)
    assert sorted(files) == [".gitignore", "new.py", "src/a.py"]
    assert skipped["node_modules/m/i.js"] == "it is vendored"
    assert skipped["p.bin"] == "it is binary"
    assert skipped["out.py"] == "it is a link that leads out of the folder"
    assert "KiB" in skipped["long.txt"]
    assert {"empty.py", "yarn.lock", "lib.min.js", "nowhere.py"} <= skipped.keys()
    assert all(not each.attributes for each in files.values()), "there is no commit yet"


@needs_git
def test_the_commit_of_a_file_is_that_which_has_it_as_it_is(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, a_dot_py="a = 1", pkg__b_dot_py="b = 1", pkg__c_dot_py="c = 1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    write(tmp_path, pkg__b_dot_py="b = 2", pkg__new_dot_py="n = 1")
    (tmp_path / "pkg" / "c.py").unlink()
    files, _ = found(tmp_path)
    assert {path: each.attributes["commit"] for path, each in files.items()} == {
        "a.py": head,
        "pkg/b.py": f"{head}-dirty",
        "pkg/new.py": f"{head}-dirty",
    }
    files, _ = found(tmp_path / "pkg")
    assert {path: each.attributes["commit"] for path, each in files.items()} == {
        "b.py": f"{head}-dirty",
        "new.py": f"{head}-dirty",
    }


def test_without_git_it_is_the_folder_and_too_many_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository.shutil, "which", lambda _: None)
    write(tmp_path, a_dot_py="a = 1", _dot_hidden="x", vendor__v_dot_py="v = 1")
    files, skipped = found(tmp_path)
    assert (sorted(files), skipped) == (["a.py"], {"vendor/v.py": "it is vendored"})
    monkeypatch.setattr(repository, "MAX_FILES", 0)
    with pytest.raises(RepositoryError, match="name folders of it"):
        found(tmp_path)
    with pytest.raises(RepositoryError, match="is no folder"):
        list(find_code([tmp_path / "a.py"]))
