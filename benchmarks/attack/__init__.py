"""What a hostile client does to a fleet, and what everybody else notices of it."""
