"""Builds: resumed where they stopped, with logs, in the container only. Small programs stand for the container's."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from build_scripts.container import PINNED
from build_scripts.machine import Gpu, WrongMachine, gpus, machine_faults, versions
from build_scripts.plan import BuildPlan, BuildStep, make_plan
from build_scripts.progress import Console
from build_scripts.runner import AlreadyRunning, StepFailed, is_done, run
from build_scripts.spec import EngineSpec, load

# Makes what the real command would, appends its name to $CALLS, and fails where $FAIL_AT says so.
FAKE = f"""#!{sys.executable}
import os, pathlib, sys
name = pathlib.Path(sys.argv[1]).name if pathlib.Path(sys.argv[0]).name == "python3" else pathlib.Path(sys.argv[0]).name
if sys.argv[1:3] == ["-m", "build_scripts"]:
    name = sys.argv[3]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(name + chr(10))
print(name, "works")
if os.environ.get("FAIL_AT") == name:
    print("CUDA out of memory")
    sys.exit(3)
options = dict(zip(sys.argv, sys.argv[1:]))
folder = options.get("--output_dir") or options.get("--local-dir")
if folder and os.environ.get("LAZY") != name:
    files = {{"hf": ["config.json", "tokenizer_config.json"], "quantize.py": ["config.json", "rank0.safetensors"],
             "trtllm-build": ["config.json", "rank0.engine"]}}[name]
    for file in files:
        pathlib.Path(folder, file).write_text("made")
"""

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class Told:
    """Progress, kept."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def skipped(self, step: BuildStep, number: int, total: int) -> None:
        self.events.append(f"{number}/{total} {step.name} skipped")

    def started(self, step: BuildStep, number: int, total: int, log: Path) -> None:
        self.events.append(f"{number}/{total} {step.name} in {log.name}")

    def line(self, text: str) -> None:
        self.events.append(text)

    def finished(self, step: BuildStep, seconds: float) -> None:
        self.events.append(f"{step.name} finished after {seconds:.0f} s")


class Trial:
    """A work folder, the programs, and how to run a spec there."""

    def __init__(self, tmp_path: Path) -> None:
        self.work = tmp_path / "work"
        self.calls_file = tmp_path / "calls"
        self.calls_file.touch()
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("python3", "hf", "trtllm-build"):
            path = programs / name
            path.write_text(FAKE)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.env = {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(self.calls_file)}

    def plan(self, spec: EngineSpec) -> BuildPlan:
        return make_plan(spec, str(self.work))

    def run(self, spec: EngineSpec, limit_s: float = 60, **env: str) -> Told:
        told = Told()
        run(self.plan(spec), told, env={**self.env, **env}, limit_s=limit_s, now=Clock())
        return told

    def calls(self) -> list[str]:
        calls = self.calls_file.read_text().split()
        self.calls_file.write_text("")
        return calls


ALL = ["hf", "check-model", "quantize.py", "check-checkpoint", "trtllm-build"]


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    made = Trial(tmp_path)
    monkeypatch.setenv("PATH", made.env["PATH"])  # where Popen looks for the program
    return made


def test_a_build_runs_each_step_and_then_has_nothing_to_do(trial: Trial, spec: EngineSpec) -> None:
    told = trial.run(spec)
    assert trial.calls() == ALL
    assert told.events[:3] == ["1/5 download in 1-download.log", "hf works", "download finished after 1 s"]
    assert trial.run(spec).events == [
        f"{n}/5 {name} skipped"
        for n, name in enumerate(("download", "check-model", "quantize", "check-checkpoint", "build"), 1)
    ]
    assert trial.calls() == []


def test_it_goes_on_where_it_failed(trial: Trial, spec: EngineSpec) -> None:
    with pytest.raises(StepFailed) as raised:
        trial.run(spec, FAIL_AT="trtllm-build")
    log = trial.work / "logs" / spec.name / "5-build.log"
    assert str(raised.value).startswith(
        f"build ended with exit code 3; all of it is in {log}. Start the same build again to go on from here."
    )
    assert "CUDA out of memory" in str(raised.value)
    assert trial.calls() == ALL

    half = Path(trial.plan(spec).engine_dir) / "rank0.engine"
    half.parent.mkdir(exist_ok=True)
    half.write_text("half of it")
    trial.run(spec)
    assert trial.calls() == ["trtllm-build"]
    assert half.read_text() == "made"
    kept = log.read_text()
    assert kept.count("--- 2026-08-01T12:00:") == 2
    assert "CUDA out of memory" in kept


def test_only_what_changed_is_made_again(trial: Trial, spec: EngineSpec) -> None:
    trial.run(spec)
    trial.calls()
    trial.run(spec.model_copy(update={"limits": spec.limits.model_copy(update={"max_batch_size": 32})}))
    assert trial.calls() == ["trtllm-build"]
    trial.run(spec.model_copy(update={"calibration": spec.calibration.model_copy(update={"samples": 64})}))
    assert trial.calls() == ["quantize.py", "check-checkpoint", "trtllm-build"]


