"""A real S3 server for this session."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[S3Server]":  # noqa: F821 - imported where it is wanted
    """A server with one bucket."""
    from tests.support.s3_server import S3Server

    server = S3Server(tmp_path_factory.mktemp("s3") / "log")
    yield server
    server.close()
