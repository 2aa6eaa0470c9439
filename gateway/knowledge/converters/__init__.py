"""Files become documents: one module for each family of formats; gateway/knowledge/conversion.py chooses."""
