"""The schema of a collection of chunks in Milvus (docs/contracts.md), and its name.

BM25 reads `keywords`, which is `text` as tokens/keywords.py makes it searchable in any script, and not `text` itself. Milvus has
analyzers for many languages; Milvus Lite 3.2.2 knows two tokenizers, `standard` (runs of letters and digits: a Chinese sentence
is one) and `jieba` (Chinese alone), and of a custom analyzer's filters takes `stop` with a list of words and passes over all
others without a word. So what makes words comparable is done before, alike for both, and the analyzer is the least.
"""

import hashlib
from typing import Any

from pymilvus import DataType, Function, FunctionType, MilvusClient

from gateway.knowledge.index.chunks import FILENAME_BYTES, TEXT_BYTES
from tokens.keywords import keyword_text

ALIAS = "ragfleet_chunks"
"""What stands for the active collection, for clients of Triton that know nothing of the catalog."""

SCHEMA_VERSION = 4
"""Raised when `collection_schema` or `keywords` change, so that the rows are made anew beside the old ones (`ragfleet reembed`).
Until then an old collection serves as it is: in one of version 2 BM25 reads `text`, in one of version 3 keywords have no common
spellings of codes, numbers and dates, no simplified characters and no parts of compounds."""

BM25_K1, BM25_B = 0.9, 0.4
"""What Anserini searches passages with (Lucene and Milvus: 1.2 and 0.75). Chunks are nearly of one length, and the short ones are
what was left at the end of a section: to be short says little for them (docs/retrieval.md has the figures). Milvus Lite's
protocol loses them on the way: ragfleet/milvus_lite/bm25.py has the same."""

# Lucene's English list, which is Milvus's `_english_`, too.
_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such "
    "that the their then there these they this to was will with"
)

ANALYZER = {
    "tokenizer": "standard",
    "filter": [
        "lowercase",
        {"type": "stop", "stop_words": _STOP_WORDS.split()},
    ],
}


def collection_name(embedding_model: str) -> str:
    """The name of the collection that holds this model's vectors in the present schema."""
    digest = hashlib.sha256(f"{embedding_model}\0{SCHEMA_VERSION}".encode()).hexdigest()
    return f"{ALIAS}_{digest[:8]}"


def collection_schema(dimension: int) -> tuple[Any, Any]:
    """pymilvus's schema and its index parameters, for vectors of this dimension."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=256)
    schema.add_field("tenant", DataType.VARCHAR, is_partition_key=True, max_length=256)
    schema.add_field("store", DataType.VARCHAR, max_length=64)
    schema.add_field("file_id", DataType.VARCHAR, max_length=64)
    schema.add_field("filename", DataType.VARCHAR, max_length=FILENAME_BYTES)
    schema.add_field("index", DataType.INT64)
    schema.add_field("text", DataType.VARCHAR, max_length=TEXT_BYTES)
    schema.add_field(
        "keywords", DataType.VARCHAR, max_length=TEXT_BYTES, enable_analyzer=True, analyzer_params=ANALYZER
    )
    schema.add_field("page", DataType.INT64)
    schema.add_field("start", DataType.INT64)
    schema.add_field("end", DataType.INT64)
    schema.add_field("attributes", DataType.JSON)
    schema.add_field("generation", DataType.INT64)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimension)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function("bm25", FunctionType.BM25, input_field_names=["keywords"], output_field_names=["sparse"]),
    )
    indices = MilvusClient.prepare_index_params()
    indices.add_index("dense", index_type="AUTOINDEX", metric_type="COSINE")
    indices.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", bm25_k1=BM25_K1, bm25_b=BM25_B)
    return schema, indices


def keywords(text: str) -> str:
    """The field `keywords` of a chunk. Of 9,000 Chinese characters and more, what is behind is not searched by words."""
    made = keyword_text(text).encode()
    return made[:TEXT_BYTES].decode(errors="ignore")
