"""Texts to unit vectors."""

from embedding_encoder.encoder import Encoder, Settings

__all__ = ["Encoder", "Settings"]
