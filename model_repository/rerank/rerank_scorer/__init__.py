"""A cross-encoder behind one function, within a deadline."""

from rerank_scorer.scorer import Late, Scorer, ScorerSettings

__all__ = ["Late", "Scorer", "ScorerSettings"]
