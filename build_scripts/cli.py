"""`python -m build_scripts`: plan, build, verify and configure TensorRT-LLM engines.

Exit codes: 0 all is well; 1 faults were found; 2 the command line is wrong; 3 a spec or an engine cannot be read;
4 refused, by the spec's rules or by this machine; 5 a build step failed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from build_scripts import checks, engine, manifest, verify
from build_scripts.cards import UnknownCard, card
from build_scripts.container import PINNED
from build_scripts.machine import WrongMachine, built_on, gpus, machine_faults, versions
from build_scripts.memory import Estimate, estimate
from build_scripts.plan import BuildPlan, PlanError, make_plan
from build_scripts.progress import Console
from build_scripts.runner import AlreadyRunning, StepFailed, run
from build_scripts.spec import EngineSpec, Serving, SpecError, load, spec_names
from build_scripts.validation import refusals

FAULTS, UNREADABLE, REFUSED, FAILED = 1, 3, 4, 5
_GB = 1e9
_REPOSITORY = Path(__file__).resolve().parent.parent / "model_repository"

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A shipped spec's name (see `list`) or a YAML file.")]
EngineArgument = Annotated[
    Path, typer.Argument(metavar="ENGINE_DIR", help="The folder with config.json and rank files.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
WorkOption = Annotated[str, typer.Option(help="The folder for models, checkpoints, engines, logs and state.")]


def _leave(code: int, *sentences: str) -> NoReturn:
    for sentence in sentences:
        typer.echo(sentence, err=True)
    raise typer.Exit(code)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (SpecError, PlanError, engine.NotAnEngine, manifest.ManifestError, UnknownCard) as error:
        _leave(UNREADABLE, str(error))


def _accepted(which: str) -> EngineSpec:
    """The spec, or the end of the command with the rules that it breaks."""
    with _readable():
        spec = load(which)
    refused = list(refusals(spec))
    if refused:
        _leave(REFUSED, *(f"{spec.name}: {sentence}" for sentence in refused))
    return spec


def _report(found: Iterable[str], what: str, as_json: bool) -> None:
    sentences = list(found)
    if as_json:
        typer.echo(json.dumps({"checked": what, "faults": sentences}, indent=2))
    else:
        for sentence in sentences:
            typer.echo(sentence)
        if not sentences:
            typer.echo(f"{what}: no faults")
    if sentences:
        raise typer.Exit(FAULTS)


@app.command("list")
def list_specs() -> None:
    """The shipped specs."""
    for name in spec_names():
        with _readable():
            spec = load(name)
        cards = f"{spec.world_size} × {spec.card.name}"
        typer.echo(f"{name:45} {spec.quantization:9} {cards:9} {spec.limits.max_seq_len:6} tokens")


@app.command("estimate")
def show_estimate(spec: SpecArgument, as_json: JsonOption = False) -> None:
    """What the engine takes on one card, and how many full-length requests its KV cache holds."""
    with _readable():
        wanted = load(spec)
    figures = estimate(wanted)
    if as_json:
        typer.echo(figures.model_dump_json(indent=2))
    else:
        typer.echo(_estimate_text(wanted, figures))
    if not figures.fits:
        raise typer.Exit(FAULTS)


def _estimate_text(spec: EngineSpec, figures: Estimate) -> str:
    rows = (
        ("card", figures.card_bytes),
        ("weights", figures.weights),
        ("activations (estimated)", figures.activations),
        ("runtime", figures.runtime),
        ("reserved", figures.reserved),
        ("KV cache available", figures.kv_available),
        (f"KV cache needed for {figures.concurrency}", figures.kv_needed),
    )
    lines = [f"{spec.name} on {spec.card.name}, per GPU"]
    lines += [f"  {name:28} {value / _GB:8.2f} GB" for name, value in rows]
    requests = figures.kv_tokens // spec.limits.max_seq_len
    lines.append(f"  {figures.kv_tokens} tokens fit: {requests} requests of {spec.limits.max_seq_len}")
    return "\n".join(lines)


def _plan(spec: EngineSpec, ref: str, work: str) -> BuildPlan:
    with _readable():
        return make_plan(spec, work, ref if ref != spec.name else None)


@app.command()
def plan(spec: SpecArgument, work: WorkOption = "/engines", as_json: JsonOption = False) -> None:
    """The exact commands, as a shell script; nothing is run."""
    made = _plan(_accepted(spec), spec, work)
    typer.echo(made.model_dump_json(indent=2) if as_json else made.text(), nl=as_json)


@app.command()
def build(
    spec: SpecArgument,
    *,
    work: WorkOption = "/engines",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands only, as `plan` does.")] = False,
    as_json: JsonOption = False,
    image_digest: Annotated[
        str, typer.Option(envvar="RAGFLEET_IMAGE_DIGEST", help="The container's digest (sha256:…), for the manifest.")
    ] = "",
    step_hours: Annotated[float, typer.Option(help="The deadline of each step, in hours.")] = 8.0,
) -> None:
    """Convert or quantize, build, verify and write the manifest. Run it inside the container, on the card it is for.

    Started again, it goes on after the last step that was finished.
    """
    accepted = _accepted(spec)
    made = _plan(accepted, spec, work)
    if dry_run:
        typer.echo(made.model_dump_json(indent=2) if as_json else made.text(), nl=as_json)
        return
    if not image_digest:
        _leave(
            REFUSED,
            "give --image-digest or RAGFLEET_IMAGE_DIGEST (docker image inspect shows it): the manifest names it.",
        )
    try:
        found, built = gpus(), versions()
    except WrongMachine as error:
        _leave(REFUSED, f"{error}: run this inside {PINNED.image} on a machine with {accepted.card.name}.")
    wrong = list(machine_faults(accepted, found, built, PINNED))
    if wrong:
        _leave(REFUSED, *wrong)
    try:
        run(made, Console(sys.stderr), env=os.environ, limit_s=step_hours * 3600, now=lambda: datetime.now(UTC))
    except AlreadyRunning as error:
        _leave(REFUSED, str(error))
    except StepFailed as error:
        _leave(FAILED, str(error))
    folder = Path(made.engine_dir)
    with _readable():
        faults = list(verify.faults(folder, card=accepted.card, spec=accepted, needs_manifest=False, hashes=False))
        if not faults:
            on = built_on(found, built, PINNED, image_digest)
            written = manifest.make(folder, Path(made.model_dir), accepted, on, datetime.now(UTC))
            manifest.write(folder, written)
    _report(faults, str(folder), as_json)


@app.command("verify")
def verify_engine(
    engine_dir: EngineArgument,
    card_name: Annotated[str | None, typer.Option("--card", help="The card that will serve it.")] = None,
    spec: Annotated[str | None, typer.Option(help="Hold it against this spec instead of the manifest's.")] = None,
    hashes: Annotated[bool, typer.Option(help="Read every file and compare its SHA-256.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Check a built engine against the container, the card and its manifest: one sentence per fault."""
    with _readable():
        found = list(
            verify.faults(
                engine_dir,
                card=card(card_name) if card_name else None,
                spec=load(spec) if spec else None,
                hashes=hashes,
            )
        )
    _report(found, str(engine_dir), as_json)


