"""The two searches that take the place of Milvus Lite's, in the form that it calls them and wants their answers in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from milvus_lite.engine import collection as engine
from milvus_lite.engine.projection import build_projection_plan, project_record
from milvus_lite.search.filter import evaluate_mask
from milvus_lite.search.indexed_filter import evaluate_segment_filter
from milvus_lite.storage.segment import Segment, _extract_vector_array
from numpy.typing import NDArray

from ragfleet.milvus_lite.bm25 import BM25, Postings
from ragfleet.milvus_lite.live_rows import RowSource, made, sources
from ragfleet.milvus_lite.nearest import cosines, lengths

Hits = list[dict[str, Any]]

_lite_dense = engine.execute_search_with_index
_lite_sparse = engine.Collection._search_sparse


def install() -> None:
    """From here on, in this process."""
    engine.execute_search_with_index = search_dense
    engine.Collection._search_sparse = search_sparse
    Segment.build_or_load_index = lambda _segment, _spec, _folder: None  # of vectors: nobody would ask it


def search_dense(  # noqa: PLR0917 - as Milvus Lite calls it
    query_vectors: NDArray[np.float32],
    segments: Iterable[Any],
    memtable: Any,
    delta_index: Any,
    top_k: int,
    metric_type: str,
    pk_field: str,
    vector_field: str,
    partition_names: Sequence[str] | None = None,
    compiled_filter: Any = None,
    output_fields: Sequence[str] | None = None,
    indexed_filter_plan: Any = None,
    project_record_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    search_params: Mapping[str, Any] | None = None,
) -> list[Hits]:
    """Of each query the nearest, by cosine; any other measure, and search by partitions, is Milvus Lite's own."""
    if metric_type != "COSINE" or partition_names or project_record_fn is None:
        return _lite_dense(  # type: ignore[no-any-return]
            query_vectors, segments, memtable, delta_index, top_k, metric_type, pk_field, vector_field,
            partition_names=partition_names, compiled_filter=compiled_filter, output_fields=output_fields,
            indexed_filter_plan=indexed_filter_plan, project_record_fn=project_record_fn, search_params=search_params,
        )  # fmt: skip
    found = sources(list(segments), memtable, delta_index.snapshot)
    queries = np.atleast_2d(query_vectors)
    best: list[list[tuple[float, int, int]]] = [[] for _ in queries]
    for number, source in enumerate(found):
        vectors, there = _vectors(source, vector_field)
        mask = _mask(source, compiled_filter, indexed_filter_plan)
        norms = made(source.kept, f"\0norms {vector_field}", partial(lengths, vectors))
        rows, similar = cosines(queries, vectors, norms, mask if there is None else mask & there)
        for kept, scores in zip(best, similar, strict=True):
            kept += [(max(0.0, 1 - float(scores[at])), number, int(rows[at])) for at in _highest(scores, top_k)]
    return [_hits(found, sorted(each)[:top_k], output_fields, project_record_fn) for each in best]


def search_sparse(  # noqa: PLR0917 - as Milvus Lite calls it
    collection: Any,
    query_vectors: Sequence[Any],
    vector_field: str,
    top_k: int,
    metric_type: str,
    partition_names: Sequence[str] | None,
    expr: str | None,
    output_fields: Sequence[str] | None,
    timezone: str | None = None,
) -> list[Hits]:
    """Of each query the best by BM25; other sparse vectors, and search by partitions, are Milvus Lite's own."""
    if metric_type != "BM25" or partition_names:
        return _lite_sparse(  # type: ignore[no-any-return]
            collection, query_vectors, vector_field, top_k, metric_type, partition_names, expr, output_fields, timezone
        )
    memory = collection._memtable  # before the segments: what is flushed meanwhile is then in both
    segments, deleted = collection._read_snapshot()
    compiled = collection._compile_filter(expr, timezone=timezone) if expr else None
    scalar_plan = collection._indexed_filter_plan(compiled)
    found = sources(segments, memory, deleted.snapshot)
    spec = collection._index_specs.get(vector_field)
    parameters = spec.build_params if spec else {}
    bm25 = BM25(**{name: float(parameters[f"bm25_{name}"]) for name in ("k1", "b") if f"bm25_{name}" in parameters})
    parts = [
        (
            made(each.kept, f"\0postings {vector_field}", partial(_postings, each, vector_field)),
            _mask(each, compiled, scalar_plan),
        )
        for each in found
    ]
    plan = build_projection_plan(output_fields, collection._schema, api_kind="search")

    def project(record: dict[str, Any]) -> dict[str, Any]:
        return project_record(record, collection._schema, plan)  # type: ignore[no-any-return]

    answers = []
    for query in collection._prepare_sparse_queries(query_vectors, vector_field):
        best = [
            (-float(scores[row]), number, int(row))
            for number, scores in enumerate(bm25.scores(query, parts))
            for row in _highest(scores, top_k)
            if scores[row] > 0
        ]
        answers.append(_hits(found, sorted(best)[:top_k], output_fields, project))
    return answers


def _mask(source: RowSource, compiled: Any, scalar_plan: Any) -> NDArray[np.bool_]:
    if compiled is None:
        return source.live
    if source.segment is None:
        passed: NDArray[np.bool_] = evaluate_mask(compiled, source.table)
    else:
        passed = evaluate_segment_filter(source.segment, compiled, scalar_plan)
    return source.live & passed


def _postings(source: RowSource, field: str) -> Postings:
    return Postings(source.table.column(field))


def _vectors(source: RowSource, field: str) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """All rows', and which rows have one; None: all."""
    found: tuple[NDArray[np.float32], NDArray[np.bool_] | None]
    found = source.segment.vector_data(field) if source.segment else _extract_vector_array(source.table.column(field))
    return found


def _highest(scores: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Where they are, in no order."""
    if len(scores) <= count:
        return np.arange(len(scores))
    return np.argpartition(-scores, count - 1)[:count]


def _hits(
    found: Sequence[RowSource],
    best: Sequence[tuple[float, int, int]],
    fields: Sequence[str] | None,
    project: Callable[[dict[str, Any]], dict[str, Any]],
) -> Hits:
    """best: (distance, number of the source, row), nearest first."""
    hits = []
    for distance, number, row in best:
        source = found[number]
        columns = source.table.column_names
        # Of a row with 20 columns, two are long: the vectors, which hardly anybody wants.
        wanted = (
            columns
            if fields is None or {"*", "$meta"} & {*fields, *columns}
            else [name for name in columns if name in fields]
        )
        record = {name: source.table.column(name)[row].as_py() for name in wanted if name != "_seq"}
        hits.append({"id": source.keys[row], "distance": distance, "entity": project(record)})
    return hits
