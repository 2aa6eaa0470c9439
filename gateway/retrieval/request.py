"""What is to be searched, resolved once: whose rows, in which collection, how, and how many."""

from collections.abc import Mapping, Sequence, Set
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from gateway.knowledge.catalog.types import Collection, FileScope, Store
from gateway.knowledge.filters import search_filter
from gateway.knowledge.normalization import normalized
from gateway.retrieval.filter_signature import FilterSigner
from gateway.retrieval.options import RetrievalOptions
from gateway.tenants.tenant import Tenant
from gateway.triton.infer import Tensor, boolean, cache_salt, fp32, int32, text

EVERY_SCORE = -1.0
"""A cosine that no passage is under."""
DEFAULT_LIMIT = 10
"""Passages, where nobody says how many; OpenAI's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSearchParameters:
    """What a request says of the stores that it wants to be answered from: OpenAI's tool `file_search`."""

    stores: Sequence[str]
    """Ids or names; none: all of the tenant's, where an assistant asks."""
    without: Sequence[str] = ()
    """Names of stores that are not among all of them."""
    filters: Mapping[str, Any] | None = None
    """OpenAI's, over the attributes of files."""
    options: RetrievalOptions = field(default_factory=RetrievalOptions)


class RetrievalRequest:
    """A search of stores of a tenant, in the files that its key sees. It is made from the tenant, and nothing else writes a
    filter: so no search sees another's rows."""

    __slots__ = (
        *("_files", "_filters", "_options", "_stores"),
        *("collection", "embedding_model", "filter", "label", "limit", "min_score", "tenant"),
    )

    def __init__(
        self,
        tenant: Tenant,
        stores: Sequence[Store],
        collection: Collection | None,
        *,
        files: FileScope | None = None,
        label: str = "",
        filters: Mapping[str, Any] | None = None,
        options: RetrievalOptions | None = None,
        defaults: RetrievalOptions | None = None,
    ) -> None:
        """collection: the active one; None where there is none yet. files: as DocumentAccess has them for the tenant and the
        stores. label: what the client called the stores, for messages. options: the request's own, over the stores' settings,
        over the `defaults`. Raises BadRequest for a filter that cannot be read, ValueError without a store, and without `files`
        for a key with groups.
        """
        if tenant.key.groups is not None and files is None:
            raise ValueError("a search for a key with groups needs the files that it sees")
        self.tenant = tenant
        self.label = label
        self._stores = [store.id for store in stores]
        self._filters = filters
        self._files = files
        self.filter = self._expression()
        """A Milvus expression."""
        self.collection = "" if collection is None else collection.name
        """In Milvus; "": nothing can be found yet."""
        self.embedding_model = "" if collection is None else collection.embedding_model
        """Whose vectors the collection holds: only instances that serve it are asked."""
        chosen = (options or RetrievalOptions()).over(RetrievalOptions.of_stores(stores))
        if defaults is not None:
            chosen = chosen.over(defaults)
        self.limit = chosen.max_num_results or DEFAULT_LIMIT
        self.min_score = EVERY_SCORE if chosen.score_threshold is None else chosen.score_threshold
        self._options = chosen

    def without(self, file_ids: Set[str]) -> "RetrievalRequest":
        """The same search, of a key with groups, less these files."""
        assert self._files is not None
        narrower = copy(self)
        narrower._files = self._files.without(file_ids)
        narrower.filter = narrower._expression()
        return narrower

    def _expression(self) -> str:
        return search_filter(self.tenant.name, self._stores, self._filters, self._files)

    def inputs(
        self, question: str, signer: FilterSigner, *, limit: int | None = None, salt: int = 0
    ) -> dict[str, Tensor]:
        """Of the ensembles, for one question. limit: passages to find, where that is not the request's own. salt: of the tenant,
        for the cache of embeddings."""
        options = self._options
        made: dict[str, Tensor] = {
            "query": text(normalized(question) or question),  # spelled as what was stored
            "collection": text(self.collection),
            "filter": text(self.filter),
            "top_k": int32(limit or self.limit),
            "min_score": fp32(self.min_score),
            **cache_salt(salt),
        }
        if signature := signer.sign(self.collection, self.filter):
            made["filter_signature"] = text(signature)
        if options.ranker:
            made["ranker"] = text(options.ranker)
        if options.dense_weight is not None:
            made["dense_weight"] = fp32(options.dense_weight)
        if options.neighbours is not None:
            made["neighbours"] = int32(options.neighbours)
        if options.rerank is not None:
            made["rerank"] = boolean(options.rerank)
        return made
