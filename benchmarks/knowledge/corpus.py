"""Documents and questions for the benchmark, made of fixed lists of words: the same for the same seed."""

import itertools
import random
from collections.abc import Iterator, Sequence

WORDS = (  # noqa: SIM905 - a list of quoted words reads worse
    "pump valve pressure bearing shaft flange turbine rotor seal gasket sensor relay breaker cable panel motor winding "
    "coolant filter reservoir nozzle piston cylinder gear clutch brake lever spring bolt thread torque alignment "
    "vibration temperature inspection maintenance schedule operator manual procedure replacement warranty supplier "
    "invoice delivery storage humidity corrosion coating steel copper brass rubber the of and to in with for on is at "
    "before after every when must should can until between under above "
).split()


def document(seed: int, sections: int = 10) -> str:
    """Markdown of about as many chunks as sections."""
    rng = random.Random(seed)
    parts = [f"# Manual {seed}\n"]
    for number in range(sections):
        sentences = [" ".join(rng.choices(WORDS, k=rng.randint(8, 20))).capitalize() + "." for _ in range(9)]
        parts.append(f"## Section {number}: {' '.join(rng.choices(WORDS[:40], k=3))}\n\n{' '.join(sentences)}\n")
    return "\n".join(parts)


def question(seed: int) -> str:
    """Something to ask of it."""
    return f"How is the {' '.join(random.Random(seed).choices(WORDS[:40], k=4))} to be inspected?"


class Language:
    """Texts of 20,000 words, the n-th of which is said 1/n as often as the first, as in a natural language.

    BM25's work is the length of its words' posting lists, so for the large collections the frequencies of words matter.
    """

    def __init__(self, seed: int, words: int = 20_000) -> None:
        syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
        self._words = ["".join(each) for each in itertools.islice(itertools.product(syllables, repeat=3), words)]
        self._rng = random.Random(seed)
        self._rng.shuffle(self._words)
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, words + 1)))

    def texts(self, words: int) -> Iterator[str]:
        """Without end."""
        while True:
            yield " ".join(self._said(words))

    def _said(self, count: int) -> Sequence[str]:
        return self._rng.choices(self._words, cum_weights=self._weights, k=count)
