"""Which rows of a collection there are: the newest of each key, if it was not deleted behind them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
T = TypeVar("T")

_ALL = "_all"
"""Milvus Lite's name for all partitions, in a deletion that names none."""


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows in one place. `live`: which of them count. `kept`: what was made of them, as long as they are in memory."""

    table: pa.Table
    keys: Sequence[Any]
    live: Mask
    kept: dict[str, Any]
    segment: Any = None
    """Milvus Lite's; None where the rows are in its memory table, not flushed yet."""


def made(kept: dict[str, Any], name: str, make: Callable[[], T]) -> T:
    """What was made before, or is made now. Two threads may both make it."""
    found: T | None = kept.get(name)
    if found is None:
        found = kept[name] = make()
    return found


def sources(segments: Sequence[Any], memory: Any, deletions: Mapping[Any, int]) -> list[RowSource]:
    """Segments and memory table of a collection, without the empty ones.

    segments: Milvus Lite's, whose data never change. memory: its memory table. deletions: key → number in the order of writes, up
    to which its rows are deleted.
    """
    segments = [segment for segment in segments if segment.num_rows]
    keys, numbers, _, _, table = memory.to_search_snapshot(None, include_table=True)
    unflushed = dict(zip(keys, numbers.tolist(), strict=True))
    pending = memory.delete_index_snapshot()
    found = []
    for segment, live in zip(segments, _not_replaced(segments), strict=True):
        here = {key: number for key, (number, partition) in pending.items() if partition in (_ALL, segment.partition)}
        for newer in (deletions, here, unflushed):
            for key in newer.keys() & segment.pk_to_row.keys():
                row = segment.pk_to_row[key]
                live[row] &= newer[key] <= int(segment.seqs[row])
        found.append(RowSource(segment.table, segment.pks, live, segment.sparse_indexes, segment))
    if unflushed:
        # What has been flushed while we looked is in both, and counts there.
        flushed = {
            key
            for segment in segments
            for key in unflushed.keys() & segment.pk_to_row.keys()
            if int(segment.seqs[segment.pk_to_row[key]]) >= unflushed[key]
        }
        alive = [key not in flushed and deletions.get(key, -1) <= number for key, number in unflushed.items()]
        found.append(RowSource(table, keys, np.array(alive, np.bool_), {}))
    return found


def _not_replaced(segments: Sequence[Any]) -> list[Mask]:
    """Of each segment the rows that no row of the same key, in this segment or another, is newer than."""
    live = [np.ones(segment.num_rows, np.bool_) for segment in segments]
    # Keys are compared by their hashes: those that are there once, which are nearly all, need no look one by one.
    hashes = [made(segment.sparse_indexes, "\0keys", partial(_hashes, segment)) for segment in segments]
    every = np.sort(np.concatenate(hashes)) if hashes else np.empty(0, np.int64)
    twice = np.unique(every[1:][every[1:] == every[:-1]])
    if not twice.size:
        return live
    suspects = [np.flatnonzero(np.isin(each, twice)).tolist() for each in hashes]
    newest: dict[Any, int] = {}
    for segment, rows in zip(segments, suspects, strict=True):
        for row in rows:
            newest[segment.pks[row]] = max(newest.get(segment.pks[row], -1), int(segment.seqs[row]))
    for segment, rows, mask in zip(segments, suspects, live, strict=True):
        for row in rows:
            mask[row] = int(segment.seqs[row]) == newest[segment.pks[row]]
    return live


def _hashes(segment: Any) -> NDArray[np.int64]:
    return np.fromiter(map(hash, segment.pks), np.int64, segment.num_rows)
