"""The Helm chart as text agrees with settings, secrets, images and docs. Helm itself: test_rendered_chart.py."""

import re
from dataclasses import fields

import pytest
import yaml

from gateway.config import Settings
from gateway.environment import variables
from ragfleet.paths import PROJECT
from worker.settings import VARIABLES, parse

CHART = PROJECT / "deploy" / "helm" / "ragfleet"
TEMPLATES = {path.name: path.read_text("utf-8") for path in sorted((CHART / "templates").iterdir())}
BY_ENTRYPOINT = {"CONSUL_HTTP_TOKEN_FILE", "MILVUS_TOKEN_FILE"}
BY_MODELS = {"MILVUS_URI", "RAGFLEET_FILTER_SECRET_FILE"}


def test_every_variable_is_read_by_the_part_that_has_it() -> None:
    gateway = {name for field in fields(Settings) for name in variables(field.name)}
    known = {"gateway.yaml": gateway, "worker.yaml": {*VARIABLES.values(), *BY_ENTRYPOINT, *BY_MODELS}}
    for file, read in known.items():
        told = re.findall(r"\{ name: ([A-Z][A-Z_0-9]+), value", TEMPLATES[file])
        assert len(told) > 4
        for name in told:
            assert {name, name.removesuffix("_FILE")} & read, f"{file}: nothing reads {name}"
    assert "RAGFLEET_CONSUL_URL" in TEMPLATES["_helpers.tpl"]


def test_each_secret_is_one_that_is_made_and_mounted_where_it_is_read() -> None:
    made = (PROJECT / "docker" / "make-secrets.sh").read_text("utf-8")
    for file in ("gateway.yaml", "worker.yaml"):
        read = set(re.findall(r"/run/secrets/ragfleet/(\w+)", TEMPLATES[file]))
        (keys,) = re.findall(r"\$keys := list (.*) \}\}", TEMPLATES[file])
        assert read == set(re.findall(r'"(\w+)"', keys))
        for name in read:
            assert f"put {name} " in made or re.fullmatch(r"consul_\w+_token", name), f"{name} is made nowhere"


def test_the_worker_understands_its_arguments() -> None:
    told = re.findall(r"^ +- (--.*)$", TEMPLATES["worker.yaml"], re.MULTILINE)
    plain = [re.sub(r"\{\{.*?\}\}|\$\(\w+\)", "7", word) for word in told]
    settings = parse(["--http-port=8101", "--bind=0.0.0.0", *plain], {"RAGFLEET_HOME": "/var/lib/ragfleet"})
    assert settings.advertise == "7"


def test_dependencies_keep_their_votes_and_are_named_as_the_values_are() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    for dependency in chart["dependencies"]:
        assert dependency["condition"] == f"{dependency['name']}.enabled"
        assert values[dependency["name"]]["enabled"] is True
    server = values["consul"]["server"]
    assert yaml.safe_load(server["extraConfig"])["autopilot"]["min_quorum"] == server["replicas"]


def test_every_value_that_a_template_names_is_there() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    named = {path for text in TEMPLATES.values() for path in re.findall(r"\.Values\.([\w.]+)", text)}
    assert len(named) > 40
    for path in named:
        found = values
        for key in path.split("."):
            assert isinstance(found, dict), f"values.yaml has no {path}"
            assert key in found, f"values.yaml has no {path}"
            found = found[key]


def test_the_query_of_the_autoscaler_names_metrics_that_there_are() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    page = (PROJECT / "docs" / "metrics.md").read_text("utf-8")
    named = re.findall(r"ragfleet_\w+", values["worker"]["autoscaling"]["query"])
    assert named
    for name in named:
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("key", ["image", "secrets", "model", "objects", "consul", "milvus", "gateway", "worker"])
def test_the_docs_tell_what_each_group_of_values_is(key: str) -> None:
    assert f"`{key}." in (PROJECT / "docs" / "production.md").read_text("utf-8")
