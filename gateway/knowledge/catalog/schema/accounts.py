"""Tenants, keys, what was done to them, what they may use and what they used."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Table, Text, text

from gateway.knowledge.catalog.schema.base import json, metadata

tenants = Table(
    "tenants",
    metadata,
    Column("name", Text, primary_key=True),
    Column("weight", Float(53), nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("placement", Text, nullable=False),
    Column("limits", json, nullable=False),
    Column("suspended", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", ForeignKey(tenants.c.name), nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("previous_digest", Text),
    Column("previous_until", BigInteger),
    Column("scopes", json, nullable=False),
    Column("groups", json),
    Column("limits", json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revision", BigInteger, nullable=False, index=True),
)
"""Of each key's secret a SHA-256, in hexadecimal."""

revisions = Table(
    "revisions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""How often something was changed, for those who hold a copy of it; the rows that a change touched carry its number."""

audit = Table(
    "audit",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("actor", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", json),
    Column("after", json),
    Index("audit_listed", "at", "id"),
)
"""Acts of administrators; rows are added and never changed."""

quotas = Table(
    "quotas",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("begin", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
)
"""What tenants and keys have used of their budgets, in the period that begins then."""

seats = Table(
    "seats",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("held", BigInteger, nullable=False),
)
"""What a gateway has of the budgets that are for the moment. It counts as long as the gateway lives."""

leases = Table(
    "leases",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("begin", BigInteger, nullable=False),
    Column("taken", BigInteger, nullable=False),
)
"""Which part of a budget's use in that period is a gateway's: what its requests used and may use, and what it has in hand."""

gateways = Table(
    "gateways",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seen_at", Float(53), nullable=False),
)
"""Processes that hold something, and their last sign of life."""

ledger = Table(
    "ledger",
    metadata,
    Column("id", Text, primary_key=True),
    *(Column(name, Text, nullable=False) for name in ("request_id", "tenant", "key", "gateway", "route", "model")),
    Column("state", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("reserved", "prompt", "cached", "completion")),
    Column("stores", Text, nullable=False),
    Column("instances", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ms", BigInteger, nullable=False),
    Index("ledger_told", "tenant", "created_at"),
    Index("ledger_by_time", "created_at"),
    Index(
        "ledger_open",
        "gateway",
        sqlite_where=text("state = 'reserved'"),
        postgresql_where=text("state = 'reserved'"),
    ),
)
"""What each request came to: `reserved` while it runs, then `settled`."""
