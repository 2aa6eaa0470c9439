"""Texts to unit vectors."""

from embedding_encoder.encoder import Encoder, EncoderSettings

__all__ = ["Encoder", "EncoderSettings"]
