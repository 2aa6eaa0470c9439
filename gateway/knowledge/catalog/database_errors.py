"""What the catalog's database raises, in the gateway's words, and without its values."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import ExceptionContext, exc

from gateway.errors import BadRequest, CatalogUnavailable, RagfleetError

log = logging.getLogger("ragfleet.catalog")

UNSTORABLE = "The request holds a character that cannot be stored (NUL, or half of a surrogate pair)."
_UNDONE = ("40P01", "40001")
"""What PostgreSQL calls a deadlock, and what cannot be serialized."""


@contextmanager
def translated() -> Iterator[None]:
    """Of the block. Raises CatalogUnavailable; BadRequest for a text that PostgreSQL cannot hold."""
    try:
        yield
    except (
        *(exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError),
        *(sqlite3.OperationalError, OSError),
    ) as error:
        log.log(logging.ERROR if is_undone(error) else logging.WARNING, "the catalog's database: %s", error)
        raise CatalogUnavailable(
            "The catalog's database does not answer; try again shortly.", retry_after_s=1
        ) from error
    except (exc.DataError, UnicodeEncodeError) as error:
        # What asks for a text that no row can have: SQLite finds none, or cannot even be asked.
        if isinstance(error, exc.DataError) and "NUL" not in str(error.orig):
            raise
        raise BadRequest(UNSTORABLE) from error
    except (exc.DBAPIError, sqlite3.DatabaseError) as error:
        if type(error) not in (
            exc.DatabaseError,
            sqlite3.DatabaseError,
        ):  # what SQLite raises for a file that is none of its own
            raise
        log.error("the catalog's database: %s", error)
        raise CatalogUnavailable("The catalog's database cannot be read.", retry_after_s=60) from error
    except exc.StatementError as error:
        if isinstance(error.orig, RagfleetError):
            raise error.orig from None
        raise


def is_undone(error: Exception) -> bool:
    """Whether nothing is wrong but what another transaction did at the same time."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _UNDONE


def without_detail(context: ExceptionContext) -> None:
    """PostgreSQL tells the values of a row in the lines behind the first."""
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None and error.args:
            error.args = (str(error.args[0]).partition("\n")[0], *error.args[1:])
