"""What a gateway refuses before it listens."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.__main__ import main


def test_a_catalog_of_a_later_version_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path))
    monkeypatch.setenv("RAGFLEET_API_KEY", "secret")
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as database, database:
        database.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO schema_version VALUES (99)")
    assert main([]) == 2
    told = capsys.readouterr().err
    assert told.startswith("gateway: The catalog has schema version 99")
    assert "RAGFLEET_CATALOG_URL" in told


def test_a_certificate_that_cannot_be_read_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path))
    monkeypatch.setenv("RAGFLEET_API_KEY", "secret")
    monkeypatch.setenv("RAGFLEET_TLS_CERT_FILE", str(tmp_path / "gateway.pem"))
    assert main([]) == 2
    told = f"gateway: RAGFLEET_TLS_CERT_FILE={tmp_path}/gateway.pem cannot be read: No such file or directory\n"
    assert capsys.readouterr().err == told
