"""Hybrid search in Milvus, within a deadline."""

from retrieval_search.errors import BadQuery, CollectionNotFound, RetrievalError, Unavailable
from retrieval_search.search import HybridSearch, Query, Settings

__all__ = ["BadQuery", "CollectionNotFound", "HybridSearch", "Query", "RetrievalError", "Settings", "Unavailable"]
