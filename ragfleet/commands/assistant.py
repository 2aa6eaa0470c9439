"""`ragfleet assistant`: which assistants the fleet has, one question to one of them, and how well they keep their rules."""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ragfleet.assistant_files import work_on_file
from ragfleet.client import connect, store_named, told
from ragfleet.commands.demo import DOCUMENTS
from ragfleet.commands.fleet import running_fleet
from ragfleet.commands.knowledge import CODE_STORE, put, sync_folders
from ragfleet.console import DEFAULT_STORE, Exit, Json, fail, output
from ragfleet.paths import PROJECT
from ragfleet.progress import Advance, shown
from ragfleet.repository import find_code
from ragfleet.status import FleetStatus

if TYPE_CHECKING:  # it loads OpenAI's client
    from ragfleet.evaluation.assistants.asking import AssistantResult

PREFIX = "assistant:"
MEASURED = ("data", "support", "content", "code")
MAX_MISSES = 10
"""Of one assistant that the terminal is told of."""
Name = Annotated[str, typer.Argument(metavar="NAME", help="The assistant; `ragfleet assistant list` has them.")]


def list_assistants(*, as_json: Json = False) -> None:
    """List the assistants that this fleet's key can ask."""
    _, seen = running_fleet()
    found = [{"model": name, "description": facts["description"]} for name, facts in _assistants(seen).items()]
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("model", "description"):
        table.add_column(column, no_wrap=column == "model")
    for each in found:
        table.add_row(escape(each["model"]), escape(each["description"]))
    output().print(table)


def _assistants(seen: FleetStatus) -> dict[str, dict[str, str]]:
    """Of the key's tenant, by their names as models: description and example, as the gateway has them."""
    with closing(connect(seen.gateway_url, seen.api_key)) as client:
        models = [each for each in told(client.models.list) if each.id.startswith(PREFIX)]
    facts = {each.id: (each.model_extra or {}).get("assistant") or {} for each in models}
    return {
        name: {what: str(each.get(what) or "") for what in ("description", "example")} for name, each in facts.items()
    }


def try_assistant(
    name: Name,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="Without it: the profile's example.")] = "",
    *,
    file: Annotated[
        Path | None, typer.Option(help="For `content`: a docx, Markdown, HTML or text that it works on.", exists=True)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the file goes that comes of it.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of the answer, at the most.")] = 512,
    as_json: Json = False,
) -> None:
    """Ask an assistant one question, and show its answer as it comes."""
    _, seen = running_fleet()
    name = name.removeprefix(PREFIX)
    if out is not None and file is None:
        raise fail("--out is for what comes of a --file.", Exit.USAGE)
    if file is not None:
        question = question or "Translate to German"
        target = out or file.with_stem(f"{file.stem}.out")
        told_of = work_on_file(seen, f"{PREFIX}{name}", question, file, target)
        sys.stdout.write(
            json.dumps(told_of, indent=1, ensure_ascii=False) + "\n" if as_json else told_of["text"] + "\n"
        )
        if not as_json:
            output().print(f"Written: [bold]{escape(str(target))}[/bold]")
        return
    if not question.strip() and (facts := _assistants(seen).get(f"{PREFIX}{name}")) is not None:
        question = facts["example"]
    if not question.strip():
        raise fail(f"Say what '{name}' is to be asked: ragfleet assistant try {name} QUESTION", Exit.USAGE)
    if not as_json:
        output().print(f"[bold]{escape(question)}[/bold]\n")
    put(seen, question, store=None, model=f"{PREFIX}{name}", max_tokens=max_tokens, as_json=as_json)


