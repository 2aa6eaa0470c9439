"""Whether a built engine may serve: its folder against the container, the card, its spec and its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from build_scripts import manifest as manifests
from build_scripts.cards import Card, dotted
from build_scripts.container import PINNED, BuildContainer
from build_scripts.engine import EngineConfig, read_config
from build_scripts.manifest import Manifest, ManifestError
from build_scripts.spec import EngineSpec

_GB = 1e9


def faults(
    engine_dir: Path,
    *,
    card: Card | None = None,
    spec: EngineSpec | None = None,
    container: BuildContainer = PINNED,
    hashes: bool = True,
    needs_manifest: bool = True,
) -> Iterator[str]:
    """A sentence for each reason not to serve `engine_dir`. `spec` is the manifest's where none is given.

    Raises NotAnEngine when there is no config.json to judge.
    """
    config = read_config(engine_dir)
    yield from _version(config, container)
    yield from _shape(config)
    yield from _ranks(engine_dir, config)
    try:
        manifest = manifests.read(engine_dir)
    except ManifestError as error:
        manifest = None
        yield f"{error}."
    else:
        if manifest is None and needs_manifest:
            yield f"{manifests.FILE_NAME} is missing: which GPU and which weights made this engine is not known. Build it again."
    if manifest is not None:
        yield from manifests.version_faults(manifest.built_on, container)
        yield from _files(engine_dir, manifest, hashes=hashes)
    spec = spec or (manifest.spec if manifest else None)
    if spec is not None:
        yield from _against_spec(config, spec)
    if card is not None:
        yield from _against_card(engine_dir, config, manifest, card)


def _version(config: EngineConfig, container: BuildContainer) -> Iterator[str]:
    if config.version != container.tensorrt_llm:
        yield (
            f"config.json is of TensorRT-LLM {config.version} and the {container.release} container has "
            f'{container.tensorrt_llm}: it would refuse with "Version tag does not match".'
        )


def _shape(config: EngineConfig) -> Iterator[str]:
    build, mapping = config.build_config, config.pretrained_config.mapping
    if mapping.tp_size * mapping.pp_size != mapping.world_size:
        yield f"tp {mapping.tp_size} × pp {mapping.pp_size} is not the world size {mapping.world_size}."
    if not build.plugin_config.use_paged_context_fmha:
        yield "use_paged_context_fmha is off: KV cache reuse and chunked context would not work."
    if not build.plugin_config.remove_input_padding:
        yield "remove_input_padding is off: in-flight batching would not work."
    if (build.kv_cache_type or "PAGED").upper() != "PAGED" or build.plugin_config.paged_kv_cache is False:
        yield "the KV cache is not paged: in-flight batching would not work."
    if build.max_input_len >= build.max_seq_len:
        yield f"max_input_len {build.max_input_len} leaves no room for an answer in max_seq_len {build.max_seq_len}."


def _ranks(engine_dir: Path, config: EngineConfig) -> Iterator[str]:
    for name in config.rank_files():
        path = engine_dir / name
        if not path.is_file():
            yield f"{name} is missing: {config.pretrained_config.mapping.world_size} ranks were built."
        elif path.stat().st_size == 0:
            yield f"{name} is empty: the build did not finish."
    extra = sorted(p.name for p in engine_dir.glob("rank*.engine") if p.name not in config.rank_files())
    if extra:
        yield f"{', '.join(extra)} belong to another build: config.json names {len(config.rank_files())} ranks."


def _files(engine_dir: Path, manifest: Manifest, *, hashes: bool) -> Iterator[str]:
    for name, record in manifest.files.items():
        path = engine_dir / name
        if not path.is_file():
            if name not in {f"rank{rank}.engine" for rank in range(manifest.spec.world_size)}:
                yield f"{name} is in the manifest and not in the folder."
        elif path.stat().st_size != record.bytes:
            yield f"{name} has {path.stat().st_size} bytes and had {record.bytes} when it was built: copy it again."
        elif hashes and manifests.sha256(path) != record.sha256:
            yield f"{name} was changed after it was built (its SHA-256 is not the manifest's): copy it again."
    for path in manifests.engine_files(engine_dir):
        name = str(path.relative_to(engine_dir))
        if name not in manifest.files:
            yield f"{name} is in the folder and not in the manifest."


def _against_spec(config: EngineConfig, spec: EngineSpec) -> Iterator[str]:
    built, limits = config.pretrained_config, config.build_config
    pairs: tuple[tuple[str, object, object], ...] = (
        ("architecture", built.architecture, spec.architecture.name),
        ("dtype", built.dtype, spec.dtype),
        ("quant_algo", built.quantization.quant_algo, spec.quant_algo),
        ("kv_cache_quant_algo", built.quantization.kv_cache_quant_algo, spec.kv_quant_algo),
        ("tp_size", built.mapping.tp_size, spec.tp),
        ("pp_size", built.mapping.pp_size, spec.pp),
        ("max_batch_size", limits.max_batch_size, spec.limits.max_batch_size),
        ("max_input_len", limits.max_input_len, spec.limits.max_input_len),
        ("max_seq_len", limits.max_seq_len, spec.limits.max_seq_len),
        ("max_num_tokens", limits.max_num_tokens, spec.limits.max_num_tokens),
        ("tokens_per_block", limits.plugin_config.tokens_per_block, spec.limits.tokens_per_block),
    )
    for field, actual, wanted in pairs:
        if actual != wanted:
            yield f"{field} is {_said(actual)} and the spec {spec.name} asks for {_said(wanted)}."


def _against_card(engine_dir: Path, config: EngineConfig, manifest: Manifest | None, card: Card) -> Iterator[str]:
    if manifest is not None and manifest.built_on.sm != card.sm:
        yield (
            f"built on compute capability {dotted(manifest.built_on.sm)} ({manifest.built_on.gpu}) and the {card.name} has "
            f'{card.compute_capability}: it would refuse with "incompatible device".'
        )
    sizes = [path.stat().st_size for name in config.rank_files() if (path := engine_dir / name).is_file()]
    largest = max(sizes, default=0)
    if largest >= card.memory_bytes:
        yield f"a rank's weights take {largest / _GB:.1f} GB and the {card.name} has {card.memory_bytes / _GB:.1f} GB."


def _said(value: object) -> str:
    return "none" if value is None else str(value)
