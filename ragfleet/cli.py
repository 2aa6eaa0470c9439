"""The command `ragfleet`: an embedded fleet up and down, its knowledge, its questions, its state.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 something is missing on this machine, 4 the fleet is not running.
"""

import json
import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ragfleet import launch, shutdown, status, supervisor
from ragfleet.display import StepsDisplay, clip
from ragfleet.home import PROJECT, home_from_environment
from ragfleet.launch import NotStartableError, StartFailedError
from ragfleet.plan import MAX_INSTANCES, OPTIONAL_PARTS, Plan


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
app = typer.Typer(
    help="An embedded fleet on one machine: Triton, Consul, Milvus Lite and the gateway.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def fail(message: str, code: Exit = Exit.FAILED) -> typer.Exit:
    """Prints why, on standard error; raise what it returns."""
    err.print(f"[red]{escape(message)}[/red]")
    return typer.Exit(code)


@app.command(epilog=EPILOG)
def up(
    *,
    instances: Annotated[int, typer.Option(min=1, max=MAX_INSTANCES, help="How many Tritons.")] = 2,
    llm: Annotated[str, typer.Option(metavar="FLAVOUR", help="A configs/FLAVOUR.pbtxt of llm, e.g. simulated.")] = "",
    port_base: Annotated[
        int | None, typer.Option(min=1024, max=64000, help="Move every port to a range that starts here.")
    ] = None,
    model_repository: Annotated[Path | None, typer.Option(help="Serve this repository.", exists=True)] = None,
    milvus_uri: Annotated[str, typer.Option(envvar="MILVUS_URI", help="A Milvus that runs already.")] = "",
    without: Annotated[
        list[str] | None, typer.Option(help=f"Do not start this part: {', '.join(OPTIONAL_PARTS)}.")
    ] = None,
) -> None:
    """Start the fleet in the background, and return when all of it serves."""
    home = home_from_environment()
    if unknown := set(without or ()) - set(OPTIONAL_PARTS):
        raise typer.BadParameter(
            f"{', '.join(unknown)}: choose from {', '.join(OPTIONAL_PARTS)}", param_hint="--without"
        )
    if supervisor.running(home):
        out.print("The fleet is running already. See: ragfleet status")
        return
    wanted = Plan(
        instances=instances,
        flavour=llm,
        port_base=port_base,
        model_repository=str((model_repository or PROJECT / "model_repository").resolve()),
        milvus_uri=milvus_uri,
        without=list(without or ()),
    )
    try:
        pid = launch.start(home, wanted)
    except NotStartableError as error:
        raise fail(str(error), Exit.MISSING) from None
    try:
        with StepsDisplay(out) as display:
            seen = launch.wait(home, display.show, pid=pid)
    except StartFailedError as error:
        err.print(f"[red]{escape(str(error))}[/red]\n\nThe last lines of {error.log}:")
        err.print(escape(launch.tail(error.log)))
        shutdown.stop(home)
        raise typer.Exit(Exit.FAILED) from None
    except KeyboardInterrupt:
        err.print("Interrupted; stopping what was started.")
        shutdown.stop(home)
        raise typer.Exit(Exit.FAILED) from None
    out.print(f"The fleet serves: {seen.gateway_url}/v1   Consul's UI: {seen.consul_url}/ui")


@app.command(epilog=EPILOG)
def down() -> None:
    """Stop every process of the fleet, whatever state it is in. Nothing to stop is fine."""
    home = home_from_environment()
    try:
        killed = shutdown.stop(home)
    except TimeoutError as error:
        raise fail(str(error)) from None
    out.print("The fleet is stopped." + (f" Killed: {', '.join(killed)}." if killed else ""))


@app.command(epilog=EPILOG)
def scale(
    instances: Annotated[int, typer.Argument(min=1, max=MAX_INSTANCES, help="How many Tritons from now on.")],
) -> None:
    """Start more instances, or drain the ones that are too many, while the others serve."""
    home = home_from_environment()
    try:
        pid = launch.scale(home, instances)
        with StepsDisplay(out) as display:
            launch.wait(home, display.show, pid=pid, first_ready=False)
    except NotStartableError as error:
        raise fail(str(error), Exit.NOT_RUNNING) from None
    except StartFailedError as error:
        raise fail(f"{error}. Its log: {error.log}") from None
    out.print(f"{instances} instance{'s' if instances > 1 else ''} serve.")


@app.command("status", epilog=EPILOG)
def show_status(as_json: Json = False) -> None:
    """Show every part and every instance."""
    seen = status.gather(home_from_environment())
    if as_json:
        sys.stdout.write(json.dumps(seen.as_json(), indent=1) + "\n")
    elif seen.running:
        _print_status(seen)
    if not seen.running:
        left = " Some of its processes still run; 'ragfleet down' ends them." if seen.instances else ""
        raise fail(f"The fleet is not running.{left} Start it with: ragfleet up", Exit.NOT_RUNNING)


@app.command(epilog=EPILOG)
def logs(
    part: Annotated[str, typer.Argument(help="consul, milvus, gateway, supervisor, triton-0, triton-0.worker, …")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 100,
) -> None:
    """Print the last lines of a part's log; without a part, name the logs there are."""
    home = home_from_environment()
    if not part:
        for path in sorted(home.log.glob("*.log")):
            out.print(f"{path.stem:20} {path}")
        return
    path = home.log_of(part)
    if path.parent != home.log or not path.is_file():
        known = ", ".join(sorted(found.stem for found in home.log.glob("*.log"))) or "none yet"
        raise fail(f"There is no log of '{part}'. There are: {known}.", Exit.USAGE)
    sys.stdout.write(launch.tail(path, lines) + "\n")


def _print_status(seen: status.FleetStatus) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("part", "state", "pid", "restarts", "ports", "says"):
        table.add_column(column, no_wrap=column != "says")
    for part in seen.parts:
        if not any(entry.name == part["name"] for entry in seen.instances):
            table.add_row(
                part["name"], part["state"], str(part["pid"]), str(part["restarts"]), "", clip(part["reason"])
            )
    for entry in seen.instances:
        ports = f"{entry.http_port} {entry.grpc_port} {entry.metrics_port}"
        table.add_row(entry.name, entry.state, str(entry.pid), str(entry.restarts), ports, clip(entry.reason))
    out.print(table)
    out.print(
        f"\nAPI     {seen.gateway_url}/v1\nkey     {seen.api_key}\nConsul  {seen.consul_url}/ui\nMilvus  {seen.milvus_uri}"
    )
    if not seen.ready:
        out.print(f"[yellow]Not ready: {escape('; '.join(seen.reasons) or 'still starting')}[/yellow]")


def main() -> None:
    """The entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
