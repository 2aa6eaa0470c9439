"""What each name of a query stands for: every column is put behind its table, and one that cannot be is refused. No I/O.

A name is looked for where SQL looks for it: among the tables of its own SELECT, then among those of the queries around it. It is
written out, so that a database which knows more columns than the caller may read can take it for no other one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from assistants.sql.tables import Table

_BEHIND_OUTPUT = (exp.Group, exp.Having, exp.Order)
"""Clauses in which a name may be that of a selected expression."""
_OF_TABLE = frozenset({"this", "alias"})


class QueryRefused(ValueError):
    """The query may not be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One thing behind FROM: what it is called in this query, and its columns in lower case."""

    name: str
    columns: Sequence[str]


Sources = Mapping[str, _Source]


def resolve(query: exp.Expr, tables: Sequence[Table]) -> None:
    """Put every column of a query behind its table; changes it. tables: that the caller may read. Raises QueryRefused."""
    known = {table.name.casefold(): [each.name.casefold() for each in table.columns] for table in tables}
    if not any(_is_known(table, known) for table in query.find_all(exp.Table)):
        named = next((each.sql()[:80] for each in query.find_all(exp.Table)), "")
        raise QueryRefused(f"there is no table '{named}'" if named else "it reads no table")
    _Resolver(known).outputs(query, {}, ())


def _is_known(table: exp.Table, known: Mapping[str, Sequence[str]]) -> bool:
    return table.name.casefold() in known


class _Resolver:
    """Of one query."""

    def __init__(self, known: Mapping[str, Sequence[str]]) -> None:
        self._known = known

    def outputs(self, query: exp.Expr, given: Mapping[str, Sequence[str]], outer: Sequence[Sources]) -> list[str]:
        """The names of a query's columns, "" for one without; given: queries that WITH has named, with their columns."""
        if isinstance(query, exp.Subquery):
            if any(value and key not in _OF_TABLE for key, value in query.args.items()):
                raise QueryRefused("a query in brackets stands alone")
            return self.outputs(query.this, given, outer)
        given = self._with(query, given)
        if isinstance(query, exp.SetOperation):
            left = self.outputs(query.this, given, outer)
            right = self.outputs(query.expression, given, outer)
            if len(left) != len(right):
                raise QueryRefused("both sides of a UNION have as many columns")
            for clause in ("order", "limit", "offset"):
                self._only_outputs(query.args.get(clause), left)
            return left
        if not isinstance(query, exp.Select):
            raise QueryRefused("it must be one SELECT")
        return self._select(query, given, outer)

    def _with(self, query: exp.Expr, given: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        with_ = query.args.get("with_")
        found = dict(given)
        for cte in with_.expressions if with_ is not None else ():
            name = cte.alias.casefold()
            if not name or name in self._known or name in found:
                raise QueryRefused(f"'{cte.alias[:80]}' is there twice")
            found[name] = _renamed(cte.args.get("alias"), self.outputs(cte.this, found, ()))
        return found

    def _select(self, select: exp.Select, given: Mapping[str, Sequence[str]], outer: Sequence[Sources]) -> list[str]:
        sources = self._sources(select, given, outer)
        _expand_stars(select, sources)
        scopes = (sources, *outer)
        for clause, value in select.args.items():
            if clause in ("from_", "joins", "with_"):
                continue
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, exp.Expr):
                    self._clause(each, select, given, scopes)
        for join in select.args.get("joins") or ():
            self._expression(join.args["on"], given, scopes)
        return [each.alias_or_name.casefold() for each in select.expressions]

    def _sources(self, select: exp.Select, given: Mapping[str, Sequence[str]], outer: Sequence[Sources]) -> Sources:
        from_ = select.args.get("from_")
        if from_ is None:
            raise QueryRefused("it reads no table")
        joins = select.args.get("joins") or []
        found: dict[str, _Source] = {}
        for each in (from_.this, *(join.this for join in joins)):
            source = self._source(each, given, outer)
            if source.name in found:
                raise QueryRefused(f"'{source.name}' is there twice")
            found[source.name] = source
        for join in joins:
            _check_join(join)
        return found

    def _source(self, node: exp.Expr, given: Mapping[str, Sequence[str]], outer: Sequence[Sources]) -> _Source:
        if isinstance(node, exp.Subquery):
            if not node.alias:
                raise QueryRefused("a query behind FROM has a name")
            return _Source(node.alias.casefold(), _renamed(node.args.get("alias"), self.outputs(node, given, outer)))
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise QueryRefused(f"there is no table '{node.sql()[:80]}'")
        strange = [key for key, value in node.args.items() if value and key not in _OF_TABLE]
        name = node.name.casefold()
        columns = given.get(name) or self._known.get(name)
        alias = node.args.get("alias")
        if strange or columns is None or (alias is not None and alias.args.get("columns")):
            raise QueryRefused(f"there is no table '{node.sql()[:80]}'")
        return _Source(node.alias_or_name.casefold(), columns)

    def _clause(
        self, node: exp.Expr, select: exp.Select, given: Mapping[str, Sequence[str]], scopes: Sequence[Sources]
    ) -> None:
        """A part of a SELECT. Names of selected expressions are written out, so that none is taken for a column."""
        if isinstance(node, _BEHIND_OUTPUT):
            named = {each.alias.casefold(): each.this for each in select.expressions if isinstance(each, exp.Alias)}
            for column in [each for each in _own(node) if isinstance(each, exp.Column) and not each.table]:
                name = column.name.casefold()
                by_alias_first = (
                    isinstance(node, exp.Order) and column.parent is not None and column.parent.parent is node
                )
                if name not in named or (not by_alias_first and name in _columns_of(scopes[0])):
                    continue
                if by_alias_first and not _is_ambiguous(name, select):
                    column.set("kept", True)  # ORDER BY takes the selected expression first, in every database
                else:
                    column.replace(exp.paren(named[name].copy(), copy=False))
        self._expression(node, given, scopes)

    def _expression(self, node: exp.Expr, given: Mapping[str, Sequence[str]], scopes: Sequence[Sources]) -> None:
        for each in list(_own(node)):
            if isinstance(each, exp.Column):
                _place(each, scopes)
            elif isinstance(each, exp.Star) and not isinstance(each.parent, exp.Count):
                raise QueryRefused("columns are named, not *")
            elif isinstance(each, exp.Query):
                self.outputs(each, given, scopes)

    def _only_outputs(self, clause: exp.Expr | None, names: Sequence[str]) -> None:
        """Of what stands behind a UNION: nothing but numbers and names of columns."""
        for each in clause.walk() if clause is not None else ():
            if isinstance(each, exp.Query) or (
                isinstance(each, exp.Column) and (each.table or each.name.casefold() not in names)
            ):
                raise QueryRefused(f"there is no column '{each.sql()[:80]}'")


