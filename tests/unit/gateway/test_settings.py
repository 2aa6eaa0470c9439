"""The environment as settings."""

import os
import subprocess
import sys
from dataclasses import fields
from enum import EnumType
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.environment import ConfigError, variables


def test_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"RAGFLEET_GATEWAY_PORT": "", "OTHER": "1"}) == Settings()


def test_each_kind_of_value() -> None:
    settings = Settings.from_env(
        {
            "RAGFLEET_HOME": "/srv/ragfleet",
            "RAGFLEET_GATEWAY_PORT": "9000",
            "RAGFLEET_GATHER_S": "0.5",
            "RAGFLEET_API_KEY": "secret",
            "RAGFLEET_TENANTS_FILE": "tenants.yaml",
            "MILVUS_URI": "http://milvus:19530",
        }
    )
    assert settings.home == Path("/srv/ragfleet")
    assert settings.tokenizer_dir == Path("/srv/ragfleet/models/smollm2"), "the state folder is one"
    assert (settings.gateway_port, settings.gather_s, settings.api_key) == (9000, 0.5, "secret")
    assert settings.tenants_file == Path("tenants.yaml")
    assert settings.milvus_uri == "http://milvus:19530"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAGFLEET_GATEWAY_PORT", "http"),
        ("RAGFLEET_ATTEMPTS", "1.5"),
        ("RAGFLEET_GATHER_S", "fast"),
        ("RAGFLEET_INGESTION", "2"),
    ],
)
def test_value_of_the_wrong_kind_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}='{value}'"):
        Settings.from_env({name: value})


def _word(kind: object) -> str:
    """Something that a setting of this kind can be set to."""
    if isinstance(kind, EnumType):
        return str(list(kind)[-1].value)
    return "off" if kind is bool else "7"


def test_every_setting_can_be_set() -> None:
    given = {f.name: _word(f.type) for f in fields(Settings)}
    env = {variables(name)[0]: value for name, value in given.items()}
    settings = Settings.from_env(env)
    assert all(str(getattr(settings, name)) in (word, f"{word}.0", "False") for name, word in given.items())


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "api_key"
    secret.write_text("sk-secret\n")
    assert Settings.from_env({"RAGFLEET_API_KEY_FILE": str(secret)}).api_key == "sk-secret"
    assert Settings.from_env({"CONSUL_HTTP_TOKEN_FILE": str(secret)}).consul_token == "sk-secret"
    assert Settings.from_env({"RAGFLEET_MILVUS_REPLICAS_FILE": ""}).milvus_replicas == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RAGFLEET_API_KEY_FILE": "/nowhere/key"}, "RAGFLEET_API_KEY_FILE=/nowhere/key cannot be read: No such file"),
        (
            {"RAGFLEET_API_KEY_FILE": "/k", "RAGFLEET_API_KEY": "x"},
            "RAGFLEET_API_KEY and RAGFLEET_API_KEY_FILE are both",
        ),
    ],
)
def test_a_secret_that_cannot_be_read_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings.from_env(environment)


def test_consuls_own_variable_gives_its_token_too() -> None:
    assert Settings.from_env({"CONSUL_HTTP_TOKEN": "a"}).consul_token == "a"
    assert Settings.from_env({"CONSUL_HTTP_TOKEN": "a", "RAGFLEET_CONSUL_TOKEN": "b"}).consul_token == "b"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "No API key is configured"),
        ({"RAGFLEET_GATEWAY_HOST": "0.0.0.0"}, "No API key is configured"),
        ({"RAGFLEET_OPEN": "1", "RAGFLEET_GATEWAY_HOST": "0.0.0.0"}, "works at a loopback address only"),
        ({"RAGFLEET_OPEN": "1", "RAGFLEET_GATEWAY_HOST": "::"}, "works at a loopback address only"),
        ({"RAGFLEET_OPEN": "1", "RAGFLEET_GATEWAY_HOST": "gateway.example"}, "works at a loopback address only"),
        ({"RAGFLEET_OPEN": "1", "RAGFLEET_API_KEY": "k"}, "Unset one of them"),
        ({"RAGFLEET_OPEN": "1"}, ""),
        ({"RAGFLEET_OPEN": "1", "RAGFLEET_GATEWAY_HOST": "::1"}, ""),
        ({"RAGFLEET_OPEN": "1", "RAGFLEET_GATEWAY_HOST": "127.1.2.3"}, ""),
        ({"RAGFLEET_API_KEY": "k", "RAGFLEET_GATEWAY_HOST": "0.0.0.0"}, ""),
        ({"RAGFLEET_TENANTS_FILE": "t", "RAGFLEET_GATEWAY_HOST": "0.0.0.0"}, ""),
    ],
)
def test_nobody_is_let_in_by_an_oversight(environment: dict[str, str], says: str) -> None:
    settings = Settings.from_env(environment)
    if says:
        with pytest.raises(ConfigError, match=says):
            settings.check_access()
    else:
        settings.check_access()


def test_an_empty_key_file_is_no_key(tmp_path: Path) -> None:
    """A secret that was mounted empty let everybody in, without a word."""
    empty = tmp_path / "api_key"
    empty.write_text("\n")
    environment = {
        **os.environ,
        "RAGFLEET_API_KEY_FILE": str(empty),
        "RAGFLEET_API_KEY": "",
        "RAGFLEET_HOME": str(tmp_path),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "gateway"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(
        "gateway: No API key is configured, so everybody would be let in. Set RAGFLEET_API_KEY"
    )


NUMBERS = [field.name for field in fields(Settings) if field.type in (int, float)]


@pytest.mark.parametrize(
    "value", ["-2", "-inf", "nan", "inf", "1e400", "99999999999999999999", "1_000", "\u0665", "5s", "1,5", "0x10", " "]
)
def test_no_setting_takes_a_number_that_cannot_be(value: str) -> None:
    assert len(NUMBERS) > 60
    for name in NUMBERS:
        variable = f"RAGFLEET_{name.upper()}"
        with pytest.raises(ConfigError, match=variable):
            Settings.from_env({variable: value})


def test_the_defaults_are_numbers_that_can_be() -> None:
    given = {f"RAGFLEET_{name.upper()}": str(getattr(Settings(), name)) for name in NUMBERS}
    assert Settings.from_env(given) == Settings()


@pytest.mark.parametrize("value", ["65536", "70000"])
def test_a_port_is_one(value: str) -> None:
    with pytest.raises(ConfigError, match="65535"):
        Settings.from_env({"RAGFLEET_GATEWAY_PORT": value})
