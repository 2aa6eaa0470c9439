"""The command line: what it prints and with which code it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from build_scripts import cli
from build_scripts.container import PINNED
from build_scripts.machine import Gpu
from build_scripts.plan import BuildPlan
from build_scripts.spec import spec_names
from tests.unit.build_scripts.conftest import SPEC, EngineMaker, built_on
from tests.unit.build_scripts.trial_spec import spec_with


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def test_the_list_names_every_spec() -> None:
    result = invoke("list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == spec_names()


def test_a_dry_run_prints_the_plan_and_runs_nothing() -> None:
    assert invoke("build", SPEC, "--dry-run").stdout == invoke("plan", SPEC).stdout
    plan = json.loads(invoke("build", SPEC, "--dry-run", "--json", "--work", "/data").stdout)
    assert [step["name"] for step in plan["steps"]] == [
        "download",
        "check-model",
        "quantize",
        "check-checkpoint",
        "build",
    ]
    assert plan["engine_dir"] == f"/data/engines/{SPEC}"


def test_a_spec_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(spec_with())
    result = invoke("plan", str(path))
    assert result.exit_code == 0
    assert f"python3 -m build_scripts check-model {path} " in result.stdout
    assert "--output_dir /engines/engines/ours " in result.stdout


def test_a_refused_spec_ends_with_4_and_each_reason(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(spec_with(quantization="fp8", node={"card": "A100"}, limits={"max_input_len": 1024}))
    result = invoke("build", str(path), "--dry-run")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "ours: fp8 needs compute capability 8.9 and the A100 has 8.0: use int4_awq or no quantization there.",
        "ours: max_input_len 1024 is too small for RAG prompts of 4096 tokens.",
    ]


def test_a_spec_that_cannot_be_read_ends_with_3() -> None:
    result = invoke("plan", "no-such-spec")
    assert result.exit_code == 3
    assert "no shipped spec and no readable file" in result.stderr


def test_an_estimate_says_whether_it_fits(tmp_path: Path) -> None:
    result = invoke("estimate", SPEC)
    assert result.exit_code == 0
    assert "weights                          9.08 GB" in result.stdout
    path = tmp_path / "ours.yaml"
    path.write_text(spec_with(serving={"concurrency": 500}))
    result = invoke("estimate", str(path), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["concurrency"] == 500


def test_verify_ends_with_0_or_with_1_and_the_faults(make_engine: EngineMaker) -> None:
    folder = make_engine()
    result = invoke("verify", str(folder), "--card", "H100")
    assert (result.exit_code, result.stdout) == (0, f"{folder}: no faults\n")
    result = invoke("verify", str(folder), "--card", "L40S", "--json")
    assert result.exit_code == 1
    (fault,) = json.loads(result.stdout)["faults"]
    assert fault.startswith("built on compute capability 9.0")
    result = invoke("verify", str(folder), "--spec", "llama-3.1-8b-instruct-fp8-l40s")
    assert result.exit_code == 1
    assert "max_batch_size is 128 and the spec llama-3.1-8b-instruct-fp8-l40s asks for 64." in result.stdout


@pytest.mark.parametrize(("arguments", "message"), [([], "has no config.json"), (["--card", "V100"], "unknown card")])
def test_verify_without_an_engine_or_a_card_ends_with_3(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = invoke("verify", str(tmp_path), *arguments)
    assert result.exit_code == 3
    assert message in result.stderr


def test_emit_config_writes_a_copy_or_prints(make_engine: EngineMaker, tmp_path: Path) -> None:
    folder, out = make_engine(), tmp_path / "tensorrtllm.pbtxt"
    result = invoke(
        "emit-config", str(folder), "--out", str(out), "--served-from", "/engines/llm", "--kv-fraction", "0.5"
    )
    assert result.exit_code == 0
    text = out.read_text()
    assert 'parameters { key: "kv_cache_free_gpu_mem_fraction" value { string_value: "0.5" } }' in text
    assert 'parameters { key: "gpt_model_path" value { string_value: "/engines/llm" } }' in text
    assert "max_batch_size: 128" in text
    printed = invoke("emit-config", str(folder), "--out", "-", "--served-from", "/engines/llm", "--kv-fraction", "0.5")
    assert printed.stdout == text


def test_emit_config_does_not_serve_a_damaged_engine(make_engine: EngineMaker, tmp_path: Path) -> None:
    folder, out = make_engine(), tmp_path / "tensorrtllm.pbtxt"
    (folder / "rank0.engine").unlink()
    result = invoke("emit-config", str(folder), "--out", str(out))
    assert result.exit_code == 1
    assert "rank0.engine is missing" in result.stderr
    assert not out.exists()


def test_a_build_wants_the_images_digest_and_the_right_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGFLEET_IMAGE_DIGEST", raising=False)
    result = invoke("build", SPEC)
    assert result.exit_code == 4
    assert "RAGFLEET_IMAGE_DIGEST" in result.stderr
    monkeypatch.setattr(cli, "gpus", lambda: [Gpu(name="NVIDIA L40S", sm=89, driver="590.44.01")])
    monkeypatch.setattr(cli, "versions", lambda: (PINNED.tensorrt, PINNED.tensorrt_llm))
    result = invoke("build", SPEC, "--image-digest", "sha256:1")
    assert result.exit_code == 4
    assert "the spec is for H100" in result.stderr


def test_a_build_is_verified_and_gets_its_manifest(
    make_engine: EngineMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    on = built_on()
    monkeypatch.setattr(cli, "gpus", lambda: [Gpu(name=on.gpu, sm=on.sm, driver=on.driver)])
    monkeypatch.setattr(cli, "versions", lambda: (on.tensorrt, on.tensorrt_llm))

    def pretend(plan: BuildPlan, *_: object, **__: object) -> None:
        engine = Path(plan.engine_dir)
        engine.parent.mkdir(parents=True)
        make_engine(by=None).rename(engine)
        model = Path(plan.model_dir)
        model.mkdir(parents=True)
        (model / "tokenizer.json").write_text("{}")

    monkeypatch.setattr(cli, "run", pretend)
    result = invoke("build", SPEC, "--work", str(work), "--image-digest", "sha256:1")
    assert (result.exit_code, result.stderr) == (0, "")
    engine = work / "engines" / SPEC
    assert invoke("verify", str(engine), "--card", "H100").exit_code == 0
    assert json.loads((engine / "ragfleet-manifest.json").read_text())["built_on"]["image_digest"] == "sha256:1"


def test_the_checks_between_the_steps(tmp_path: Path) -> None:
    result = invoke("check-checkpoint", SPEC, str(tmp_path))
    assert result.exit_code == 1
    assert "cannot be read" in result.stdout
    assert invoke("check-model", SPEC, str(tmp_path)).exit_code == 1
