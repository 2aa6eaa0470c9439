"""Tables of the fleet: roll-outs, and the models that it served last."""

from sqlalchemy import Column, Float, Table, Text

from gateway.knowledge.catalog.schema.base import json, metadata

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("candidate", Text, nullable=False),
    Column("share", Float(53), nullable=False),
    Column("tenants", json, nullable=False),
    Column("options", json, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_at", Float(53), nullable=False, index=True),
    Column("ended_at", Float(53)),
    Column("evidence", json, nullable=False),
)
"""Each candidate that was tried. `evidence`: by gateway, what it has seen in all, so that telling it twice counts once."""

known_models = Table(
    "known_models", metadata, Column("name", Text, primary_key=True), Column("models", json, nullable=False)
)
"""One row. `models`: as `gateway/fleet/models.py` writes them."""
