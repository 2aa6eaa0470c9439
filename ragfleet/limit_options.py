"""One option of the command line for each limit that a tenant or a key can have."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gateway.tenants.limits import TenantLimits
from ragfleet.settings import docstrings

NONE = "none"


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these options in place of its parameter `limits`, which gets those that were given, by their names."""
    meanings = docstrings(TenantLimits)
    names = tuple(TenantLimits.__slots__)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name, meanings.get(name, "")))
        for name in names
    ]  # fmt: skip

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> None:
        limits = {name: given.pop(name) for name in names}
        command(*args, **given, limits={name: _number(name, text) for name, text in limits.items() if text is not None})

    own = [each for each in inspect.signature(command).parameters.values() if each.name != "limits"]
    parameters = sorted([*own, *options], key=lambda each: each.kind)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _option(name: str, meaning: str) -> Any:
    flag = "--" + name.replace("_", "-")
    return Annotated[str | None, typer.Option(flag, metavar="N|none", help=meaning or "The most there may be.")]


def _number(name: str, text: str) -> int | None:
    if text.lower() == NONE:
        return None
    try:
        return int(text)
    except ValueError:
        hint = "--" + name.replace("_", "-")
        raise typer.BadParameter(f"'{text}' is neither a whole number nor '{NONE}'", param_hint=hint) from None
