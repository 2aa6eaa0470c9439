"""Files, vector stores and their members: the source of truth, in SQL."""
