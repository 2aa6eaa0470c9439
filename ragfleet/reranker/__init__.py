"""A small cross-encoder, trained from the embedding model's weights on questions made of free texts (docs/retrieval.md)."""
