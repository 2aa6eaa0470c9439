"""Who is asking."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant. The value travels with its request through every path."""

    name: str
    weight: float = 1.0
    """Share of the fleet's places under contention, relative to the others'."""
    priority: int = 0
    """Under contention a class gets 8 places for each one of the class below; none starves."""
