"""What all tables share: the types that differ between SQLite and PostgreSQL, and the version of the tables."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import JSON

json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
serial = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

versions = Table("schema_version", metadata, Column("version", Integer, primary_key=True))
