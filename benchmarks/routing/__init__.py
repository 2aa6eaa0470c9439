"""The fleet simulator: the gateway's own placement against its peers', on the same traces. `python -m benchmarks.routing`."""
