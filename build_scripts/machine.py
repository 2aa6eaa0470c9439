"""The machine that builds: its GPUs by nvidia-smi, and the versions of TensorRT in the container."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from build_scripts.cards import card_from_smi, dotted
from build_scripts.container import BuildContainer
from build_scripts.manifest import BuiltOn
from build_scripts.spec import EngineSpec

# Output of a short command; raises OSError or subprocess.SubprocessError.
Output = Callable[[Sequence[str]], str]

_SMI = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")
_VERSIONS = (
    "python3",
    "-c",
    "import json, tensorrt as t, tensorrt_llm as l; print(json.dumps([t.__version__, l.__version__]))",
)
_LIMIT_S = 300  # importing tensorrt_llm the first time takes minutes on a cold disk


class WrongMachine(RuntimeError):
    """This machine cannot build the spec; the message says what it lacks."""


class Gpu(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    sm: int
    driver: str


def output_of(argv: Sequence[str]) -> str:
    """Run a short command and return its standard output. Raises OSError, subprocess.SubprocessError."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_LIMIT_S).stdout


def gpus(output: Output = output_of) -> list[Gpu]:
    """The GPUs here. Raises WrongMachine when nvidia-smi is missing or fails."""
    try:
        lines = output(_SMI).strip().splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        raise WrongMachine(f"no NVIDIA GPU can be seen here ({_SMI[0]}: {error})") from None
    found = []
    for line in lines:
        name, capability, driver = (part.strip() for part in line.split(","))
        major, minor = capability.split(".")
        found.append(Gpu(name=name, sm=int(major) * 10 + int(minor), driver=driver))
    return found


def versions(output: Output = output_of) -> tuple[str, str]:
    """Of TensorRT and TensorRT-LLM. Raises WrongMachine when they cannot be imported."""
    try:
        # tensorrt_llm prints a banner before.
        last = output(_VERSIONS).strip().splitlines()[-1]
        tensorrt, tensorrt_llm = json.loads(last)
    except (OSError, subprocess.SubprocessError, IndexError, ValueError) as error:
        raise WrongMachine(f"TensorRT-LLM cannot be imported here: {error}") from None
    return re.sub(r"\.post\d+$", "", tensorrt), tensorrt_llm


def machine_faults(
    spec: EngineSpec, found: Sequence[Gpu], built: tuple[str, str], container: BuildContainer
) -> Iterator[str]:
    """Why this machine may not build `spec`, a sentence each."""
    if not found:
        yield f"no GPU here: run this inside {container.image} on a machine with {spec.node.gpus} × {spec.card.name}."
        return
    card = card_from_smi(found[0].name)
    if card is None or card.name != spec.card.name:
        yield (
            f"the spec is for {spec.card.name} (compute capability {spec.card.compute_capability}) and this machine has "
            f"{found[0].name} ({dotted(found[0].sm)}): an engine runs only on the kind of GPU that built it."
        )
    if len(found) < spec.node.gpus:
        yield f"the spec wants {spec.node.gpus} GPUs and this machine shows {len(found)}."
    expected = (container.tensorrt, container.tensorrt_llm)
    if built != expected:
        yield (
            f"TensorRT {built[0]} and TensorRT-LLM {built[1]} are here and {container.release} has {expected[0]} and "
            f"{expected[1]}: run this inside {container.image}."
        )


def built_on(found: Sequence[Gpu], versions: tuple[str, str], container: BuildContainer, image_digest: str) -> BuiltOn:
    return BuiltOn(
        gpu=found[0].name,
        sm=found[0].sm,
        driver=found[0].driver,
        tensorrt=versions[0],
        tensorrt_llm=versions[1],
        image=container.image,
        image_digest=image_digest,
    )
