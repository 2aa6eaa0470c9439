"""The node agent: runs one Triton, registers it in Consul, beats its heart, restarts and drains it."""
