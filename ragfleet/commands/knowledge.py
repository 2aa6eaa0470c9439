"""`ragfleet ingest` and `ask`: documents in, cited answers out."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ragfleet import question
from ragfleet.commands.fleet import running_fleet
from ragfleet.console import DEFAULT_STORE, Exit, Json, Store, fail, output
from ragfleet.display import clip
from ragfleet.folder_sync import SyncError, SyncReport, sync
from ragfleet.local_files import Find, find_files, look
from ragfleet.progress import shown
from ragfleet.question import AskError, CitedAnswer
from ragfleet.repository import RepositoryError, find_code
from ragfleet.status import FleetStatus

WATCH_SECONDS = 1.0
"""Between two looks at the folders."""
CODE_STORE = "code"
"""Where source code goes that is for no other store; the assistant `code` answers from it."""
MAX_NAMED = 5
"""Files that are named with a reason why they were skipped."""
MAX_LACKS = 20
"""Parts that were not read of which the terminal is told."""


def _existing(given: str) -> Path:
    """An empty one is an empty variable of a shell's, and not the folder that it happens to be in."""
    if not given:
        raise typer.BadParameter("A path is empty.")
    if not os.path.lexists(given):
        raise typer.BadParameter(f"Path '{given}' does not exist.")
    return Path(given)


