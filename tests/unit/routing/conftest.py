"""Makes `small_fleet` importable."""
