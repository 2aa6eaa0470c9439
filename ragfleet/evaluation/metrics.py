"""The measures: of rankings as trec_eval takes them, of answers as SQuAD's own script does."""

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MARK = re.compile(r"\[\d{1,3}\]")


def ndcg(ranking: Sequence[str], relevant: Mapping[str, int], cutoff: int) -> float:
    """Normalised discounted cumulative gain, 0…1. A document's gain is its grade, discounted by log2(rank + 1)."""
    ideal = _discounted(sorted(relevant.values(), reverse=True)[:cutoff])
    return _discounted([relevant.get(document, 0) for document in ranking[:cutoff]]) / ideal if ideal else 0.0


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def recall(ranking: Sequence[str], relevant: Mapping[str, int], cutoff: int) -> float:
    """The share of the relevant documents among the first `cutoff`."""
    return len(relevant.keys() & set(ranking[:cutoff])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], relevant: Mapping[str, int], cutoff: int) -> float:
    """1 / rank of the first relevant document; 0 where none is among the first `cutoff`."""
    return next((1 / rank for rank, document in enumerate(ranking[:cutoff], 1) if document in relevant), 0.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0…1) of all are not over (nearest rank); NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return math.fsum(values) / len(values) if values else None


def normalised(text: str) -> str:
    """SQuAD's: lower case, no ASCII punctuation, no English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 where the answer is one of the accepted ones after normalisation, else 0."""
    return float(normalised(answer) in {normalised(text) for text in accepted})


def f1(answer: str, accepted: Sequence[str]) -> float:
    """The best F1 of the answer's words with those of an accepted answer, 0…1."""
    return max((_word_f1(normalised(answer).split(), normalised(text).split()) for text in accepted), default=0.0)


def _word_f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    if not said or not wanted:
        return float(said == wanted)
    common = (Counter(said) & Counter(wanted)).total()
    return 2 * common / (len(said) + len(wanted))


def without_marks(answer: str) -> str:
    """The answer as it is compared: its marks are not its words."""
    return _MARK.sub(" ", answer)
