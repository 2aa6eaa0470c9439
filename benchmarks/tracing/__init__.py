"""`make bench-tracing`: what traces cost a gateway."""
