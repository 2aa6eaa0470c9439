"""Evidence about a proportion that may be looked at after every observation, and stopped at any of them.

A test of fixed size that is looked at again and again finds a difference sooner or later, whether there is one or not. These are
likelihood ratios against the null hypothesis, mixed over the alternatives (H. Robbins, "Statistical methods related to the law of
the iterated logarithm", 1970). Under the null such a ratio is a supermartingale of mean 1, so the chance that it *ever* reaches
1/α is α at the most (J. Ville, 1939). They need sums alone, so what several gateways saw is added up. Their use for roll-outs:
M. Lindon and A. Malek, "Anytime-Valid Inference For Multinomial Count Data", NeurIPS 2022; for experiments that are peeked at:
R. Johari, P. Koomen, L. Pekelis, D. Walsh, "Peeking at A/B Tests", KDD 2017.
"""

import math


def evidence_above(hits: int, trials: int, proportion: float) -> float:
    """Natural logarithm of the evidence that hits are likelier than `proportion` (0 < proportion < 1), against "at most so".

    The alternatives are the proportions above it, all with the same weight.
    """
    if trials == 0:
        return 0.0
    misses = trials - hits
    # ∫ q^hits (1-q)^misses dq over (proportion, 1) is a beta function times the chance that a binomial variable is small.
    whole = math.lgamma(hits + 1) + math.lgamma(misses + 1) - math.lgamma(trials + 2)
    mixed = whole + _log_at_most(hits, trials + 1, proportion) - math.log1p(-proportion)
    return mixed - hits * math.log(proportion) - misses * math.log1p(-proportion)


def evidence_below(hits: int, trials: int, proportion: float) -> float:
    """The same for "less likely than `proportion`", against "at least so"."""
    return evidence_above(trials - hits, trials, 1 - proportion)


def _log_at_most(most: int, trials: int, proportion: float) -> float:
    """log P(X ≤ most) for a binomial X."""
    log_odds = math.log(proportion) - math.log1p(-proportion)
    term = trials * math.log1p(-proportion)
    terms = [term]
    for at in range(1, most + 1):
        term += math.log(trials - at + 1) - math.log(at) + log_odds
        terms.append(term)
    largest = max(terms)
    return min(0.0, largest + math.log(math.fsum(math.exp(each - largest) for each in terms)))
