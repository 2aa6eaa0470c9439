"""Hybrid search in Milvus, within a deadline."""

from retrieval_search.embedding import EmbeddingFailed
from retrieval_search.errors import BadQuery, CollectionNotFound, FilterRefused, RetrievalError, RetrievalUnavailable
from retrieval_search.reranking import RerankFailed
from retrieval_search.search import HybridSearch
from retrieval_search.settings import Query, RetrievalSettings
from retrieval_search.tracing import SearchTracing, no_span

__all__ = [
    "BadQuery",
    "CollectionNotFound",
    "EmbeddingFailed",
    "FilterRefused",
    "HybridSearch",
    "Query",
    "RerankFailed",
    "RetrievalError",
    "RetrievalSettings",
    "RetrievalUnavailable",
    "SearchTracing",
    "no_span",
]
