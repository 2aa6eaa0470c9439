"""`ragfleet rollout`: try a version or an engine on part of the traffic; the gateways judge it (docs/production.md)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ragfleet.administration import inspect_trail, user
from ragfleet.commands.tenants import print_json
from ragfleet.console import Exit, Json, fail, output

if TYPE_CHECKING:
    from gateway.knowledge.catalog.rollouts import Rollouts
    from gateway.rollouts.rollout import Rollout


def start(
    candidate: Annotated[str, typer.Argument(help="The version or engine, as its instances are registered.")],
    *,
    share: Annotated[str, typer.Option(help="Of the requests: 5% or 0.05, half of them at the most.")] = "5%",
    tenants: Annotated[str, typer.Option(help="Only the requests of these tenants, with commas between.")] = "",
    false_roll_back: Annotated[
        float, typer.Option(min=1e-9, max=0.5, help="Chance to roll a good one back for being worse, at the most.")
    ] = 0.01,
    false_promotion: Annotated[
        float,
        typer.Option(min=1e-9, max=0.5, help="Chance to find good what is worse by the stated step, at the most."),
    ] = 0.05,
    may_differ: Annotated[
        str, typer.Option(help="Greedy answers that may have other tokens, as a share: another quantization needs it.")
    ] = "0%",
    requests: Annotated[
        int, typer.Option(min=1, help="No promotion before the candidate has had so many requests.")
    ] = 200,
    as_json: Json = False,
) -> None:
    """Send a share of the requests to it; promote it or roll it back by what is seen."""
    from gateway.rollouts.judge import JudgeOptions

    options = JudgeOptions(
        false_roll_back=false_roll_back,
        false_promotion=false_promotion,
        may_differ=_share(may_differ),
        least_requests=requests,
    )
    names = frozenset(name for part in tenants.split(",") if (name := part.strip()))
    _do(
        lambda rollouts: rollouts.start(candidate, share=_share(share), tenants=names, options=options, actor=user()),
        as_json=as_json,
    )


def status(*, as_json: Json = False) -> None:
    """Show the newest one, and what its judge knows."""
    _do(lambda rollouts: rollouts.newest(), as_json=as_json)


def promote(*, as_json: Json = False) -> None:
    """Place it like every other version, whatever the judge says; one that was rolled back, too."""
    from gateway.rollouts.rollout import RolloutState

    _do(lambda rollouts: rollouts.end(RolloutState.PROMOTED, actor=user()), as_json=as_json)


def abort(*, as_json: Json = False) -> None:
    """Give it no more requests."""
    from gateway.rollouts.rollout import RolloutState

    _do(lambda rollouts: rollouts.end(RolloutState.ABORTED, actor=user()), as_json=as_json)


def _do(work: "Callable[[Rollouts], Awaitable[Rollout | None]]", *, as_json: bool) -> None:
    from gateway.knowledge.catalog.rollouts import Rollouts
    from gateway.rollouts.rollout import describe

    found = inspect_trail(lambda administration: work(Rollouts(administration.database, administration.trail)))
    if as_json:
        print_json(None if found is None else describe(found))
    elif found is None:
        output().print("There never was a roll-out. Begin one with: ragfleet rollout start VERSION")
    else:
        _print(found)


def _print(rollout: "Rollout") -> None:
    from gateway.rollouts.rollout import describe

    told = describe(rollout)
    out = output()
    of = f" of {', '.join(told['tenants'])}" if told["tenants"] else ""
    began = datetime.fromtimestamp(rollout.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    out.print(
        f"[bold]{escape(rollout.candidate)}[/bold]  {rollout.state.value}  "
        f"({rollout.share:.1%} of the requests{escape(of)}, since {began})"
    )
    out.print(escape(told["reason"]))
    table = Table(box=None, pad_edge=False)
    for column in ("measure", "worse", "good", "seen"):
        table.add_column(column, no_wrap=column != "seen")
    for measure in told["measures"]:
        worse, good = (f"{max(0.0, min(measure[name], 1.0)):.0%}" for name in ("worse", "good"))
        table.add_row(measure["name"], worse, good, escape(measure["seen"]))
    out.print(table)
    out.print("worse: evidence that it is, of what rolls it back; good: that it is not, of what promotes it.")


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise fail(f"'{text}' is no share: write 5% or 0.05.", Exit.USAGE) from None


COMMANDS: dict[str, Callable[..., None]] = {"start": start, "status": status, "promote": promote, "abort": abort}
