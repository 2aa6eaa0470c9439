"""The desired fleet: its ports, its file, its parts."""

from pathlib import Path

import pytest

from ragfleet import fleet_spec, launch, services
from ragfleet.fleet_spec import MAX_GATEWAYS, FleetSpec, Ports
from ragfleet.paths import Home


def test_default_ports() -> None:
    ports = Ports.based(None)
    assert (ports.gateway, ports.consul, ports.milvus) == (8000, 8500, 19530)
    assert ports.triton(0) == (8101, 8102, 8103)
    assert ports.triton(2) == (8121, 8122, 8123)


def test_a_base_moves_every_port() -> None:
    ports = Ports.based(21000)
    assert (ports.gateway, ports.consul, ports.milvus) == (21000, 21001, 21008)
    assert ports.triton(1) == (21021, 21022, 21023)


def test_no_port_is_used_twice() -> None:
    for base in (None, 21000):
        wanted = FleetSpec(instances=9, gateways=MAX_GATEWAYS, port_base=base)
        # 3 of Consul, 1 Milvus, 3 for each Triton
        assert len(services.ports_of(wanted)) == MAX_GATEWAYS + 4 + 3 * 9


def test_parts_that_others_run_need_no_port() -> None:
    assert "milvus" not in services.ports_of(FleetSpec(milvus_uri="http://milvus:19530")).values()
    assert "gateway" not in services.ports_of(FleetSpec(without=["gateway"])).values()


def test_plan_comes_back_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "fleet.json"
    wanted = FleetSpec(instances=3, flavour="simulated", port_base=21000, api_key="sk-secret", without=["milvus"])
    fleet_spec.write(path, wanted)
    assert fleet_spec.read(path) == wanted
    assert path.stat().st_mode & 0o077 == 0


def test_a_broken_plan_is_none(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    assert fleet_spec.read(path) is None
    path.write_text("{]")
    assert fleet_spec.read(path) is None


def test_each_worker_gets_its_ports_and_the_marks(tmp_path: Path) -> None:
    home = Home(tmp_path)
    part = services.worker(FleetSpec(flavour="simulated", port_base=21000), home, 1)
    assert "--name=triton-1" in part.argv
    assert "--http-port=21021" in part.argv
    assert "--flavour=simulated" in part.argv
    assert part.environment["RAGFLEET_HOME"] == str(tmp_path)
    assert part.environment["RAGFLEET_PART"] == "triton-1"
    assert part.environment["RAGFLEET_CONSUL_URL"] == "http://127.0.0.1:21001"
    assert part.environment["MILVUS_URI"] == "http://127.0.0.1:21008"
    assert part.after == ("consul", "milvus")


def test_each_gateway_has_a_port_and_the_first_one_ingests(tmp_path: Path) -> None:
    wanted = FleetSpec(gateways=2, port_base=21000)
    parts = [services.gateway(wanted, Home(tmp_path), name) for name in wanted.gateway_urls]
    assert [part.name for part in parts] == ["gateway", "gateway-1"]
    assert [part.environment["RAGFLEET_GATEWAY_PORT"] for part in parts] == ["21000", "21014"]
    assert [part.environment.get("RAGFLEET_INGESTION") for part in parts] == [None, "0"]
    assert {part.environment["RAGFLEET_HOME"] for part in parts} == {str(tmp_path)}
    assert not FleetSpec(gateways=2, without=["gateway"]).gateway_urls


def test_workers_do_not_wait_for_a_milvus_that_others_run(tmp_path: Path) -> None:
    assert services.worker(FleetSpec(milvus_uri="http://milvus:19530"), Home(tmp_path), 0).after == ("consul",)


def test_settings_of_the_small_model_are_for_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAGFLEET_GGUF", "RAGFLEET_MODEL_NAME", "RAGFLEET_RAG_TOP_K", "RAGFLEET_PROMPT_BEST"):
        monkeypatch.delenv(name, raising=False)
    home = Home(tmp_path)
    assert services.gateway(FleetSpec(), home).environment["RAGFLEET_RAG_TOP_K"] == "2"
    assert services.worker(FleetSpec(), home, 0).environment["RAGFLEET_PROMPT_BEST"] == "first"
    monkeypatch.setenv("RAGFLEET_RAG_TOP_K", "6")
    assert services.gateway(FleetSpec(), home).environment["RAGFLEET_RAG_TOP_K"] == "6"
    monkeypatch.delenv("RAGFLEET_RAG_TOP_K")
    monkeypatch.setenv("RAGFLEET_GGUF", "/models/large.gguf")
    assert "RAGFLEET_RAG_TOP_K" not in services.gateway(FleetSpec(), home).environment
    assert "RAGFLEET_PROMPT_BEST" not in services.worker(FleetSpec(flavour="engine"), home, 0).environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAGFLEET_RAG_TOP_K", "many"),
        ("RAGFLEET_INGESTION_YIELD_S", "soon"),
        ("RAGFLEET_UI", "perhaps"),
    ],
)
def test_a_setting_that_a_gateway_would_refuse_is_told_before_anything_starts(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(launch.NotStartableError, match=name):
        launch.check(Home(tmp_path), FleetSpec(port_base=24_600))


def test_a_milvus_that_is_no_address_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(launch.NotStartableError, match="MILVUS_URI"):
        launch.check(Home(tmp_path), FleetSpec(port_base=24_600, milvus_uri="::"))
