"""An engine's manifest: what its config.json does not record, and a hash of every file.

`ragfleet-manifest.json` lies in the engine's folder. TensorRT-LLM ignores it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from build_scripts.container import BuildContainer
from build_scripts.spec import EngineSpec

FILE_NAME = "ragfleet-manifest.json"
_BLOCK = 1 << 20
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)


class ManifestError(ValueError):
    """The manifest is there and cannot be read."""


class FileRecord(BaseModel):
    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str


class BuiltOn(BaseModel):
    """The machine and the software that made the engine."""

    model_config = ConfigDict(frozen=True)

    gpu: str
    sm: int
    driver: str
    tensorrt: str
    tensorrt_llm: str
    image: str
    image_digest: str


class Manifest(BaseModel):
    model_config = ConfigDict(frozen=True)

    schema_version: int = 1
    built_at: datetime
    built_on: BuiltOn
    model_repo: str
    model_revision: str
    tokenizer_sha256: str
    spec: EngineSpec
    files: dict[str, FileRecord]


def sha256(path: Path) -> str:
    """Of one file, read in blocks: engines have tens of gigabytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def tokenizer_sha256(model_dir: Path) -> str:
    """One hash over the files that decide how text becomes ids. Raises ManifestError when there are none."""
    digest, found = hashlib.sha256(), False
    for name in _TOKENIZER_FILES:
        path = model_dir / name
        if path.is_file():
            found = True
            digest.update(name.encode() + b"\0" + bytes.fromhex(sha256(path)))
    if not found:
        raise ManifestError(f"{model_dir} has no tokenizer ({', '.join(_TOKENIZER_FILES[:2])})")
    return digest.hexdigest()


def engine_files(engine_dir: Path) -> Iterator[Path]:
    """Every file of an engine but the manifest, in order."""
    for path in sorted(engine_dir.rglob("*")):
        if path.is_file() and path.name != FILE_NAME:
            yield path


def make(engine_dir: Path, model_dir: Path, spec: EngineSpec, built_on: BuiltOn, now: datetime) -> Manifest:
    """Hash everything. Raises OSError, ManifestError."""
    records = {
        str(path.relative_to(engine_dir)): FileRecord(bytes=path.stat().st_size, sha256=sha256(path))
        for path in engine_files(engine_dir)
    }
    return Manifest(
        built_at=now,
        built_on=built_on,
        model_repo=spec.model.repo,
        model_revision=spec.model.revision,
        tokenizer_sha256=tokenizer_sha256(model_dir),
        spec=spec,
        files=records,
    )


def write(engine_dir: Path, manifest: Manifest) -> Path:
    """Whole or not at all."""
    path, part = engine_dir / FILE_NAME, engine_dir / f"{FILE_NAME}.part"
    part.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def read(engine_dir: Path) -> Manifest | None:
    """The manifest, or None when there is none. Raises ManifestError."""
    path = engine_dir / FILE_NAME
    if not path.exists():
        return None
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise ManifestError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def version_faults(built_on: BuiltOn, container: BuildContainer) -> Iterator[str]:
    """Where the software that built and the software that will serve differ, a sentence each."""
    pairs = (
        ("TensorRT-LLM", built_on.tensorrt_llm, container.tensorrt_llm),
        ("TensorRT", built_on.tensorrt, container.tensorrt),
    )
    for what, built, serving in pairs:
        if built != serving:
            yield f"built with {what} {built} and the {container.release} container has {serving}: build it again there."
