"""`ragfleet setup` and `doctor`: what this machine must have."""

import json
import sys
from dataclasses import asdict

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from ragfleet import doctor
from ragfleet.console import Exit, Json, fail, output
from ragfleet.paths import cache_folder, home_from_environment
from ragfleet.prepare import PrepareError, prepare


def setup() -> None:
    """Get Consul, the model and its tokenizer. What is there already is skipped."""
    prepare_machine()


def prepare_machine() -> None:
    """`setup`, for the commands that need what it gets. Raises typer.Exit where something cannot be had."""
    console = output()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("downloading", total=None, visible=False)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total or None, visible=True)

        try:
            prepare(home_from_environment(), cache_folder(), lambda line: console.print(escape(line)), advance)
        except PrepareError as error:
            raise fail(str(error), Exit.MISSING) from None


def examine(*, as_json: Json = False) -> None:
    """Name each missing prerequisite, and how to get it."""
    findings = doctor.examine(home_from_environment())
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    else:
        console = output()
        for finding in findings:
            mark = "[green]ok     [/green]" if finding.ok else "[red]missing[/red]"
            console.print(f"{mark}  {finding.name:10} {escape(finding.detail)}")
            if not finding.ok:
                console.print(f"         [yellow]{escape(finding.remedy)}[/yellow]")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(Exit.MISSING)