def test_a_result_that_was_deleted_is_made_again(trial: Trial, spec: EngineSpec) -> None:
    trial.run(spec)
    trial.calls()
    (Path(trial.plan(spec).checkpoint_dir) / "rank0.safetensors").unlink()
    trial.run(spec)
    assert trial.calls() == ["quantize.py"]


def test_success_without_a_result_is_a_failure(trial: Trial, spec: EngineSpec) -> None:
    with pytest.raises(StepFailed, match=r"quantize made no config.json, rank0.safetensors in "):
        trial.run(spec, LAZY="quantize.py")


def test_a_program_that_is_not_there(trial: Trial, spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StepFailed, match=r"hf: No such file or directory. Run the build inside the container."):
        trial.run(spec, PATH="/nowhere")


def test_a_step_past_its_deadline_is_ended_with_its_children(trial: Trial, spec: EngineSpec, tmp_path: Path) -> None:
    slow = tmp_path / "bin" / "hf"
    slow.write_text("#!/bin/sh\nsleep 600 &\necho started\nwait\n")
    with pytest.raises(StepFailed, match="download ran past its"):
        trial.run(spec, limit_s=0.3)


def test_one_build_of_a_spec_at_a_time(trial: Trial, spec: EngineSpec) -> None:
    class Second(Told):
        def line(self, text: str) -> None:
            del text
            with pytest.raises(AlreadyRunning, match="another process builds this spec"):
                trial.run(spec)
            self.events.append("refused")

    told = Second()
    run(trial.plan(spec), told, env=trial.env, limit_s=60, now=Clock())
    assert told.events.count("refused") == len(ALL)


def test_a_marker_that_cannot_be_read_counts_as_not_done(trial: Trial, spec: EngineSpec) -> None:
    trial.run(spec)
    plan = trial.plan(spec)
    state = Path(plan.state_dir)
    assert all(is_done(step, state) for step in plan.steps)
    (state / "build.json").write_text("{")
    assert [is_done(step, state) for step in plan.steps] == [True, True, True, True, False]


def smi(text: str) -> Callable[..., str]:
    return lambda argv: text


def test_the_machine_must_be_the_one_that_will_serve(spec: EngineSpec) -> None:
    here = gpus(smi("NVIDIA H100 80GB HBM3, 9.0, 590.44.01\n"))
    assert here == [Gpu(name="NVIDIA H100 80GB HBM3", sm=90, driver="590.44.01")]
    right = (PINNED.tensorrt, PINNED.tensorrt_llm)
    assert list(machine_faults(spec, here, right, PINNED)) == []

    other = gpus(smi("NVIDIA L40S, 8.9, 590.44.01\n"))
    assert list(machine_faults(spec, other, right, PINNED)) == [
        (
            "the spec is for H100 (compute capability 9.0) and this machine has NVIDIA L40S (8.9): "
            "an engine runs only on the kind of GPU that built it."
        )
    ]
    assert list(machine_faults(load("mixtral-8x7b-instruct-fp8-h100"), here, right, PINNED)) == [
        "the spec wants 2 GPUs and this machine shows 1."
    ]
    assert list(machine_faults(spec, here, ("10.13.3.9", "1.1.0"), PINNED)) == [
        (
            "TensorRT 10.13.3.9 and TensorRT-LLM 1.1.0 are here and 26.07 has 10.14.1.48 and 1.2.1: "
            f"run this inside {PINNED.image}."
        )
    ]
    (sentence,) = machine_faults(spec, [], right, PINNED)
    assert sentence.startswith("no GPU here: run this inside nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3")


def test_versions_are_read_behind_the_banner() -> None:
    said = "[TensorRT-LLM] TensorRT-LLM version: 1.2.1\n" + json.dumps(["10.14.1.48.post1", "1.2.1"]) + "\n"
    assert versions(smi(said)) == ("10.14.1.48", "1.2.1")
    with pytest.raises(WrongMachine, match="TensorRT-LLM cannot be imported here"):
        versions(smi(""))

    def missing(argv: object) -> str:
        raise FileNotFoundError("nvidia-smi")

    with pytest.raises(WrongMachine, match="no NVIDIA GPU can be seen here"):
        gpus(missing)


def test_progress_in_a_log_is_a_line_now_and_then(spec: EngineSpec, tmp_path: Path) -> None:
    seconds = iter([0.0, 10.0, 31.0])
    step = make_plan(spec, "/engines").steps[2]
    with (tmp_path / "out").open("w+") as out:
        console = Console(out, clock=lambda: next(seconds))
        console.started(step, 3, 5, Path("3-quantize.log"))
        console.line("sample 1")
        console.line("sample 100")
        console.finished(step, 3700)
        out.seek(0)
        assert out.read().splitlines() == [
            "[3/5] quantize: log in 3-quantize.log",
            "[3/5] quantize 0:00:31 sample 100",
            "[3/5] quantize: 1:01:40",
        ]