def evaluate_assistants(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]…", help=f"Of {', '.join(MEASURED)}; all without it.")
    ] = None,
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask only this many of each set, evenly spread.")] = None,
    questions: Annotated[
        Path | None,
        typer.Option(help="A CSV of public questions with gold SQL, in the form of defog-ai/sql-eval.", exists=True),
    ] = None,
    databases: Annotated[
        Path | None,
        typer.Option(help="What `ragfleet assistant databases` made for them.", exists=True, file_okay=False),
    ] = None,
    gold_only: Annotated[bool, typer.Option(help="Of public questions: what needs no model, and no fleet.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the shipped assistants on the sets of assistants/eval; brings in the example handbook first, and for `code` the
    repository of this project. With --questions and --databases the data assistant alone, on public questions."""
    if questions is not None or databases is not None or gold_only:
        if questions is None or databases is None:
            raise fail("Public questions need both --questions and --databases.", Exit.USAGE)
        _evaluate_public(questions, databases, limit, gold_only=gold_only, as_json=as_json)
        return
    chosen = tuple(names or MEASURED)
    if unknown := [name for name in chosen if name not in MEASURED]:
        raise fail(f"There is no set for {', '.join(unknown)}. Choose from: {', '.join(MEASURED)}.", Exit.USAGE)
    _, seen = running_fleet()
    if "support" in chosen:
        sync_folders(seen, [DOCUMENTS], DEFAULT_STORE, allow=None, quiet=as_json)
    if "code" in chosen:
        if not (PROJECT / "pyproject.toml").is_file():
            raise fail("The set for code is about this project's repository; run it in a checkout.", Exit.USAGE)
        sync_folders(seen, [PROJECT], CODE_STORE, allow=None, quiet=as_json, find=find_code)
    from ragfleet.evaluation.assistants.asking import OpenAIAssistants  # OpenAI's client takes a second to load
    from ragfleet.evaluation.assistants.code import evaluate_code
    from ragfleet.evaluation.assistants.content import evaluate_content
    from ragfleet.evaluation.assistants.data import evaluate_data
    from ragfleet.evaluation.assistants.support import evaluate_support

    code = partial(evaluate_code, repository=PROJECT, lookup=partial(_paths_found, seen))
    runs: dict[str, Callable[..., AssistantResult]] = {
        "data": evaluate_data,
        "support": evaluate_support,
        "content": evaluate_content,
        "code": code,
    }
    results, console = [], output()
    with closing(OpenAIAssistants(seen.gateway_url, seen.api_key)) as asked:
        for name in chosen:
            started = time.perf_counter()
            with shown(name, quiet=as_json, transient=True) as advance:

                def advance_it(done: int, total: int, name: str = name, advance: Advance = advance) -> None:
                    advance(done, total, name)

                result = runs[name](asked, limit, advance_it)
            results.append((result, time.perf_counter() - started))
            if not as_json:
                _print(console, result, results[-1][1])
    if as_json:
        found = {result.assistant: {**asdict(result), "seconds": round(taken, 1)} for result, taken in results}
        sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _evaluate_public(questions: Path, databases: Path, limit: int | None, *, gold_only: bool, as_json: bool) -> None:
    from ragfleet.evaluation.assistants.asking import OpenAIAssistants
    from ragfleet.evaluation.assistants.public_questions import QuestionsError, evaluate_public, kinds_refused

    started, asked = time.perf_counter(), None
    if not gold_only:
        _, seen = running_fleet()
        asked = OpenAIAssistants(seen.gateway_url, seen.api_key)
    try:
        with shown("public questions", quiet=as_json, transient=True) as advance:
            result = evaluate_public(
                asked, questions, databases, limit, lambda done, total: advance(done, total, "public questions")
            )
    except QuestionsError as error:
        raise fail(str(error), Exit.FAILED) from error
    finally:
        if asked is not None:
            asked.close()
    taken = time.perf_counter() - started
    if as_json:
        told = {**asdict(result), "seconds": round(taken, 1), "gold_refused": dict(kinds_refused(result.misses))}
        sys.stdout.write(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        return
    _print(output(), result, taken)


def make_databases(
    dumps: Annotated[
        Path, typer.Argument(metavar="DUMPS", help="A folder with NAME.sql or NAME/NAME.sql.", exists=True)
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Where databases and profiles go; RAGFLEET_ASSISTANTS_DIR.")
    ],
    *,
    sqlite: Annotated[bool, typer.Option("--sqlite", help="SQLite files in place of DuckDB's.")] = False,
) -> None:
    """Make databases out of dumps of PostgreSQL, and a profile for each that asks it: `assistant:public-NAME`."""
    from ragfleet.evaluation.assistants.dumps import DumpError, assistant_name, dumps_in, join_hints, load_dump

    found = dumps_in(dumps)
    if not found:
        raise fail(f"There is no dump in {dumps}.", Exit.USAGE)
    try:
        hints = join_hints(dumps)
    except DumpError as error:
        raise fail(str(error), Exit.FAILED) from error
    made = 0
    for name, path in found.items():
        try:
            loaded = load_dump(path, out, "sqlite" if sqlite else "duckdb", hints.get(name, ()))
        except DumpError as error:
            output().print(f"skipped: {escape(str(error))}")
            continue
        made += 1
        output().print(f"{PREFIX}{assistant_name(name)}: {loaded.tables} tables, {loaded.rows} rows")
        for line in loaded.skipped:
            output().print(f"  skipped: {escape(line)}")
    if not made:
        raise fail("No database was made.", Exit.FAILED)
    output().print(f"Start the fleet with RAGFLEET_ASSISTANTS_DIR={escape(str(out.resolve()))}", soft_wrap=True)


def _paths_found(seen: FleetStatus, name: str) -> list[str]:
    """What a search for a name finds in the store of source code, the best first."""
    with closing(connect(seen.gateway_url, seen.api_key)) as client:
        store = told(store_named, client, CODE_STORE)
        page = told(client.vector_stores.search, store, query=name, max_num_results=5)
        return [str((each.attributes or {}).get("path")) for each in page.data]


def _print(console: Console, result: "AssistantResult", seconds: float) -> None:
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    table = Table(title=f"{result.assistant}: {seconds:.0f} s, {load}", title_justify="left", box=None)
    for column in ("measure", "held", "of", "share"):
        table.add_column(column, justify="left" if column == "measure" else "right", no_wrap=True)
    for each in result.measures:
        share = f"{each.good / each.of:.3f}" if each.of else "–"
        table.add_row(escape(each.what), str(each.good), str(each.of), share)
    console.print(table)
    for miss in result.misses[:MAX_MISSES]:
        console.print(f"  [dim]{escape(' '.join(miss.split()))}[/dim]")
    if len(result.misses) > MAX_MISSES:
        console.print(f"  [dim]{len(result.misses) - MAX_MISSES} more like these; --json lists them all.[/dim]")


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_assistants,
    "try": try_assistant,
    "eval": evaluate_assistants,
    "databases": make_databases,
}
