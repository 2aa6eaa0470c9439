"""Alerts and dashboard ask only for metrics that somebody exports, by labels that they have."""

import json
import re
from collections.abc import Iterator

import yaml

from gateway.ingestion.metrics import IngestionMetrics
from gateway.metrics import Metrics
from tests.unit.docker.docker_files import DOCKER
from worker.meta import describe
from worker.settings import parse

# Triton's and TensorRT-LLM's, as in docs/metrics.md of triton-inference-server/server and tensorrtllm_backend.
TRITON = {
    "nv_inference_request_success": {"model", "version"},
    "nv_inference_request_failure": {"model", "version", "reason"},
    "nv_gpu_utilization": {"gpu_uuid"},
    "nv_gpu_memory_used_bytes": {"gpu_uuid"},
    "nv_gpu_memory_total_bytes": {"gpu_uuid"},
    "nv_trt_llm_request_metrics": {"model", "version", "request_type"},
    "nv_trt_llm_kv_cache_block_metrics": {"model", "version", "kv_cache_block_type"},
    "nv_trt_llm_general_metrics": {"model", "version", "general_type"},
}
TARGET = {"instance", "job", "ragfleet_version", "flavour"}
"""Labels that Prometheus itself adds (prometheus.yml)."""


def exported() -> dict[str, set[str]]:
    """Every sample's name with its labels."""
    found = {name: set(labels) for name, labels in TRITON.items()} | {"up": set()}
    for collector in [*vars(Metrics()).values(), *vars(IngestionMetrics()).values()]:
        if (kind := getattr(collector, "_type", "")) in {"counter", "gauge", "histogram"}:
            name, labels = collector._name, set(collector._labelnames)
            endings = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[kind]
            found |= {name + ending: labels | ({"le"} if ending == "_bucket" else set()) for ending in endings}
    return found


def expressions() -> Iterator[tuple[str, str]]:
    rules = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text("utf-8"))
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        yield rule.get("alert") or rule["record"], rule["expr"]
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "ragfleet.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_every_metric_and_label_exists() -> None:
    known = exported()
    assert len(known) > 30
    every = set().union(*known.values()) | TARGET
    checked = set()
    for where, expression in expressions():
        names = set(re.findall(r"\b((?:ragfleet|nv)_[a-z_]+|up)\b(?=[\[{ )]|$)", expression)) - TARGET
        assert names or "ragfleet:" in expression, where
        assert names <= known.keys(), f"{where}: nobody exports {names - known.keys()}"
        for selector in re.findall(r"([a-z_]+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector[1]))
            assert labels <= known[selector[0]] | TARGET, f"{where}: {selector}"
        own = (
            set().union(*(known[name] for name in names)) & TARGET
        )  # Prometheus renames these, for its targets have such
        for group in re.findall(r"(?:by|on|ignoring) \(([^)]*)\)", expression):
            labels = set(re.split(r",\s*", group))
            assert labels <= every | {f"exported_{label}" for label in own}, f"{where}: {group}"
            assert not labels & own, f"{where}: {group} is of the gateway that tells it"
        checked |= names
    assert len(checked) > 20


def test_a_legend_names_labels_that_are_left() -> None:
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "ragfleet.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            if grouped := re.search(r"(?:sum|count) by \(([^)]*)\)", target["expr"]):
                assert named <= set(re.split(r",\s*", grouped[1])), panel["title"]


def test_prometheus_reads_the_meta_that_workers_write() -> None:
    settings = parse(["--name=triton-0", "--http-port=8101"], {"RAGFLEET_VERSION": "1.2.3"})
    meta = describe(settings, {"backend": "python"}, {}, None)
    assert meta["version"] == "1.2.3"
    text = (DOCKER / "prometheus" / "prometheus.yml").read_text("utf-8")
    read = set(re.findall(r"__meta_consul_service_metadata_(\w+)", text))
    assert read == {"metrics_port", "version", "flavour"}
    assert read <= meta.keys()


def test_every_alert_says_what_to_do() -> None:
    groups = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text("utf-8"))["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert all(rule["annotations"]["action"] and rule["labels"]["severity"] for rule in alerts)
