"""The page of `make bench`: what is run, what becomes of a benchmark that fails, and what is printed."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.page.__main__ import main
from benchmarks.page.catalog import ALL, Benchmark, wanted
from benchmarks.page.page import page
from benchmarks.page.running import Outcome, Run, run
from benchmarks.report import Figure, write_json
from ragfleet.paths import PROJECT

WRITES = """
import json, os, pathlib
path = pathlib.Path(os.environ["RAGFLEET_BENCH_DIR"]) / "some.json"
path.write_text(json.dumps({"figures": [{"claim": "speed", "ours": 3.0, "at_least": 2.0}]}))
"""
PAGES_OWN = {
    "make demo": "no benchmark: set-up and first start",
    "make gpu-check": "gpu, where it is named",
    "make test": "the tests",
    "make test-slow": "the tests",
    "make test-ui": "the tests",
    "make test-hosts-brief": "the tests",
}
"""Commands of docs/figures.md that are no benchmark of the page."""
MODULES = {"bench-oracle": "timing_oracle", "attack": "attack", "chaos": "chaos"}


# figures


@pytest.mark.parametrize(
    ("figure", "ratio", "held"),
    [
        (Figure("told", 3.0), None, None),
        (Figure("alone", 3.0, at_most=3.0), None, True),
        (Figure("alone", 3.0, at_least=3.1), None, False),
        (Figure("beside", 3.0, rival="other", theirs=2.0, at_most=2.0), 1.5, True),
        (Figure("beside", 3.0, rival="other", theirs=2.0, at_least=2.0), 1.5, False),
        (Figure("pairs", 3.0, rival="other", theirs=2.0, of_pairs=1.1, at_most=1.2), 1.1, True),
        (Figure("of nothing", 3.0, rival="other", theirs=0.0, at_most=1.0), None, False),
    ],
)
def test_a_bound_is_of_the_ratio_where_there_is_a_rival(figure: Figure, ratio: float | None, held: bool | None) -> None:
    assert (figure.ratio, figure.held) == (ratio, held)


def test_every_file_begins_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGFLEET_BENCH_DIR", str(tmp_path / "bench"))
    monkeypatch.setenv("RAGFLEET_COMMIT", "abc")
    path = write_json("some", {"more": 1}, figures=[Figure("speed", 2.0)], tell=False)
    found = json.loads(path.read_text())
    assert list(found)[:5] == ["benchmark", "at", "commit", "machine", "figures"]
    assert (found["benchmark"], found["commit"], found["more"]) == ("some", "abc", 1)
    assert found["machine"]["cpu_count"] >= 1
    assert found["machine"]["memory_gib"] > 0
    assert len(found["machine"]["load_average"]) == 3
    assert Figure(**found["figures"][0]) == Figure("speed", 2.0)


# what is run


def test_what_has_to_be_asked_for_runs_only_where_it_is_named() -> None:
    assert "compose" not in {each.name for each in wanted([])}
    assert [each.name for each in wanted(["compose", "gateway"])] == ["gateway", "compose"]
    with pytest.raises(ValueError, match="no benchmark nonsense; there are gateway"):
        wanted(["nonsense", "gateway"])


@pytest.mark.parametrize("benchmark", ALL, ids=lambda each: each.name)
def test_a_benchmark_is_there_and_has_the_options_that_it_is_given(benchmark: Benchmark) -> None:
    assert len({each.name for each in ALL}) == len(ALL)
    if benchmark.module:
        return
    found = find_spec(f"benchmarks.{benchmark.name}")
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin)
    program = (file.with_name("__main__.py") if file.name == "__init__.py" else file).read_text("utf-8")
    written = program + "".join(each.read_text("utf-8") for each in file.parent.glob("report.py"))
    assert re.search(rf'"{benchmark.name}",?\s', written), "it writes a file of its name"
    assert ("--port-base" in program) == benchmark.takes_ports
    for argument in (*benchmark.arguments, *benchmark.quick):
        if argument.startswith("--"):
            assert f'"{argument.partition("=")[0]}"' in program


def test_every_figure_with_a_benchmark_is_on_the_page() -> None:
    names = {each.name for each in ALL}
    text = (PROJECT / "docs/figures.md").read_text("utf-8")
    cells = [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| ") and line.count(" | ") >= 2]
    commands = {each for cell in cells for each in re.findall(r"`((?:make|python -m benchmarks)[^`]*)`", cell)}
    assert len(commands) > 10
    for command in commands:
        words = command.split()
        if " ".join(words[:2]) in PAGES_OWN:
            continue
        target = words[2].partition(".")[2] if words[0] == "python" else words[1]
        assert MODULES.get(target, re.sub("^(bench|test)-", "", target)) in names, command


# a run


def _benchmark(folder: Path, program: str) -> Benchmark:
    (folder / "stand_in.py").write_text(program)
    return Benchmark(
        "some", "a stand-in", 1, module="stand_in", environment={"PYTHONPATH": str(folder)}, takes_ports=False
    )


@pytest.mark.parametrize(
    ("program", "outcome", "status"),
    [
        (WRITES, Outcome.RAN, 0),
        (WRITES + "raise SystemExit(1)", Outcome.RAN, 1),
        (WRITES + "raise SystemExit(2)", Outcome.FAILED, 2),
        ("raise SystemExit('it broke')", Outcome.FAILED, 1),
        ("raise SystemExit(3)", Outcome.SKIPPED, 3),
        ("", Outcome.SKIPPED, 0),
    ],
    ids=["well", "missed its bar", "broke late", "broke", "not to be had", "wrote nothing"],
)
def test_how_a_run_ends(tmp_path: Path, program: str, outcome: Outcome, status: int) -> None:
    (tmp_path / "some.json").write_text("{}")  # of before
    found = run(_benchmark(tmp_path, program), tmp_path, quick=False, port_base=None)
    assert (found.outcome, found.exit_status) == (outcome, status)
    assert ("it broke" in Path(found.log).read_text()) == ("it broke" in program)


def test_a_benchmark_is_ended_at_its_deadline(tmp_path: Path) -> None:
    stands = f"import signal, pathlib\npathlib.Path({str(tmp_path / 'began')!r}).touch()\nsignal.pause()"
    found = run(_benchmark(tmp_path, stands), tmp_path, quick=False, port_base=None, deadline_s=0.5)
    assert found.outcome is Outcome.LATE


# the page


def _written(folder: Path, **figures: Any) -> None:
    head = {"at": "2026-01-01T00:00:00Z", "commit": "abc", "machine": {"load_average": [1.5, 1, 1]}}
    (folder / "gateway.json").write_text(json.dumps({**head, "figures": [figures]}))


def test_a_file_of_before_does_not_stand_in_for_a_run_that_failed(tmp_path: Path) -> None:
    _written(tmp_path, claim="speed", ours=3.0)
    gateway = wanted(["gateway"])[0]
    assert [row["claim"] for row in page([Run(gateway, Outcome.RAN)], tmp_path)["rows"]] == ["speed"]
    for outcome in (Outcome.FAILED, Outcome.LATE, Outcome.SKIPPED):
        whole = page([Run(gateway, outcome)], tmp_path)
        assert whole["rows"] == []
        assert whole["benchmarks"]["gateway"]["at"] is None


@pytest.mark.parametrize(("bound", "status", "verdict"), [(2.0, 0, "held"), (1.0, 1, "MISSED")])
def test_the_page_is_made_from_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bound: float,
    status: int,
    verdict: str,
) -> None:
    monkeypatch.setenv("RAGFLEET_BENCH_DIR", str(tmp_path))
    _written(tmp_path, claim="CPU a request", ours=3.0, unit="ms", rival="other router", theirs=2.0, at_most=bound)
    (tmp_path / "engine.json").write_text("not JSON")
    assert main(["--from-files", "--only", "gateway", "engine"]) == status
    printed = capsys.readouterr().out
    for words in ("CPU a request", "3 ms", "other router 2", "1.5", f"≤ {bound:g}", verdict, "load 1.5", "no figures"):
        assert words in printed
    assert not (tmp_path / "page.json").exists()


def test_the_page_as_json_says_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAGFLEET_BENCH_DIR", str(tmp_path))
    stand_ins = {"good": _benchmark(tmp_path, WRITES), "bad": Benchmark("bad", "breaks", 1, module="no_such_module")}
    monkeypatch.setattr("benchmarks.page.catalog.wanted", lambda only: [stand_ins[name] for name in only])
    assert main(["--only", "good", "bad", "--json"]) == 2
    whole = json.loads(capsys.readouterr().out)
    assert whole == json.loads((tmp_path / "page.json").read_text()) | {
        key: whole[key] for key in ("at", "machine", "commit")
    }
    assert {name: each["outcome"] for name, each in whole["benchmarks"].items()} == {"some": "ran", "bad": "failed"}
    assert [(row["claim"], row["held"]) for row in whole["rows"]] == [("speed", True)]
    assert main(["--only", "good"]) == 0
    assert main(["--list"]) == 0


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "nonsense"])
    assert ended.value.code == 2
    assert "there is no benchmark nonsense" in capsys.readouterr().err
