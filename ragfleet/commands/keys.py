"""`ragfleet key`: make keys of tenants, list, rotate and revoke them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ragfleet.administration import administer
from ragfleet.commands.tenants import print_json, told_limits
from ragfleet.console import Json, output
from ragfleet.durations import moment, seconds
from ragfleet.limit_options import with_limits

if TYPE_CHECKING:
    from gateway.tenants.api_key import NewKey
    from gateway.tenants.records import KeyRecord

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id: the digits between 'sk-rf-' and the next '-'.")]


@with_limits
def create(
    *,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Whose key it is.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            help="What it is good for, with commas: chat, embeddings, knowledge:read, knowledge:write, admin. "
            "Without it: all but admin."
        ),
    ] = None,
    groups: Annotated[
        list[str] | None,
        typer.Option(help="Groups whose documents it may see, with commas. Without it: every document of the tenant."),
    ] = None,
    expires: Annotated[str, typer.Option(metavar="30d|DATE", help="When it ends. Without it: never.")] = "",
    limits: Mapping[str, int | None],
    as_json: Json = False,
) -> None:
    """Make a key and print it. It is not stored, so it cannot be printed again."""
    expires_at = moment(expires, "--expires") if expires else None
    made, new = administer(
        lambda administrator: administrator.create_key(
            tenant, scopes=_words(scopes), groups=_words(groups), limits=limits, expires_at=expires_at
        )
    )
    _print_new(made, new, as_json=as_json)


def list_keys(
    *, tenant: Annotated[str, typer.Option(metavar="NAME", help="Only this tenant's.")] = "", as_json: Json = False
) -> None:
    """List keys, the newest first; what is shown opens nothing."""
    found = [_described(each) for each in administer(lambda administrator: administrator.keys(tenant or None))]
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "tenant", "status", "scopes", "groups", "expires", "last used", "limits"):
        table.add_column(column, no_wrap=column not in {"scopes", "groups", "limits"})
    for each in found:
        groups = "every" if each["groups"] is None else ", ".join(each["groups"]) or "public"
        times = _when(each["expires_at"], "never"), _when(each["last_used_at"], "never")
        scopes, limits = ", ".join(each["scopes"]), told_limits(each["limits"])
        table.add_row(each["id"], each["tenant"], each["status"], scopes, escape(groups), *times, limits)
    output().print(table)


def rotate(
    key_id: KeyId,
    *,
    overlap: Annotated[
        str,
        typer.Option(metavar="24h", help="For how long the secret that is replaced stays good, too; 0: not at all."),
    ] = "24h",
    as_json: Json = False,
) -> None:
    """Give a key a new secret and print it. The id, the limits and what was counted stay."""
    overlap_s = seconds(overlap, "--overlap")
    rotated, new = administer(lambda administrator: administrator.rotate_key(key_id, overlap_s=overlap_s))
    _print_new(rotated, new, as_json=as_json)


def revoke(key_id: KeyId, *, as_json: Json = False) -> None:
    """Let a key open nothing any more. That is for good."""
    revoked = _described(administer(lambda administrator: administrator.revoke_key(key_id)))
    if as_json:
        print_json(revoked)
    else:
        output().print(f"The key {revoked['id']} of {revoked['tenant']} is revoked.")


def _print_new(record: "KeyRecord", new: "NewKey", *, as_json: bool) -> None:
    if as_json:
        print_json({"key": new.text, **_described(record)})
        return
    out = output()
    out.print(new.text)
    out.print(f"[dim]Keep it now: it is not stored. Its id is {record.id}.[/dim]")


def _described(record: "KeyRecord") -> dict[str, Any]:
    return record.describe(datetime.now(UTC).timestamp())


def _words(given: list[str] | None) -> list[str] | None:
    if given is None:
        return None
    return [word.strip() for each in given for word in each.split(",") if word.strip()]


def _when(at: int | None, otherwise: str) -> str:
    return otherwise if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


COMMANDS: dict[str, Callable[..., None]] = {"create": create, "list": list_keys, "rotate": rotate, "revoke": revoke}
