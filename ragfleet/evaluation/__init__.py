"""Retrieval and answers measured through the public API, on collections with known relevant documents."""
