"""What this project claims about a GPU, shown on one: `make gpu-check` (docs/gpu.md)."""
