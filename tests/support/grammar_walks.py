"""Words of a grammar, by chance: what an engine that follows it could write."""

import random

from llm_engine.guided_decoding import GuideCompiler
from llm_engine.request import GuidedDecoding

END = 0
VOCABULARY = [b"", *(bytes([byte]) for byte in range(256))]


def compiler() -> GuideCompiler:
    """Of an engine whose tokens are bytes."""
    return GuideCompiler(lambda: VOCABULARY, vocab_size=len(VOCABULARY))


def walked(guides: GuideCompiler, grammar: str, rng: random.Random) -> str:
    """A word of a grammar in GBNF; it ends where it can and the dice say so."""
    constraint = guides.compile(GuidedDecoding(kind="ebnf_grammar", guide=grammar), [5])
    text = b""
    while not constraint.ended:
        may = [int(token) for token in constraint.allowed(ends=(END,))]
        assert may, constraint.failure
        token = END if END in may and rng.random() < 0.3 else rng.choice(may)
        if token == END:
            break
        constraint.take(token)
        text += VOCABULARY[token]
    return text.decode("utf-8", "replace")
