"""Another instance, please: who is left out, when it is enough, and what the client is told."""

from typing import Any

import pytest

from gateway.dispatch.attempts import Attempts
from gateway.errors import GenerationFailed, Overloaded, RagfleetError, Unavailable
from gateway.fleet.view import Instance
from gateway.triton.errors import Cause, InstanceError


class Placed:
    """A dispatch to an instance, as far as attempts use it."""

    reason = "fewest requests"
    placed_at = 0.0
    first_token_at = None

    def __init__(self, name: str) -> None:
        self.instance = Instance(name, "127.0.0.1", 1, 2, 3, "m")
        self.errors: list[InstanceError] = []

    def failed(self, error: InstanceError) -> None:
        self.errors.append(error)


def failing(*causes: Cause, limit: int = 3) -> Attempts:
    attempts = Attempts(limit)
    for number, cause in enumerate(causes):
        dispatch: Any = Placed(f"t-{number}")
        attempts.fail(dispatch, InstanceError(cause, f"{cause}!"), tokens=number)
        assert dispatch.errors, "the dispatch is given back"
    return attempts


def test_who_failed_is_left_out_until_all_are_forgiven() -> None:
    attempts = failing(Cause.RESET, Cause.STALL)
    assert attempts.failed == {"t-0", "t-1"}
    attempts.forgive()
    assert attempts.failed == frozenset()


def test_an_instance_that_drains_has_not_failed_us() -> None:
    attempts = failing(Cause.DRAIN, Cause.RESET, Cause.DRAIN, limit=2)
    assert (attempts.failures, attempts.exhausted) == (1, False)
    assert failing(Cause.RESET, Cause.DRAIN, Cause.STALL, limit=2).exhausted


def test_each_attempt_tells_where_how_far_why_it_ended_and_why_there() -> None:
    attempts = failing(Cause.RESET)
    last: Any = Placed("t-9")
    attempts.end(last, tokens=7)
    told = [(a.instance, a.tokens, a.cause, a.placement) for a in attempts.trail]
    assert told == [("t-0", 0, "reset", "fewest requests"), ("t-9", 7, "end", "fewest requests")]
    assert attempts.story() == "Attempts: t-0 (0 tokens, reset), t-9 (7 tokens, end)."


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (Cause.BUSY, Overloaded, "Every instance's queue is full."),
        (Cause.CONNECT, Unavailable, "No instance can be reached."),
        (Cause.STALL, GenerationFailed, "Every attempt failed, the last with: stall!."),
    ],
)
def test_the_last_failure_says_what_the_client_is_told(cause: Cause, kind: type[RagfleetError], words: str) -> None:
    error = failing(Cause.RESET, cause).error()
    assert type(error) is kind
    assert error.message.startswith(words)
    assert "t-0 (0 tokens, reset)" in error.message
