"""What ends a command without having been foreseen in it: a sentence, a status, JSON where JSON was asked for; never a trace."""

import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragfleet import cli, fleet_spec, status
from ragfleet.console import Exit
from ragfleet.failures import INTERRUPTED, in_words, run
from ragfleet.paths import Home

LINES = (
    *("status", "down", "doctor", "up --port-base 24500", "scale 2", "autoscale --once", "logs", "ask hello"),
    *("reconcile", "reembed status", "audit", "usage", "tenant list", "key list", "rollout status", "assistant list"),
    "rollout start next",
)
NO_JSON = ("down", "up", "scale", "logs")


@pytest.fixture(autouse=True)
def _fleet_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MILVUS_URI", "RAGFLEET_CATALOG_URL", "RAGFLEET_OBJECTS_URL"):
        monkeypatch.delenv(name, raising=False)


def call(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["ragfleet", *line.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("line", LINES)
def test_a_state_folder_that_is_a_file_is_told(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.write_text("no folder")
    monkeypatch.setenv("RAGFLEET_HOME", str(home))
    json_too = not line.startswith(NO_JSON)
    code = call(f"{line} --json" if json_too else line, monkeypatch)
    out, err = capfd.readouterr()
    if line == "logs":
        assert (code, "no logs" in out) == (Exit.DONE, True)
        return
    assert code == Exit.FAILED
    assert str(home) in err
    assert "RAGFLEET_HOME" in err
    if json_too:
        said = json.loads(out)["error"]
        assert said["code"] == "failed"
        assert str(home) in said["message"]


@pytest.mark.parametrize(
    ("line", "status_", "code"),
    [
        ("ask hello --json", Exit.NOT_RUNNING, "not_running"),
        ("tenant show nobody --json", Exit.FAILED, "failed"),
        ("rollout start next --share much --json", Exit.USAGE, "usage"),
        ("rollout start --json", Exit.USAGE, "usage"),
        ("autoscale --max many --json", Exit.USAGE, "usage"),
        ("autoscale --max 100000 --json", Exit.USAGE, "usage"),
        ("nonsense --json", Exit.USAGE, "usage"),
    ],
)
def test_an_error_is_json_where_json_was_asked_for(
    line: str,
    status_: Exit,
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path / "home"))
    assert call(line, monkeypatch) == status_
    out, err = capfd.readouterr()
    said = json.loads(out)["error"]
    assert said["code"] == code
    assert said["message"]
    assert err.strip()


def test_what_is_no_json_command_prints_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path / "home"))
    call("ask hello --json", monkeypatch)
    capfd.readouterr()
    assert call("scale 2", monkeypatch) == Exit.NOT_RUNNING
    assert capfd.readouterr().out == ""


def test_status_says_in_json_that_nothing_runs_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path / "home"))
    assert call("status --json", monkeypatch) == Exit.NOT_RUNNING
    assert json.loads(capfd.readouterr().out)["running"] is False


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KeyboardInterrupt(), INTERRUPTED),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/full"), Exit.FAILED),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Exit.FAILED),
        (BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)), Exit.FAILED),
    ],
)
def test_each_end_has_its_status(raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def command() -> None:
        raise raised

    monkeypatch.setattr(sys, "argv", ["ragfleet"])
    with open(os.devnull, "w") as out:  # noqa: PTH123 - its descriptor is taken over
        monkeypatch.setattr(sys, "stdout", out)
        assert run(command) == code


def test_a_full_disk_is_no_full_output(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a write does not say of which file

    monkeypatch.setattr(sys, "argv", ["ragfleet"])
    assert run(command) == Exit.FAILED
    assert "RAGFLEET_HOME" in capfd.readouterr().err


def test_a_full_output_and_one_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for descriptor in (writing, os.open("/dev/full", os.O_WRONLY)):
        with os.fdopen(descriptor, "w") as out:
            monkeypatch.setattr(sys, "stdout", out)
            assert run(lambda: sys.stdout.write("a line\n") and None) == Exit.FAILED


def test_a_locale_without_the_letter_loses_the_letter_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert run(lambda: sys.stdout.write("1 → 2\n") and None) == Exit.DONE
    assert raw.getvalue() == b"1 ? 2\n"


def test_every_refusal_of_the_machine_is_a_sentence() -> None:
    for number in errno.errorcode:
        for file in (None, "/srv/[bold]ä b"):
            said = in_words(OSError(number, os.strerror(number), file))
            assert os.strerror(number) in said
            assert said.endswith(".")
            assert file is None or file in said


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(fleet_spec.FleetSpec.__slots__, VALUES))


@given(written=FIELDS | VALUES)
def test_a_plan_that_anybody_may_have_written_is_sound_or_none(
    written: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    home.make()
    home.plan_file.write_text(json.dumps(written))
    spec = fleet_spec.read(home.plan_file)
    if spec is not None:
        assert all(1024 <= port < 65536 for port in spec.ports.triton(spec.instances))
        assert len(spec.names) == spec.instances
        assert spec.gateway_urls is not None
    seen = status.gather(home)
    assert json.dumps(seen.as_json())
    assert not seen.running


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("RAGFLEET_CATALOG_URL", "nonsense", "key list"),
        ("RAGFLEET_CATALOG_URL", "postgresql://u:secret@[::1/x", "rollout status"),
        ("RAGFLEET_CATALOG_URL", "postgresql://u:secret@h:port/x", "tenant list"),
        ("MILVUS_URI", "::::", "reconcile"),
        ("MILVUS_URI", "http://[", "reembed status"),
        ("RAGFLEET_RAG_TOP_K", "many", "audit"),
    ],
)
def test_an_address_that_is_none_is_told_by_its_variable(
    name: str,
    value: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(name, value)
    assert call(f"{line} --json", monkeypatch) == Exit.FAILED
    said = json.loads(capfd.readouterr().out)["error"]["message"]
    assert name in said
    assert "secret" not in said