def _own(node: exp.Expr) -> Iterator[exp.Expr]:
    """Its nodes, but for what stands within queries in it: these come themselves."""
    yield from node.walk(prune=lambda each: isinstance(each, exp.Query))


def _place(column: exp.Column, scopes: Sequence[Sources]) -> None:
    """Put it behind its table. Raises QueryRefused."""
    if column.args.pop("kept", None):
        return
    told, name = column.sql()[:80], column.name.casefold()
    if column.args.get("db") or column.args.get("catalog") or not isinstance(column.this, exp.Identifier):
        raise QueryRefused(f"there is no column '{told}'")
    if column.table:
        source = next((scope[column.table.casefold()] for scope in scopes if column.table.casefold() in scope), None)
        if source is None:
            raise QueryRefused(f"'{told}' is not written behind one of its tables")
        if name not in source.columns:
            raise QueryRefused(f"there is no column '{told}'")
        return
    for scope in scopes:
        owners = [source for source in scope.values() if name in source.columns]
        if len(owners) > 1:
            raise QueryRefused(f"'{told}' may be of {' or '.join(each.name for each in owners)}")
        if owners:
            if any(owners[0].name in inner for inner in scopes[: scopes.index(scope)]):
                raise QueryRefused(f"'{told}' is not written behind one of its tables")
            column.set("table", exp.to_identifier(owners[0].name))
            return
    raise QueryRefused(f"there is no column '{told}'")


def _check_join(join: exp.Join) -> None:
    """Tables are held together by columns that are alike: nothing is joined with all of another."""
    on = join.args.get("on")
    parts = list(on.flatten()) if isinstance(on, exp.And) else [on]
    alike = any(
        isinstance(each, exp.EQ) and all(side.find(exp.Column) for side in (each.left, each.right)) for each in parts
    )
    if not alike or join.method or join.args.get("using") or join.kind not in ("", "INNER", "OUTER"):
        raise QueryRefused("tables are joined by JOIN … ON a = b")


def _expand_stars(select: exp.Select, sources: Sources) -> None:
    """All readable columns for each `*`, which to the database means more."""
    found: list[exp.Expr] = []
    for each in select.expressions:
        of_table = isinstance(each, exp.Column) and isinstance(each.this, exp.Star)
        if not isinstance(each, exp.Star) and not of_table:
            found.append(each)
            continue
        if each.args.get("except_") or each.args.get("replace") or each.args.get("rename"):
            raise QueryRefused("columns are named, not *")
        names = [each.table.casefold()] if of_table else list(sources)
        for name in names:
            if name not in sources:
                raise QueryRefused(f"there is no table '{name[:80]}'")
            if not all(sources[name].columns):
                raise QueryRefused(f"a column of '{name[:80]}' has no name")
            found += [exp.column(column, table=name) for column in sources[name].columns]
    select.set("expressions", found)


def _renamed(alias: exp.Expr | None, columns: Sequence[str]) -> list[str]:
    """As `name(a, b)` calls them."""
    names = [each.name.casefold() for each in (alias.args.get("columns") or ())] if alias is not None else []
    if len(names) > len(columns):
        raise QueryRefused("it names more columns than there are")
    return [*names, *columns[len(names) :]]


def _columns_of(sources: Sources) -> set[str]:
    return {column for source in sources.values() for column in source.columns}


def _is_ambiguous(name: str, select: exp.Select) -> bool:
    return [str(each.alias_or_name).casefold() for each in select.expressions].count(name) > 1
