"""Milvus Lite's server with another search: exact for vectors, and BM25 over all segments at once.

`python -m ragfleet.milvus_lite` takes the arguments of `milvus-lite server` and has its files, filters, writes and protocol. What
is replaced, and why (Milvus Lite 3.2.2; docs/retrieval.md has the figures):
- BM25 weighed words within each segment by that segment's statistics alone, in loops over all rows in Python. bm25.py weighs them
  by the rows that the filter lets through, whatever segments these are in.
- AUTOINDEX is FAISS's HNSW, which leaves most of the nearest rows out where a filter lets few of many through: a small store
  beside large ones. nearest.py looks at all of them, and no HNSW is built.
- Each search asked of each row, in Python, whether it is still the newest of its key: live_rows.py.
"""
