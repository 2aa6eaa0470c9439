"""`ragfleet sign-filter`: what a Triton client may search."""

import json
import os
import sys
from typing import Annotated

import typer

from ragfleet.console import Exit, fail
from ragfleet.paths import home_from_environment
from ragfleet.services import SECRET

DAY_S = 86_400


def sign_filter(
    tenant: Annotated[str, typer.Option(help="Whose rows.")],
    store: Annotated[
        list[str] | None, typer.Option(help="Only those of this store, by its id (several times).")
    ] = None,
    collection: Annotated[str, typer.Option(help="In Milvus; the alias of the active one by default.")] = "",
    days: Annotated[float, typer.Option(min=0.001, max=3650, help="How long it holds.")] = 1.0,
) -> None:
    """Print a filter with its signature, as JSON, for clients that call Triton themselves.

    The secret is that of the gateways (RAGFLEET_FILTER_SECRET or RAGFLEET_FILTER_SECRET_FILE), or of the fleet on this machine.
    Whoever has the signature can read these rows until it expires.
    """
    from gateway.config import Settings
    from gateway.environment import ConfigError
    from gateway.knowledge.filters import quote, search_filter
    from gateway.knowledge.index import ALIAS
    from gateway.retrieval.filter_signature import FilterSigner

    home = home_from_environment()
    environment = dict(os.environ)
    if SECRET not in environment and home.filter_secret.is_file():
        environment.setdefault(f"{SECRET}_FILE", str(home.filter_secret))
    try:
        secret = Settings.from_env(environment).filter_secret
        expression = search_filter(tenant, store) if store else f"tenant == {quote(tenant)}"
    except (ConfigError, ValueError) as error:
        raise fail(str(error), Exit.USAGE) from None
    if not secret:
        raise fail(
            "There is no secret: start a fleet here (ragfleet up), or set RAGFLEET_FILTER_SECRET_FILE.", Exit.MISSING
        )
    collection = collection or ALIAS
    signature = FilterSigner(secret, valid_s=days * DAY_S).sign(collection, expression)
    signed = {"collection": collection, "filter": expression, "filter_signature": signature}
    sys.stdout.write(json.dumps(signed) + "\n")
