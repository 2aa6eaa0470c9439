"""Proof by breaking: real Tritons are killed, stopped and restarted under load; no accepted request may fail."""
