"""A Hugging Face folder with a Llama of random weights: its words mean nothing, but they vary, and they come to an end."""

from collections.abc import Sequence
from pathlib import Path

END = 2
VOCABULARY, POSITIONS = 49152, 1024


def make_llama(folder: Path, *, prompt: Sequence[int], ends_after: int = 30) -> Path:
    """Greedy, its answer to `prompt` is `ends_after` ids and the end, 2. Nothing of it is trained or fetched."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=POSITIONS, bos_token_id=1, eos_token_id=END,
        initializer_range=0.5,  # as large as this, hardly an id comes twice
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    said = model.generate(
        torch.tensor([prompt]), max_new_tokens=ends_after + 1, do_sample=False, eos_token_id=None, pad_token_id=0
    )[0, len(prompt) :].tolist()
    assert len({0, END, *said}) == ends_after + 3, "another seed is wanted: an id came twice, or an end too early"
    # Two rows of the output change places: what it would have said there is now the end, and nothing before it is another.
    rows = model.lm_head.weight.data
    rows[[END, said[-1]]] = rows[[said[-1], END]]
    model.save_pretrained(folder)
    return folder
