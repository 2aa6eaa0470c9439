"""What is kept of answers: responses, chats, conversations, answers in the making, batches."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Table, Text, text

from gateway.knowledge.catalog.schema.base import json, metadata

responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("previous_id", Text),
    Column("conversation_id", Text),
    Column("body", Text, nullable=False),
)
"""Answers of `/v1/responses`: the object as JSON, without the output, whose items lie beside it."""

response_items = Table(
    "response_items",
    metadata,
    Column("response_id", ForeignKey(responses.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("is_output", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Column("sources", json),
    Index("response_items_found", "tenant", "id"),
)
"""What a response was asked and what it answered, in that order."""

journaled_answers = Table(
    "journaled_answers",
    metadata,
    Column("id", Text, primary_key=True),
    # A response's is deleted with it.
    Column("response_id", ForeignKey(responses.c.id, ondelete="CASCADE"), index=True),
    Column("kind", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("caller", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("prompt", Text),
    # A gateway's until `lease_until`; free from then on, while `ended_at` is not set.
    Column("owner", Text),
    Column("lease_until", Float(53), nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("read_at", Float(53), nullable=False),
    # Cancelled where it was not read for so long; 0: never.
    Column("unread_s", Float(53), nullable=False),
    Column("ended_at", Float(53), index=True),
    Index(
        "journaled_answers_free",
        "lease_until",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
"""Answers that outlive their gateway: who asked for what, and who makes them. The rows outlive the end for a while, so that
events can be read again. `kind`: what is made, and how (answer_types.py)."""

journal_entries = Table(
    "journal_entries",
    metadata,
    Column("answer_id", ForeignKey(journaled_answers.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("events", Text, nullable=False),
    Column("parts", Text, nullable=False),
)
"""Their journal, a row for each commit: events as they are sent (`last`: the number of the last one so far), and of each choice
how many of them are its own and the token ids that came, each step as the engine gave it (JSON)."""

batch_jobs = Table(
    "batch_jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("body", Text, nullable=False),
    # A gateway's until `lease_until`; free from then on, while `ended_at` is not set.
    Column("owner", Text),
    Column("lease_until", Float(53), nullable=False),
    Column("ended_at", Float(53), index=True),
    Index("batch_jobs_listed", "tenant", "created_at", "id"),
)
"""Batches of requests (`/v1/batches`): the object as clients read it, without the counts while it is worked on."""

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", ForeignKey(batch_jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("line", BigInteger, primary_key=True),
    Column("ok", Boolean, nullable=False),
    Column("body", Text, nullable=False),
)
"""Lines that were answered, as the output or the error file will have them, until there are files."""

chat_completions = Table(
    "chat_completions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("model", Text, nullable=False),
    Column("metadata", json, nullable=False),
    Column("body", Text, nullable=False),
    Column("sources", json),
    Index("chat_completions_listed", "tenant", "created_at", "id"),
)
"""Answers of `/v1/chat/completions` with `store`: the object as JSON, without its metadata."""

chat_messages = Table(
    "chat_messages",
    metadata,
    Column("completion_id", ForeignKey(chat_completions.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("id", Text, nullable=False),
    Column("body", Text, nullable=False),
)
"""What a stored chat was asked."""

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("metadata", json, nullable=False),
)

conversation_items = Table(
    "conversation_items",
    metadata,
    Column("conversation_id", ForeignKey(conversations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("sources", json),
    Index("conversation_items_found", "conversation_id", "id", unique=True),
)
