"""Tenants and keys from the command line: the catalog itself is asked, so that it works with any gateway, or none."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from ragfleet.console import Exit, fail
from ragfleet.failures import in_words
from ragfleet.paths import home_from_environment

if TYPE_CHECKING:
    from gateway.knowledge.catalog.administration import Administration, Administrator
    from gateway.tenants.usage import UsageReport

T = TypeVar("T")


def administer(work: "Callable[[Administrator], Awaitable[T]]") -> T:
    """What `work` gives. The audit names the user of this machine. Raises typer.Exit, having said why."""
    return _run(lambda administration: work(administration.by(user())))


def user() -> str:
    """The user of this machine, as the audit names it."""
    return f"cli:{getpass.getuser()}"


def inspect_trail(work: "Callable[[Administration], Awaitable[T]]") -> T:
    """The same for what is nobody's act."""
    return _run(work)


def inspect_usage(tenant: str | None, work: "Callable[[UsageReport], Awaitable[T]]") -> T:
    """What `work` gives of the usage of a tenant, or of all."""
    from gateway.config import Settings
    from gateway.knowledge.catalog.sql_ledger import SqlLedger
    from gateway.tenants.usage import PriceList, UsageReport

    def report(administration: "Administration") -> Awaitable[T]:
        file = Settings.from_env().price_list
        prices = None if file is None else PriceList.read(file)
        return work(UsageReport(SqlLedger(administration.database), tenant, prices))

    return _run(report)


def _run(work: "Callable[[Administration], Awaitable[T]]") -> T:
    from gateway.config import Settings
    from gateway.environment import ConfigError
    from gateway.errors import BadRequest, CatalogUnavailable, RagfleetError
    from gateway.knowledge.catalog.administration import Administration, audit_file
    from gateway.knowledge.catalog.catalog import Catalog, catalog_url

    home = home_from_environment()

    async def run() -> T:
        settings = Settings.from_env()
        home.root.mkdir(parents=True, exist_ok=True)
        catalog = Catalog(catalog_url(settings.catalog_url, home.root))
        try:
            return await work(Administration(catalog.database, audit_file(settings.audit_file, home.root)))
        finally:
            await catalog.close()

    try:
        return asyncio.run(run())
    except BadRequest as error:
        raise fail(str(error), Exit.USAGE) from None
    except CatalogUnavailable as error:
        if error.__cause__ is None:
            raise fail(str(error)) from None
        cause = str(error.__cause__).partition("\n")[0].rstrip(".")
        where = "RAGFLEET_CATALOG_URL names it" if Settings.from_env().catalog_url else f"It is in {home.root}"
        raise fail(f"The catalog's database does not answer: {cause}. {where}.") from None
    except (RagfleetError, ConfigError) as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(in_words(error)) from None
