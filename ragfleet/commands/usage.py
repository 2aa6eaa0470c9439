"""`ragfleet usage`: what the tenants have used, from the ledger in the catalog."""

import sys
import time
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ragfleet.administration import inspect_usage
from ragfleet.commands.tenants import print_json
from ragfleet.console import Json, output

DAY_S = 86_400


def show_usage(
    *,
    tenant: Annotated[str | None, typer.Option(help="One tenant; all where it is left out.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3_660, help="How many, today included.")] = 30,
    by: Annotated[
        Literal["tenant", "key", "model"], typer.Option(help="What to tell apart beside the tenants.")
    ] = "model",
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, a line for each day.")] = False,
) -> None:
    """Show requests, tokens and, with a price list, amounts."""
    from gateway.tenants.usage import usage_csv

    groups = {"tenant", "api_key_id"} if by == "key" else {"tenant", by}
    end = int(time.time()) + 1
    start = end - end % DAY_S - (days - 1) * DAY_S
    buckets = inspect_usage(tenant, lambda report: report.buckets(start=start, end=end, width=DAY_S, groups=groups))
    if as_json:
        print_json(buckets)
    elif as_csv:
        sys.stdout.write(usage_csv(buckets))
    else:
        output().print(_table(_summed([result for bucket in buckets for result in bucket["results"]])))


def _summed(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all days together."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for each in results:
        name = tuple(each[part] for part in ("object", "tenant", "model", "api_key_id"))
        if (total := found.get(name)) is None:
            found[name] = each
            continue
        for part in ("num_model_requests", "input_tokens", "output_tokens"):
            total[part] = total.get(part, 0) + each.get(part, 0)
        if "amount" in each:
            total["amount"]["value"] += each["amount"]["value"]
    return list(found.values())


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("tenant", "of", "requests", "input", "output", "amount"):
        table.add_column(column, no_wrap=True, justify="left" if column in ("tenant", "of") else "right")
    for each in results:
        amount = each.get("amount")
        table.add_row(
            escape(each["tenant"]),
            escape(each["model"] or each["api_key_id"] or ""),
            f"{each['num_model_requests']:,}",
            f"{each['input_tokens']:,}",
            f"{each.get('output_tokens', 0):,}",
            "" if amount is None else f"{amount['value']:.4f} {amount['currency']}",
        )
    return table