def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, or folders of files.", parser=_existing)],
    *,
    store: Store = DEFAULT_STORE,
    allow: Annotated[
        str | None,
        typer.Option(
            "--allow",
            metavar="GROUPS",
            help="Who may see these files: groups between commas, beside keys that see everything. "
            "Without it, files that were there keep their groups, and new ones are for all of the tenant.",
        ),
    ] = None,
    code: Annotated[
        bool,
        typer.Option(
            "--code",
            help="The paths are repositories: what git has of them goes in, cut at definitions, without binary, vendored and "
            f"generated files. The store is '{CODE_STORE}' if none is named.",
        ),
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and follow every change until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Make a knowledge store hold what the folders hold: new and changed files go in, removed ones leave."""
    if watch and as_json:
        raise fail("--watch and --json cannot be used together. Give one of them.", Exit.USAGE)
    groups = None if allow is None else sorted({name for each in allow.split(",") if (name := each.strip())})
    _, seen = running_fleet()
    if code and store == DEFAULT_STORE:
        store = CODE_STORE
    find = find_code if code else find_files
    if watch:
        follow(seen, paths, store, groups, find)
    else:
        bring_in(seen, paths, store, allow=groups, quiet=as_json, find=find)


def bring_in(
    seen: FleetStatus,
    paths: Sequence[Path],
    store: str,
    *,
    allow: Sequence[str] | None = None,
    quiet: bool = False,
    find: Find = find_files,
) -> None:
    """Ingests with a progress bar and a summary; with `quiet`, prints the report as JSON instead."""
    report = sync_folders(seen, paths, store, allow, quiet=quiet, find=find)
    if quiet:
        sys.stdout.write(json.dumps({**asdict(report), "files": report.files}, indent=1) + "\n")
    else:
        _tell(report)
    if report.failed:
        raise typer.Exit(Exit.FAILED)


def follow(
    seen: FleetStatus, paths: Sequence[Path], store: str, allow: Sequence[str] | None, find: Find = find_files
) -> None:
    """Ingests again whenever something has changed and then kept still for one look, until interrupted."""
    done: Mapping[tuple[str, str], tuple[int, int]] | None = None
    last, steady = look(paths, find), True
    try:
        while True:
            if steady and last != done:
                _tell(sync_folders(seen, paths, store, allow, quiet=False, find=find))
                done = last
            time.sleep(WATCH_SECONDS)
            now = look(paths, find)
            last, steady = now, now == last  # not steady: a file is still being written
    except KeyboardInterrupt:
        output().print("\nNo longer watching.")


def sync_folders(
    seen: FleetStatus,
    paths: Sequence[Path],
    store: str,
    allow: Sequence[str] | None,
    *,
    quiet: bool,
    find: Find = find_files,
) -> SyncReport:
    """Makes the store hold what the folders hold. Ends the program where that cannot be."""
    from ragfleet.client import GatewayError  # OpenAI's client takes a second to load
    from ragfleet.vector_store import GatewayStore

    with shown("looking", quiet=quiet) as advance:
        try:
            with closing(GatewayStore(seen.gateway_url, seen.api_key, store)) as target:
                return sync(target, store, paths, advance, allow=allow, find=find)
        except (SyncError, RepositoryError, GatewayError) as error:
            raise fail(f"Nothing more was ingested: {error}") from None
        except KeyboardInterrupt:
            raise fail("\nInterrupted. Files that were already sent are still ingested.") from None


def _tell(report: SyncReport) -> None:
    console = output()
    console.print(
        f"Store '{escape(report.store)}': {len(report.added)} added, {len(report.changed)} changed,"
        f" {len(report.removed)} removed, {len(report.unchanged)} unchanged, {len(report.failed)} failed."
    )
    read = [f"{report.total(what):,} {what}" for what in ("pages", "rows", "characters") if report.total(what)]
    if read:
        console.print(f"Read: {', '.join(read)}.")
    lacks = [f"{receipt.name}: not all was read. {lack}" for receipt in report.receipts for lack in receipt.lacks]
    for lack in lacks[:MAX_LACKS]:
        console.print(f"[yellow]{escape(lack)}[/yellow]")
    if len(lacks) > MAX_LACKS:
        console.print(f"[yellow]{len(lacks) - MAX_LACKS} more like these; --json lists them all.[/yellow]")
    for reason in sorted(set(report.skipped.values())):
        passed = [path for path, why in report.skipped.items() if why == reason]
        more = f" and {len(passed) - MAX_NAMED} more (--json lists them all)" if len(passed) > MAX_NAMED else ""
        console.print(f"[yellow]{escape(', '.join(passed[:MAX_NAMED]))}{more}: skipped, for {reason}[/yellow]")
    for failure in report.failed:
        console.print(f"[red]{escape(failure.name)}: {escape(failure.message)}[/red]")


def ask(
    text: Annotated[str, typer.Argument(metavar="QUESTION")],
    *,
    store: Store = DEFAULT_STORE,
    no_rag: Annotated[bool, typer.Option("--no-rag", help="Ask the bare model, without the knowledge base.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")] = 256,
    as_json: Json = False,
) -> None:
    """Ask a question; the answer is streamed, then its sources are listed."""
    _, seen = running_fleet()
    put(seen, text, store=None if no_rag else store, max_tokens=max_tokens, as_json=as_json)


def put(
    seen: FleetStatus, text: str, *, store: str | None, model: str = "", max_tokens: int = 256, as_json: bool = False
) -> CitedAnswer:
    """Asks and prints; returns the whole answer. store None: `model`, or the bare one."""
    answer = CitedAnswer()
    pieces = question.stream(
        seen.gateway_url, seen.api_key, text, store=store, model=model, max_tokens=max_tokens, answer=answer
    )
    try:
        for piece in pieces:
            if not as_json:
                sys.stdout.write(piece)
                sys.stdout.flush()
    except AskError as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        raise fail("\nInterrupted.") from None
    if as_json:
        body = {"answer": answer.text, "grounded": answer.grounded, "store": answer.store, "sources": answer.sources}
        body |= {"query": answer.query, "citations": answer.citations}
        extra = {"model": answer.model, "finish_reason": answer.finish_reason, "usage": answer.usage}
        sys.stdout.write(json.dumps({**body, **extra}, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n")
        _print_sources(output(), answer)
    return answer


def _print_sources(console: Console, answer: CitedAnswer) -> None:
    if answer.grounded is False:
        console.print("\n[yellow]Nothing in the knowledge base is about that.[/yellow]")
    cited = {citation["n"] for citation in answer.citations}
    for source in answer.sources:
        mark = "  [green]cited[/green]" if source["n"] in cited else ""
        console.print(f"\n\\[{source['n']}] [bold]{escape(_place(source))}[/bold]  score {source['score']:.2f}{mark}")
        console.print(f"    [dim]{escape(clip(' '.join(source['text'].split()), 160))}[/dim]")


def _place(source: Mapping[str, Any]) -> str:
    page = f", page {source['page']}" if source.get("page") else ""
    return f"{source['filename']}{page}, passage {source['index']}"
