"""`ragfleet assistant`: which assistants the fleet has, and one question to one of them."""

import json
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from assistants.profile import describe, shipped
from ragfleet.client import connect, told
from ragfleet.commands.fleet import running_fleet
from ragfleet.commands.knowledge import put
from ragfleet.console import Exit, Json, fail, output

PREFIX = "assistant:"
Name = Annotated[str, typer.Argument(metavar="NAME", help="The assistant; `ragfleet assistant list` has them.")]


def list_assistants(*, as_json: Json = False) -> None:
    """List the assistants that this fleet's key can ask."""
    _, seen = running_fleet()
    with closing(connect(seen.gateway_url, seen.api_key)) as client:
        names = [each.id for each in told(client.models.list) if each.id.startswith(PREFIX)]
    known = {f"{PREFIX}{name}": describe(profile) for name, profile in shipped().items()}
    found = [{"model": name, "description": known.get(name, {}).get("description", "")} for name in names]
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("model", "description"):
        table.add_column(column, no_wrap=column == "model")
    for each in found:
        table.add_row(escape(each["model"]), escape(each["description"]))
    output().print(table)


def try_assistant(
    name: Name,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="Without it: the profile's example.")] = "",
    *,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of the answer, at the most.")] = 512,
    as_json: Json = False,
) -> None:
    """Ask an assistant one question, and show its answer as it comes."""
    _, seen = running_fleet()
    name = name.removeprefix(PREFIX)
    profile = shipped().get(name)
    question = question or ("" if profile is None else profile.example)
    if not question:
        raise fail(f"Say what '{name}' is to be asked: ragfleet assistant try {name} QUESTION", Exit.USAGE)
    if not as_json:
        output().print(f"[bold]{escape(question)}[/bold]\n")
    put(seen, question, store=None, model=f"{PREFIX}{name}", max_tokens=max_tokens, as_json=as_json)


COMMANDS: dict[str, Callable[..., None]] = {"list": list_assistants, "try": try_assistant}
