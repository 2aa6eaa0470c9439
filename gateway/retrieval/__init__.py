"""What to search for, and what was found: requests, passages, searches, embeddings, the prompt with its passages."""
