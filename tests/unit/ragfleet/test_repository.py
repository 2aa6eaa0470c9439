"""Which files of a repository `ragfleet ingest --code` takes, and with which commit."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ragfleet import repository
from ragfleet.local_files import LocalDocument
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


def found(folder: Path) -> tuple[dict[str, LocalDocument], dict[str, str]]:
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


HOOKS = ("post-index-change", "post-checkout", "pre-commit", "fsmonitor-watchman")


def hostile(folder: Path, mark: Path) -> None:
    """A repository whose settings, attributes and hooks name programs for all that git may do with it."""
    evil = f"touch '{mark}'; cat"
    folder.mkdir()
    git(folder, "init", "-q")
    write(folder, a_dot_py="a = 1", _dot_gitattributes="*.py filter=x diff=x\n*.md filter=p\n*.c filter=a=b\n")
    write(folder, b_dot_md="b", c_dot_c="c;", sub__s_dot_py="s = 1", sub___dot_gitattributes="* filter=x\n")
    git(folder / "sub", "init", "-q")
    for each in (folder / "sub", folder):
        git(each, "add", ".")
        git(each, "commit", "-q", "-m", "first")
    for each in (folder / "sub", folder):
        for hook in HOOKS:
            (each / ".git" / "hooks").mkdir(exist_ok=True)
            (each / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\n{evil}\n")
            (each / ".git" / "hooks" / hook).chmod(0o755)
        for name in (
            *("filter.x.clean", "filter.x.smudge", "filter.p.process", "filter.a=b.clean", "core.fsmonitor"),
            *("diff.external", "diff.x.textconv", "diff.x.command", "core.pager", "core.editor", "core.sshCommand"),
            *("core.askPass", "credential.helper", "gpg.program", "uploadpack.packObjectsHook", "alias.ls-files"),
            *("core.alternateRefsCommand", "core.gitProxy", "interactive.diffFilter", "merge.x.driver"),
        ):
            git(each, "config", name, f"!{evil}" if name.startswith(("alias", "credential")) else evil)
        git(each, "config", "filter.x.required", "true")
    write(folder, a_dot_py="a = 2", b_dot_md="b2", c_dot_c="d;", sub__s_dot_py="s = 2")


@needs_git
def test_a_repository_starts_no_program_of_its_own(tmp_path: Path) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "repository"
    hostile(folder, mark)
    files, _ = found(folder)
    assert {"a.py", "b.md", "c.c"} <= files.keys()
    assert files["a.py"].attributes["commit"].endswith("-dirty")
    assert not mark.exists()


@needs_git
@pytest.mark.parametrize("url", ["{folder}", "ext::sh -c touch% {mark}", "ssh://host/x", "file://{folder}"])
def test_what_a_repository_lacks_is_fetched_from_nowhere(tmp_path: Path, url: str) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "repository"
    hostile(folder, mark)
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    for name, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "evil",
        "remote.evil.promisor": "true",
        "remote.evil.url": url.format(folder=folder, mark=mark),
        "remote.evil.uploadpack": f"touch '{mark}'; git-upload-pack",
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
    }.items():
        git(folder, "config", name, value)
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    files, _ = found(folder)
    assert "a.py" in files
    assert not any(each.attributes for each in files.values()), "nobody knows what its commit has"
    assert not mark.exists()


@needs_git
def test_an_index_that_leads_out_of_its_repository_gives_nothing_from_there(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    (tmp_path / "secret.py").write_text("password = 1")
    git(tmp_path, "init", "-q", "repository")
    write(folder, a_dot_py="a = 1", AAAAAAAAAAAA_dot_py="b = 1")
    git(folder, "add", ".")
    index = folder / ".git" / "index"
    raw = index.read_bytes().replace(b"AAAAAAAAAAAA.py", b"../secret.py\0\0\0")[:-20]
    index.write_bytes(raw + hashlib.sha1(raw, usedforsecurity=False).digest())
    git(folder, "config", "core.worktree", "/")
    files, _ = found(folder)
    assert not any("secret" in each for each in files)


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
