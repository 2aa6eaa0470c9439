"""The ingestion: a process of its own that brings members of vector stores into the index (docs/ingestion.md)."""