@app.command("emit-config")
def emit_config(
    engine_dir: EngineArgument,
    template: Annotated[Path, typer.Option(help="The configuration whose values are set.")] = _REPOSITORY
    / "llm"
    / "configs"
    / "tensorrtllm.pbtxt",
    out: Annotated[
        str, typer.Option(help="Where to write it; - for standard output. Default: the template itself.")
    ] = "",
    served_from: Annotated[str, typer.Option(help="Where the serving container sees the engine.")] = "",
    kv_fraction: Annotated[
        float | None, typer.Option(min=0.05, max=0.95, help="kv_cache_free_gpu_mem_fraction.")
    ] = None,
) -> None:
    """Write configs/tensorrtllm.pbtxt of `llm`, with the limits of this engine. Refuses an engine with faults."""
    from build_scripts import triton_config  # needs Triton's client, which a machine that only builds may lack

    with _readable():
        found = list(verify.faults(engine_dir, hashes=False))
        if found:
            _leave(FAULTS, *found)
        config, record = engine.read_config(engine_dir), manifest.read(engine_dir)
    serving = record.spec.serving if record else Serving(concurrency=1)
    if kv_fraction is not None:
        serving = serving.model_copy(update={"kv_cache_free_gpu_mem_fraction": kv_fraction})
    numbers, parameters = triton_config.settings(config, served_from or str(engine_dir.resolve()), serving)
    try:
        text = triton_config.render(template.read_text(encoding="utf-8"), numbers, parameters)
        if out == "-":
            typer.echo(text, nl=False)
        else:
            triton_config.write(Path(out) if out else template, text)
    except (OSError, triton_config.TemplateError) as error:
        _leave(UNREADABLE, f"{template}: {error}")


@app.command("check-model", hidden=True)
def check_model(spec: SpecArgument, model_dir: Path) -> None:
    """A build's second step: the downloaded model is the one the spec describes."""
    with _readable():
        _report(checks.model_faults(load(spec), model_dir), str(model_dir), as_json=False)


@app.command("check-checkpoint", hidden=True)
def check_checkpoint(spec: SpecArgument, checkpoint_dir: Path) -> None:
    """A build's fourth step: the checkpoint is quantized and split as the spec asks."""
    with _readable():
        _report(checks.settle_checkpoint(load(spec), checkpoint_dir), str(checkpoint_dir), as_json=False)


def main() -> None:
    app()
