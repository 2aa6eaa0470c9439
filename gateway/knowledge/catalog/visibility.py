"""Which documents a key may see, as conditions of SQL: the one place where a document's groups meet a key's.

A document is a file, wherever it is: it has one list of groups, `allow`, in `files` alone. Nothing is copied, to Milvus neither,
so that a change counts for every path from its transaction on.
"""

import hashlib
from collections.abc import Sequence

from sqlalchemy import ARRAY, Column, ColumnElement, Text, cast, exists, func, not_, or_, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.schema import files, members
from gateway.tenants.tenant import Tenant


class Visibility:
    """Of one tenant's key."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._groups = tenant.key.groups

    @property
    def restricted(self) -> bool:
        """Whether there may be documents of the tenant that the key does not see."""
        return self._groups is not None

    @property
    def namespace(self) -> str:
        """The same for keys that see the same, in 16 characters; "" for those that see everything."""
        if self._groups is None:
            return ""
        return hashlib.sha256("\0".join(sorted(self._groups)).encode()).hexdigest()[:16]

    @property
    def default(self) -> Sequence[str] | None:
        """Who may see what the key uploads without a word about it: its own groups; None, for a key without any: all of the
        tenant."""
        return sorted(self._groups) or None if self._groups else None

    def conditions(self, allow: Column[Sequence[str] | None]) -> list[ColumnElement[bool]]:
        """What holds for rows that the key sees; none for a key that sees all. allow: the groups of a row, NULL for everybody."""
        if self._groups is None:
            return []
        return [or_(allow.is_(None), self._shares_a_group(allow, sorted(self._groups)))]

    def of_members(self) -> list[ColumnElement[bool]]:
        """The same for rows of `members`, by their files."""
        if self._groups is None:
            return []
        seen = exists().where(files.c.id == members.c.file_id, *self.conditions(files.c.allow))
        return [seen]

    def of_items(self, sources: Column[Sequence[str] | None]) -> list[ColumnElement[bool]]:
        """What holds for stored items that tell of no file which the key does not see, or which there is no more."""
        if self._groups is None:
            return []
        each = (func.json_each if self._database.is_sqlite else func.jsonb_array_elements_text)(sources)
        named = each.table_valued("value")
        seen = exists().where(files.c.id == named.c.value, *self.conditions(files.c.allow))
        return [not_(exists().select_from(named).where(not_(seen)))]

    def _shares_a_group(self, allow: Column[Sequence[str] | None], groups: list[str]) -> ColumnElement[bool]:
        if self._database.is_sqlite:
            each = func.json_each(allow).table_valued("value")
            return exists().select_from(each).where(each.c.value.in_(groups))
        shares: ColumnElement[bool] = type_coerce(allow, JSONB).has_any(cast(groups, ARRAY(Text)))
        return shares
