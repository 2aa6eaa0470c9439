"""`ragfleet up`, `down`, `scale`, `status`, `logs`: the processes."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ragfleet import launch, shutdown, status, supervisor, usage
from ragfleet.console import Exit, Json, complain, fail, output
from ragfleet.display import StepsDisplay, clip
from ragfleet.fleet_spec import MAX_GATEWAYS, MAX_INSTANCES, MAX_PORT_BASE, OPTIONAL_PARTS, FleetSpec
from ragfleet.launch import NotRunningError, NotStartableError, StartFailedError
from ragfleet.paths import Home, data_folder, home_from_environment
from ragfleet.status import FleetStatus
from ragfleet.watch import follow


def up(
    *,
    instances: Annotated[int, typer.Option(min=1, max=MAX_INSTANCES, help="How many Tritons.")] = 2,
    gateways: Annotated[
        int, typer.Option(min=1, max=MAX_GATEWAYS, help="How many gateways, on ports of their own, on one catalog.")
    ] = 1,
    llm: Annotated[str, typer.Option(metavar="FLAVOUR", help="A configs/FLAVOUR.pbtxt of llm, e.g. simulated.")] = "",
    port_base: Annotated[
        int | None, typer.Option(min=1024, max=MAX_PORT_BASE, help="Move every port to a range that starts here.")
    ] = None,
    model_repository: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the models to serve; without it Ragfleet's own.", exists=True, file_okay=False
        ),
    ] = None,
    milvus_uri: Annotated[
        str,
        typer.Option(
            envvar="MILVUS_URI", help="The address of a Milvus that runs already; without it Milvus Lite is started."
        ),
    ] = "",
    without: Annotated[
        list[str] | None, typer.Option(help=f"Do not start this part: {', '.join(OPTIONAL_PARTS)}.")
    ] = None,
) -> None:
    """Start the fleet in the background, and return when all of it serves."""
    if unknown := set(without or ()) - set(OPTIONAL_PARTS):
        raise typer.BadParameter(
            f"{', '.join(unknown)}: choose from {', '.join(OPTIONAL_PARTS)}", param_hint="--without"
        )
    wanted = FleetSpec(
        instances=instances,
        gateways=gateways,
        flavour=llm,
        port_base=port_base,
        model_repository=str((model_repository or data_folder("model_repository")).resolve()),
        milvus_uri=milvus_uri,
        without=list(without or ()),
    )
    bring_up(home_from_environment(), wanted)


def bring_up(home: Home, wanted: FleetSpec) -> FleetStatus:
    """`up`, for the commands that need a fleet. Raises typer.Exit where there will be none; nothing is left then."""
    out = output()
    with launch.alone(home, out.print):
        if supervisor.running(home):
            out.print("The fleet is running already. See: ragfleet status")
            return status.gather(home)
        seen = _started(home, wanted)
    serving = "   ".join(f"{each.url}/v1" for each in seen.gateways) or f"{seen.gateway_url}/v1"
    out.print(f"The fleet serves: {serving}   Consul's UI: {seen.consul_url}/ui")
    return seen


def _started(home: Home, wanted: FleetSpec) -> FleetStatus:
    try:
        pid = launch.start(home, wanted)
    except NotStartableError as error:
        raise fail(str(error), Exit.MISSING) from None
    try:
        with StepsDisplay(output()) as display:
            return launch.wait(home, display.show, pid=pid)
    except StartFailedError as error:
        shutdown.stop(home)
        err = Console(stderr=True, highlight=False, soft_wrap=True)
        err.print(f"[red]{escape(str(error))}[/red]\n\nThe last lines of {escape(str(error.log))}:")
        err.print(escape(launch.tail(error.log)))
        raise typer.Exit(Exit.FAILED) from None
    except KeyboardInterrupt:
        shutdown.stop(home)
        raise fail("Interrupted. What had been started was stopped again.") from None


def down() -> None:
    """Stop every process of the fleet, whatever state it is in. Nothing to stop is fine."""
    try:
        killed = shutdown.stop(home_from_environment())
    except TimeoutError as error:
        raise fail(str(error)) from None
    output().print("The fleet is stopped." + (f" Killed: {', '.join(killed)}." if killed else ""))


def scale(
    instances: Annotated[int, typer.Argument(min=1, max=MAX_INSTANCES, help="How many Tritons from now on.")],
) -> None:
    """Start more instances, or drain the ones that are too many, while the others serve."""
    home, out = home_from_environment(), output()
    try:
        pid = launch.scale(home, instances)
        with StepsDisplay(out) as display:
            launch.wait(home, display.show, pid=pid, first_start=False)
    except NotRunningError as error:
        raise fail(str(error), Exit.NOT_RUNNING) from None
    except NotStartableError as error:
        raise fail(str(error), Exit.MISSING) from None
    except StartFailedError as error:
        raise fail(f"{error}. Its log: {error.log}") from None
    out.print(f"{instances} instance{'s serve' if instances > 1 else ' serves'}.")


def show_status(
    *,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C, once a second.")] = False,
    over: Annotated[
        float, typer.Option("--usage", metavar="SECONDS", min=0, max=600, help="Also measure CPU and memory by part.")
    ] = 0.0,
) -> None:
    """Show every part and every instance."""
    home = home_from_environment()
    if watch:
        follow(home, output())
        return
    seen = status.gather(home)
    if as_json:
        used = {name: asdict(each) for name, each in usage.measure(home.root, over).items()} if over else {}
        sys.stdout.write(json.dumps(seen.as_json() | ({"usage": used} if over else {}), indent=1) + "\n")
    elif seen.running:
        _print_status(seen)
        if over:
            _print_usage(usage.measure(home.root, over), over)
    if not seen.running:
        left = " Some of its processes still run; 'ragfleet down' ends them." if seen.instances else ""
        complain(f"The fleet is not running.{left} Start it with: ragfleet up")  # JSON has said so already
        raise typer.Exit(Exit.NOT_RUNNING)


def logs(
    part: Annotated[str, typer.Argument(help="consul, milvus, gateway, supervisor, triton-0, triton-0.worker, …")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 100,
) -> None:
    """Print the last lines of a part's log; without a part, name the logs there are."""
    home = home_from_environment()
    known = {path.stem: path for path in sorted(home.log.glob("*.log"))}
    if not part:
        if not known:
            output().print(f"There are no logs in {escape(str(home.log))} yet.")
        for name, path in known.items():
            output().print(f"{name:20} {path}")
    elif part in known:
        sys.stdout.write(launch.tail(known[part], lines) + "\n")
    else:
        raise fail(f"There is no log of '{part}'. There are: {', '.join(known) or 'none yet'}.", Exit.USAGE)


