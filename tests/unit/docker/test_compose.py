"""The Compose files: valid by the specification, and in agreement with the settings, the images and each other."""

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import jsonschema
import pytest

from gateway.config import Settings
from gateway.environment import variables
from ragfleet.paths import PROJECT
from tests.unit.docker.docker_files import COMPOSE, DOCKER, compose, environment, last_stage, specification
from worker.settings import parse

OURS = re.compile(r"ragfleet-(gateway|cpu|triton):")
SIDE_BY_SIDE = ("compose.yaml", "compose.host.yaml")


def services(name: str) -> dict[str, dict[str, Any]]:
    found = compose(name)["services"]
    assert isinstance(found, dict)
    return found


def ours(name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(service, image, definition) of each service that runs an image of this project; not of commands."""
    for service, told in services(name).items():
        if (found := OURS.search(told.get("image", ""))) and told.get("profiles") != ["tools"]:
            yield service, found[1], told


@pytest.mark.parametrize("name", COMPOSE)
def test_the_file_is_valid_by_the_specification(name: str) -> None:
    schema = specification()
    faults = jsonschema.Draft202012Validator(schema).iter_errors(compose(name))
    assert [f"{list(fault.path)}: {fault.message[:200]}" for fault in faults] == []


def test_the_schema_finds_faults() -> None:
    broken = compose("compose.yaml")
    broken["services"]["milvus"]["helthcheck"] = {}
    assert list(jsonschema.Draft202012Validator(specification()).iter_errors(broken))


@pytest.mark.parametrize("name", COMPOSE)
def test_every_variable_is_a_setting(name: str) -> None:
    gateway = {variable for field in fields(Settings) for variable in variables(field.name)}
    sources = "".join(
        path.read_text("utf-8")
        for folder in ("worker", "model_repository", "docker/entrypoint.sh")
        for path in ([PROJECT / folder] if folder.endswith(".sh") else (PROJECT / folder).rglob("*.py"))
    )
    worker = set(re.findall(r"\b(?:RAGFLEET|MILVUS|CONSUL|CUDA)_[A-Z_]+\b", sources))
    checked = 0
    for service, image, told in ours(name):
        for variable in told.get("environment", {}):
            checked += 1
            known = gateway if image == "gateway" else worker
            assert variable.removesuffix("_FILE") in known, f"{service}: nothing reads {variable}"
    assert checked > 4
    for image in ("gateway", "cpu", "triton"):
        for variable in environment(image):
            if variable.startswith("RAGFLEET_"):
                assert variable in gateway | worker | {"RAGFLEET_VERSION"}, f"{image}: nothing reads {variable}"


@pytest.mark.parametrize("name", COMPOSE)
def test_workers_understand_their_commands(name: str) -> None:
    found = [told["command"] for _, image, told in ours(name) if image != "gateway"]
    assert found
    for command in found:
        plain = [re.sub(r"\$\{[^}]*\}", "0", word) for word in command]
        assert plain[0] == "worker"
        settings = parse(["--http-port=8101", "--bind=0.0.0.0", *plain[1:]], {"RAGFLEET_HOME": "/var/lib/ragfleet"})
        assert settings.advertise != "0.0.0.0", "gateways cannot reach that address"


@pytest.mark.parametrize("name", COMPOSE)
def test_files_and_secrets_are_there(name: str) -> None:
    read = compose(name)
    made = (DOCKER / "make-secrets.sh").read_text("utf-8")
    for secret, told in read.get("secrets", {}).items():
        file = told["file"].removeprefix("./secrets/")
        assert f"put {file} " in made or re.fullmatch(r"consul_\w+_token", file), (
            f"make-secrets.sh does not make {secret}"
        )
    for service, told in read["services"].items():
        for secret in told.get("secrets", []):
            key = secret if isinstance(secret, str) else secret["source"]
            assert key in {**compose("compose.yaml")["secrets"], **read.get("secrets", {})}, f"{service}: {key}"
        for volume in told.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), f"{service}: {source}"
            elif re.fullmatch(r"[\w-]+", source):
                assert source in {**read.get("volumes", {}), **compose("compose.yaml")["volumes"]}, (
                    f"{service}: {source}"
                )


def test_every_secret_of_a_service_is_one_that_it_reads() -> None:
    for service, told in services("compose.yaml").items():
        text = str({key: value for key, value in told.items() if key != "secrets"})
        if service == "consul-acl":
            continue  # it reads a folder
        for secret in told.get("secrets", []):
            target = secret if isinstance(secret, str) else secret["target"]
            where = (
                text if "prometheus" not in service else (DOCKER / "prometheus" / "prometheus.yml").read_text("utf-8")
            )
            assert f"/run/secrets/{target}" in where, f"{service} never reads {target}"


def test_only_the_load_balancer_is_published() -> None:
    found = services("compose.yaml")
    assert [name for name, told in found.items() if told.get("ports")] == ["load-balancer"]
    assert [name for name, told in found.items() if "edge" in told["networks"]] == ["load-balancer"]
    assert compose("compose.yaml")["networks"]["control"]["internal"] is True
    for told in services("compose.gpu.yaml").values():
        assert "ports" not in told


def test_every_service_is_watched_bounded_and_started_again() -> None:
    for name, told in services("compose.yaml").items():
        image = OURS.search(told["image"])
        own = image and [one for one in last_stage(image[1]) if one.name == "HEALTHCHECK"]
        if told.get("profiles") == ["tools"]:
            assert told["restart"] == "no", name
        elif name != "consul-acl":
            assert told["restart"] == "unless-stopped", name
            assert own or told["healthcheck"]["test"], name
        limits = told["deploy"]["resources"]["limits"]
        assert limits["memory"], name
        assert limits["cpus"], name
        assert told["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in told["security_opt"], name


@pytest.mark.parametrize("name", ["compose.yaml", "compose.host.yaml"])
def test_no_container_has_more_of_roots_powers_than_it_takes_to_become_another_user(name: str) -> None:
    becoming = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    for service, told in services(name).items():
        assert told["cap_drop"] == ["ALL"], service
        assert set(told.get("cap_add", [])) <= becoming, service
        assert "no-new-privileges:true" in told["security_opt"], service


def test_on_hosts_a_triton_listens_at_the_address_that_gateways_are_told() -> None:
    (command,) = [told["command"] for _, image, told in ours("compose.host.yaml") if image == "triton"]
    words = [re.sub(r"\$\{RAGFLEET_ADDRESS[^}]*\}", "10.0.0.7", word) for word in command]
    plain = [re.sub(r"\$\{[^}]*\}", "0", word) for word in words]
    settings = parse(["--http-port=8101", "--bind=0.0.0.0", *plain[1:]], {"RAGFLEET_HOME": "/var/lib/ragfleet"})
    assert (settings.bind, settings.advertise) == ("10.0.0.7", "10.0.0.7")


def test_whoever_signs_filters_and_whoever_checks_them_have_one_secret() -> None:
    for name in COMPOSE:
        for service, image, told in ours(name):
            if image in ("gateway", "cpu", "triton") and "environment" in told:
                assert told["environment"]["RAGFLEET_FILTER_SECRET_FILE"] == "/run/secrets/filter_secret", service
                assert "filter_secret" in told["secrets"], service


def test_our_containers_cannot_write_to_themselves() -> None:
    for name in COMPOSE:
        for service, _, told in ours(name):
            assert told["read_only"] is True, service
            assert told["cap_drop"] == ["ALL"], service
            assert told["tmpfs"] == ["/tmp"], service
            assert any(volume.endswith(":/var/lib/ragfleet") for volume in told["volumes"]), service


def test_every_image_is_pinned() -> None:
    for name in COMPOSE:
        for service, told in services(name).items():
            if "image" in told:
                tag = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", told["image"])
                assert re.search(r":[^:/]*\d+\.?\d*[^:/]*(@sha256:[0-9a-f]{64})?$", tag), f"{service}: {tag}"
                assert "latest" not in tag


def test_who_is_waited_for_has_what_is_waited_on() -> None:
    for name in SIDE_BY_SIDE:
        found = services(name)
        for service, told in found.items():
            for other, how in told.get("depends_on", {}).items():
                assert other in found, f"{service} waits for {other}"
                if how["condition"] == "service_healthy":
                    image = OURS.search(found[other]["image"])
                    assert image or "test" in found[other]["healthcheck"], f"{other} has no health check"


def test_stopping_leaves_time_to_drain() -> None:
    settings, worker = Settings(), parse(["--name=x", "--http-port=1"], {})
    for name in COMPOSE:
        for service, image, told in ours(name):
            least = settings.drain_deadline_s + 5 if image == "gateway" else worker.drain_timeout + worker.exit_timeout
            assert int(told["stop_grace_period"].removesuffix("s")) > least, service


def test_ports_agree() -> None:
    balancer = services("compose.yaml")["load-balancer"]
    told = balancer["environment"]
    config = (DOCKER / "haproxy" / "haproxy.cfg").read_text("utf-8")
    assert set(re.findall(r"\$\{(\w+)\}", config)) == set(told)
    port = environment("gateway")["RAGFLEET_GATEWAY_PORT"]
    assert {told["RAGFLEET_LB_GATEWAY_1"], told["RAGFLEET_LB_GATEWAY_2"]} == {f"gateway-1:{port}", f"gateway-2:{port}"}
    inside = {entry.rsplit(":", 1)[1] for entry in balancer["ports"]}
    assert inside == {told[f"RAGFLEET_LB_{name}"] for name in ("PORT", "OPERATIONS_PORT", "UI_PORT")}
    assert all(entry.startswith("127.0.0.1:") for entry in balancer["ports"] if entry.endswith(":8080"))
    prometheus = (DOCKER / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert f"load-balancer:{told['RAGFLEET_LB_METRICS_PORT']}" in prometheus
    assert f"gateway-1:{port}" in prometheus


def test_a_silent_answer_is_waited_for_as_long_as_a_request_may_take() -> None:
    config = (DOCKER / "haproxy" / "haproxy.cfg").read_text("utf-8")
    for side in ("client", "server"):
        found = re.search(rf"timeout {side} (\d+)s", config)
        assert found
        assert int(found[1]) > Settings().request_deadline_s


@pytest.mark.parametrize("path", ["consul/server.hcl", "docker/consul/server.hcl"])
def test_a_consul_server_that_is_away_for_some_seconds_keeps_its_vote(path: str) -> None:
    text = (PROJECT / path).read_text("utf-8")
    wanted = {
        name: re.findall(rf"^\s*{name}\s*=\s*(\d+)", text, re.MULTILINE) for name in ("bootstrap_expect", "min_quorum")
    }
    assert wanted["min_quorum"] == wanted["bootstrap_expect"] == ["3"]
