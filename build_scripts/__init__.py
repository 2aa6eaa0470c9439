"""What is made before anything is served: model files that Triton's models read."""
