"""`ragfleet audit`: what administrators did."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ragfleet.administration import inspect_trail
from ragfleet.commands.tenants import print_json
from ragfleet.console import Json, output


def show_audit(
    *,
    limit: Annotated[int, typer.Option("--lines", "-n", min=1, max=10_000, help="How many, the newest.")] = 100,
    as_json: Json = False,
) -> None:
    """List what was done to tenants and keys, by whom and when, the newest first."""
    found = inspect_trail(lambda administration: administration.trail.list(limit=limit))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("when", "who", "what", "which", "changed"):
        table.add_column(column, no_wrap=column != "changed")
    for each in found:
        before, after = each.before or {}, each.after or {}
        changed = ", ".join(
            f"{name}: {before.get(name)} → {after[name]}" for name in after if after[name] != before.get(name)
        )
        when = datetime.fromtimestamp(each.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(when, escape(each.actor), each.act, escape(each.subject), escape(changed) if each.before else "")
    output().print(table)
