"""How far a command is, where nobody looks at a terminal."""

from io import StringIO

import pytest
from rich.console import Console

from ragfleet.progress import lines, shown


def test_a_line_now_and_then_whatever_is_said() -> None:
    now, out = 0.0, StringIO()
    advance = lines(Console(file=out, highlight=False, soft_wrap=True), clock=lambda: now)
    for done in range(100):
        advance(done, 100, "[red] a/b.py")
        now += 1
    said = out.getvalue().splitlines()
    assert said[0] == "[red] a/b.py: 15 of 100 after 15 s"
    assert len(said) == 6


def test_what_ends_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        with shown("looking", quiet=quiet) as advance:
            advance(1, 2, "x")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")
