"""`ragfleet tenant`: make tenants, look at them, change, suspend and resume them."""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ragfleet.administration import administer
from ragfleet.console import Json, output
from ragfleet.limit_options import with_limits

if TYPE_CHECKING:
    from gateway.knowledge.catalog.administration import Administrator
    from gateway.tenants.records import TenantRecord

Name = Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")]
Weight = Annotated[float | None, typer.Option(help="Share of the fleet under contention, relative to the others'.")]
Priority = Annotated[
    int | None, typer.Option(help="Under contention each class gets 8 places for one of the class below.")
]
Class = Annotated[str | None, typer.Option("--class", help="The class that instances can be kept for.")]


@with_limits
def create(
    name: Name,
    *,
    weight: Weight = None,
    priority: Priority = None,
    tenant_class: Class = None,
    limits: Mapping[str, int | None],
    as_json: Json = False,
) -> None:
    """Make a tenant. What is not said is not limited; its keys are made by `ragfleet key create`."""
    from gateway.knowledge.catalog.administration import TenantSettings

    wanted = TenantSettings(weight=weight, priority=priority, placement=tenant_class, limits=limits)
    _do(lambda administrator: administrator.create_tenant(name, wanted), as_json=as_json)


def list_tenants(*, as_json: Json = False) -> None:
    """List all tenants."""
    found = [each.describe() for each in administer(lambda administrator: administrator.tenants())]
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "weight", "priority", "class", "state", "limits"):
        table.add_column(column, no_wrap=column != "limits")
    for each in found:
        state = "suspended" if each["suspended"] else "active"
        limits = told_limits(each["limits"])
        table.add_row(each["name"], f"{each['weight']:g}", str(each["priority"]), each["class"], state, limits)
    output().print(table)


def show(name: Name, *, as_json: Json = False) -> None:
    """Show one tenant."""
    _do(lambda administrator: administrator.tenant(name), as_json=as_json)


@with_limits
def change(
    name: Name,
    *,
    weight: Weight = None,
    priority: Priority = None,
    tenant_class: Class = None,
    limits: Mapping[str, int | None],
    as_json: Json = False,
) -> None:
    """Change a tenant. What is not said stays as it is; `none` takes a limit away."""
    from gateway.knowledge.catalog.administration import TenantSettings

    wanted = TenantSettings(weight=weight, priority=priority, placement=tenant_class, limits=limits)
    _do(lambda administrator: administrator.change_tenant(name, wanted), as_json=as_json)


def suspend(name: Name, *, as_json: Json = False) -> None:
    """Let none of a tenant's keys in, until it is resumed. What it has stays."""
    _do(lambda administrator: administrator.suspend(name), as_json=as_json)


def resume(name: Name, *, as_json: Json = False) -> None:
    """Let a suspended tenant's keys in again."""
    _do(lambda administrator: administrator.resume(name), as_json=as_json)


def _do(work: "Callable[[Administrator], Awaitable[TenantRecord]]", *, as_json: bool) -> None:
    tenant = administer(work).describe()
    if as_json:
        print_json(tenant)
        return
    out = output()
    out.print(f"[bold]{escape(tenant['name'])}[/bold]{'  [yellow]suspended[/yellow]' if tenant['suspended'] else ''}")
    out.print(f"weight {tenant['weight']:g}, priority {tenant['priority']}, class {tenant['class'] or tenant['name']}")
    out.print(f"limits: {told_limits(tenant['limits'])}")


def told_limits(limits: Mapping[str, int | None]) -> str:
    """Those that are set, on one line."""
    return ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None) or "none"


def print_json(found: Any) -> None:
    """For machines."""
    sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


COMMANDS: dict[str, Callable[..., None]] = {
    "create": create,
    "list": list_tenants,
    "show": show,
    "set": change,
    "suspend": suspend,
    "resume": resume,
}
