"""`ragfleet settings`: what can be set from outside, and what is."""

import json
import sys
from dataclasses import asdict

from rich.markup import escape

from ragfleet.console import Json, output


def show_settings(*, as_json: Json = False) -> None:
    """List every setting: its variable, default, unit and meaning, and what the environment says now."""
    from ragfleet.settings import all_settings

    found = all_settings()
    if as_json:
        rows = [{**asdict(each), "value": each.value} for each in found]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    out, part = output(), ""
    for each in found:
        if each.part != part:
            part = each.part
            out.print(f"\n[bold]{part}[/bold]")
        default = " ".join(filter(None, (each.default, each.unit))) or "–"
        now = f"  [green]now: {escape(each.value)}[/green]" if each.value else ""
        out.print(f"[bold]{escape(each.name)}[/bold]  {escape(default)}{now}")
        out.print(f"    {escape(each.meaning)}")
