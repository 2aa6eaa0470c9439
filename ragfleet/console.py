"""What every command shares: the two streams, the exit statuses, the way to fail."""

import json
import sys
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

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, errors too.")]
Store = Annotated[str, typer.Option(metavar="NAME", help="The knowledge store.")]
DEFAULT_STORE = "default"


def output() -> Console:
    """Standard output, for what was asked for."""
    return Console(highlight=False, soft_wrap=True)


def fail(message: str, code: Exit = Exit.FAILED) -> typer.Exit:
    """Prints why, on standard error, and with `--json` on standard output, too; raise what it returns."""
    complain(message)
    print_error(message, code)
    return typer.Exit(code)


def complain(message: str) -> None:
    """Prints why, on standard error alone."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]{escape(message)}[/red]")


def print_error(message: str, code: Exit) -> None:
    """With `--json`: the error in one line, {"error": {"code": "not_running", "message": "…"}}."""
    if "--json" not in sys.argv[1:]:
        return
    error = {"code": code.name.lower(), "message": message.strip()}
    sys.stdout.write(json.dumps({"error": error}, ensure_ascii=False) + "\n")
