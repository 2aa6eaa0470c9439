"""Which processes belong to a fleet."""

import os
from pathlib import Path

import pytest

from ragfleet import processes
from ragfleet.processes import is_marked

HOME = Path("/state/var")


@pytest.mark.parametrize(
    ("environment", "belongs"),
    [
        ({"RAGFLEET_HOME": "/state/var", "RAGFLEET_PART": "consul"}, True),
        ({"RAGFLEET_HOME": "/state/var"}, False),
        ({"RAGFLEET_HOME": "/state/var2", "RAGFLEET_PART": "consul"}, False),
        ({"RAGFLEET_PART": "consul"}, False),
        ({}, False),
    ],
)
def test_both_marks_make_a_member(environment: dict[str, str], *, belongs: bool) -> None:
    assert is_marked(environment, HOME) is belongs


def test_this_process_is_alive_and_no_process_is_not() -> None:
    assert processes.alive(os.getpid())
    assert not processes.alive(0)
    assert not processes.alive(2**22 + 1)


def test_long_command_lines_are_shortened() -> None:
    assert processes.shorten(["python", "x" * 100]) == f"python {'x' * 52}…"
    assert processes.shorten(["a", "b"]) == "a b"
