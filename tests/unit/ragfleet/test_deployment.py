"""Whose catalog, objects and index a command works on."""

from pathlib import Path

import pytest

from ragfleet import deployment, fleet_spec, supervisor
from ragfleet.fleet_spec import FleetSpec


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("MILVUS_URI", "MILVUS_URI_FILE", "RAGFLEET_CONSUL_URL", "RAGFLEET_CONSUL_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path))
    return tmp_path


def test_without_a_fleet_and_without_an_address_there_is_none(home: Path) -> None:
    fleet_spec.write(home / "run" / "fleet.json", FleetSpec(port_base=9000))  # of one that was stopped
    assert deployment.settings_of_the_fleet() is None


def test_a_fleet_that_runs_gives_its_addresses(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet_spec.write(home / "run" / "fleet.json", FleetSpec(port_base=9000))
    monkeypatch.setattr(supervisor, "running", lambda _: 1)
    settings = deployment.settings_of_the_fleet()
    assert settings is not None
    assert (settings.home, settings.milvus_uri, settings.consul_url) == (
        home,
        "http://127.0.0.1:9008",
        "http://127.0.0.1:9001",
    )


def test_what_the_environment_says_goes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "uri").write_text("http://milvus:19530\n")
    monkeypatch.setenv("MILVUS_URI_FILE", str(home / "uri"))
    settings = deployment.settings_of_the_fleet()
    assert settings is not None
    assert settings.milvus_uri == "http://milvus:19530"
    fleet_spec.write(home / "run" / "fleet.json", FleetSpec(port_base=9000))
    monkeypatch.setattr(supervisor, "running", lambda _: 1)
    settings = deployment.settings_of_the_fleet()
    assert settings is not None
    assert (settings.milvus_uri, settings.consul_url) == ("http://milvus:19530", "http://127.0.0.1:9001")
