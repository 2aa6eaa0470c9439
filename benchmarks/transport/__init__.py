"""What it costs the reader to take one token from Triton, by transport."""
