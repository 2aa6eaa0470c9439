"""Placement: which instance serves a request. No I/O; time and randomness come in as arguments.

placer = Placer(policies.build("predicted_ttft", rng), clock=time.monotonic, rng=rng)
placer.update(view)                                     # membership or load changed
ticket = placer.place(job, exclude=names_that_failed)   # charged at once; NoInstance says why not
try:
    ticket.first_token(now); ticket.tokens(n)
finally:
    ticket.release(outcome)                             # idempotent, on every path
"""

from gateway.routing import policies
from gateway.routing.placer import Placer
from gateway.routing.ticket import ContextTicket, Ticket
from gateway.routing.types import Choice, NoInstance, PlacementRequest, TicketOutcome, Why

__all__ = [
    "Choice",
    "ContextTicket",
    "NoInstance",
    "PlacementRequest",
    "Placer",
    "Ticket",
    "TicketOutcome",
    "Why",
    "policies",
]
