"""How far a long command is: a bar on a terminal; elsewhere, in a log perhaps, a line on standard error now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ragfleet.console import output
from ragfleet.display import clip

EVERY_S = 15.0
"""Between two lines; what ends earlier says nothing."""
Advance = Callable[[int, int, str], None]
"""Called with what is done, all there is to do, and what it is."""


@contextmanager
def shown(begin: str, *, quiet: bool, transient: bool = False) -> Iterator[Advance]:
    """begin: what it is before the first call. quiet: nothing is shown. transient: the bar goes when it has ended."""
    console = output()
    if not quiet and not console.is_terminal:
        yield lines(Console(stderr=True, highlight=False, soft_wrap=True))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=transient, disable=quiet) as progress:
        task = progress.add_task(escape(begin), total=None)

        def advance(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=escape(clip(what, 40)))

        yield advance


def lines(console: Console, *, clock: Callable[[], float] = time.monotonic) -> Advance:
    """A line of each call that comes EVERY_S after the one before."""
    started = last = clock()

    def advance(done: int, total: int, what: str) -> None:
        nonlocal last
        now = clock()
        if now - last >= EVERY_S:
            last = now
            console.print(f"{escape(clip(what, 40))}: {done} of {total} after {now - started:.0f} s")

    return advance
