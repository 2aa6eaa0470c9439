"""`make test-alerts`: the alerts that operators have, seen to fire and to stop by faults of a real fleet."""
