"""OpenAI's few token ids as TensorRT-LLM's input `embedding_bias`, which has a number for each token of the vocabulary."""

from collections.abc import Mapping

import orjson


def embedding_bias(bias: Mapping[int, float], vocab_size: int) -> orjson.Fragment:
    """The vector as JSON that is written once, whatever number of instances it is sent to. bias: token → logit to add."""
    pieces, end = [], 0
    for token in sorted(bias):
        pieces += [b"0," * (token - end), orjson.dumps(bias[token]), b","]
        end = token + 1
    pieces.append(b"0," * (vocab_size - end))
    return orjson.Fragment(b"[%b]" % b"".join(pieces).removesuffix(b","))