def running_fleet() -> tuple[Home, FleetStatus]:
    """The fleet, for commands that use it. Raises typer.Exit where it does not run."""
    home = home_from_environment()
    seen = status.gather(home)
    if not seen.running:
        raise fail("The fleet is not running. Start it with: ragfleet up", Exit.NOT_RUNNING)
    return home, seen


def _print_status(seen: FleetStatus) -> None:
    out = output()
    table = Table(box=None, pad_edge=False)
    for column in ("part", "state", "pid", "restarts", "version", "ports", "says"):
        table.add_column(column, no_wrap=column != "says")
    instances = {entry.name for entry in seen.instances}
    ports = {each.name: each.url.rpartition(":")[2] for each in seen.gateways}
    for part in seen.parts:
        if part["name"] not in instances:
            says = escape(clip(part["reason"]))
            table.add_row(
                part["name"],
                part["state"],
                str(part["pid"]),
                str(part["restarts"]),
                "",
                ports.get(part["name"], ""),
                says,
            )
    for entry in seen.instances:
        three = f"{entry.http_port} {entry.grpc_port} {entry.metrics_port}"
        says = escape(clip(entry.reason))
        table.add_row(entry.name, entry.state, str(entry.pid), str(entry.restarts), entry.version, three, says)
    out.print(table)
    urls = [f"{each.url}/v1" for each in seen.gateways] or [f"{seen.gateway_url}/v1"]
    out.print(f"\nAPI     {'  '.join(urls)}\nkey     {seen.api_key}")
    out.print(f"Consul  {seen.consul_url}/ui\nMilvus  {seen.milvus_uri}")
    for wait in seen.waits:
        out.print(f"[yellow]{escape(wait)}[/yellow]")
    if not seen.ready:
        out.print(f"[yellow]Not ready: {escape('; '.join(seen.reasons) or 'still starting')}[/yellow]")


def _print_usage(used: Mapping[str, usage.Usage], seconds: float) -> None:
    table = Table(box=None, pad_edge=False, title=f"\nOver {seconds:g} s", title_justify="left")
    for column in ("part", "CPU", "memory", "processes"):
        table.add_column(column, no_wrap=True, justify="left" if column == "part" else "right")
    for name, each in used.items():
        table.add_row(
            name, f"{each.cpu_percent:.1f} %", f"{each.memory_bytes / (1 << 20):,.0f} MiB", str(each.processes)
        )
    output().print(table)
    output().print("CPU in percent of one core. Memory that processes share is divided among them.")
