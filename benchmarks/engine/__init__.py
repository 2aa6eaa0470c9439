"""What the way through gateway and Triton costs in tokens per second, against the bare engine."""
