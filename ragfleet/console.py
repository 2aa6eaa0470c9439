"""What every command shares: the two streams, the exit statuses, the way to fail."""

from enum import IntEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


class Exit(IntEnum):
    """The exit status of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    MISSING = 3
    NOT_RUNNING = 4


EPILOG = (
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 something is missing on this machine, 4 the fleet is not running."
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Store = Annotated[str, typer.Option(metavar="NAME", help="The knowledge store.")]
DEFAULT_STORE = "default"


def output() -> Console:
    """Standard output, for what was asked for."""
    return Console(highlight=False, soft_wrap=True)


def fail(message: str, code: Exit = Exit.FAILED) -> typer.Exit:
    """Prints why, on standard error; raise what it returns."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]{escape(message)}[/red]")
    return typer.Exit(code)
