"""A cross-encoder behind one function, within a deadline."""

from rerank_scorer.scorer import Late, Scorer, Settings

__all__ = ["Late", "Scorer", "Settings"]
