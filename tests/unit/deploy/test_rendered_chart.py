"""The Helm chart, linted and rendered by Helm's own library, and every object held against Kubernetes' schemas.

`make test-helm` brings both packages (100 MB); elsewhere these tests are left out.
"""

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.test_chart import CHART

helm = pytest.importorskip("helm_python", reason="Helm's library is not installed (make test-helm brings it)")
kubernetes = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas are not installed (make test-helm)")

OLDEST, NEWEST = "1.27", "1.37"
NEEDED: dict[str, Any] = {"objects": {"url": "s3://bucket/prefix"}}
CLIENTS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}}]


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart, with empty ones for Consul's and Milvus's, which their own repositories have."""
    folder = tmp_path_factory.mktemp("chart") / "ragfleet"
    shutil.copytree(CHART, folder)
    for name, version in (("consul", "1.6.0"), ("milvus", "5.0.0")):
        stub = folder / "charts" / name
        stub.mkdir(parents=True)
        (stub / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": name, "version": version}))
    return folder


def rendered(chart: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(chart) as loaded:
        files = loaded.render(values={**NEEDED, **values}, name="rf", namespace="ai")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))


def test_helm_finds_nothing_to_complain_of(chart: Path) -> None:
    found = helm.lint(chart, values=NEEDED, strict=True)
    assert found["errors"] == []
    assert [each for each in found["messages"] if "icon" not in each["error"]] == []


@pytest.mark.parametrize(
    ("gateways", "workers", "policies", "clients", "gpus"),
    list(itertools.product([False, True], [False, True], [False, True], [[], CLIENTS], [1, 4])),
)
def test_every_object_is_valid(
    chart: Path, gateways: bool, workers: bool, policies: bool, clients: list[Any], gpus: int
) -> None:
    values = {
        "gateway": {"autoscaling": {"enabled": gateways}, "env": {"RAGFLEET_RAG_TOP_K": 6}},
        "worker": {"autoscaling": {"enabled": workers}, "gpusPerInstance": gpus},
        "networkPolicy": {"enabled": policies, "clients": clients},
        "image": {"registry": "registry.example/", "tag": "0.2.0", "pullSecrets": [{"name": "pull"}]},
    }
    objects = rendered(chart, values)
    for each in objects:
        if each["kind"] != "ScaledObject":  # KEDA's own
            for version in (OLDEST, NEWEST):
                kubernetes.validate(each, version, strict=True)
    kinds = [each["kind"] for each in objects]
    assert ("HorizontalPodAutoscaler" in kinds, "ScaledObject" in kinds) == (gateways, workers)
    assert kinds.count("NetworkPolicy") == 2 * policies
    worker = named(objects, "StatefulSet", "rf-worker")["spec"]
    assert ("replicas" in worker, "replicas" in named(objects, "Deployment", "rf-gateway")["spec"]) == (
        not workers,
        not gateways,
    )
    (container,) = worker["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/ragfleet-triton:0.2.0"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == gpus
    assert container["resources"]["requests"]["memory"] == "32Gi"
    assert ("--gpu=0,1,2,3" in container["args"]) == (gpus == 4)


def test_a_type_that_kubernetes_refuses_is_found(chart: Path) -> None:
    objects = rendered(chart, {"gateway": {"replicas": "two"}})
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(named(objects, "Deployment", "rf-gateway"), NEWEST, strict=True)


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "rf-gateway"), ("StatefulSet", "rf-worker")])
def test_pods_are_chosen_by_their_budget_policy_and_service(chart: Path, kind: str, name: str) -> None:
    objects = rendered(chart, {})
    labels = named(objects, kind, name)["spec"]["template"]["metadata"]["labels"].items()
    for other, path in (
        ("PodDisruptionBudget", ("selector", "matchLabels")),
        ("NetworkPolicy", ("podSelector", "matchLabels")),
        ("Service", ("selector",)),
    ):
        chosen = named(objects, other, name)["spec"]
        for part in path:
            chosen = chosen[part]
        assert chosen.items() <= labels, other


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "rf-gateway"), ("StatefulSet", "rf-worker")])
def test_pods_run_with_the_least(chart: Path, kind: str, name: str) -> None:
    pod = named(rendered(chart, {}), kind, name)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert (pod["securityContext"]["runAsUser"], pod["automountServiceAccountToken"]) == (10001, False)
    for variable in container["env"]:
        name = variable["name"]
        if any(word in name for word in ("TOKEN", "KEY", "SECRET", "CATALOG")) and name != "RAGFLEET_TOKENIZER_DIR":
            assert variable["value"].startswith("/run/secrets/ragfleet/"), f"{name} is no file"
    mounts = {each["name"] for each in container["volumeMounts"]}
    assert mounts == {each["name"] for each in pod["volumes"]}


def test_an_instance_has_time_to_drain(chart: Path) -> None:
    pod = named(rendered(chart, {"worker": {"drainSeconds": 120}}), "StatefulSet", "rf-worker")
    spec = pod["spec"]["template"]["spec"]
    assert "--drain-timeout=120" in spec["containers"][0]["args"]
    assert spec["terminationGracePeriodSeconds"] > 120 + 10  # and Triton's own end


def test_the_autoscaler_has_all_that_it_needs(chart: Path) -> None:
    objects = rendered(chart, {"worker": {"autoscaling": {"enabled": True}}})
    scaled = named(objects, "ScaledObject", "rf-worker")["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 60
    assert all(each is not None for each in scaled.values())


def test_without_a_place_for_objects_or_a_milvus_it_is_not_installed(chart: Path) -> None:
    for values, said in (
        ({"objects": {"url": ""}}, "objects.url"),
        ({"milvus": {"enabled": False}}, "milvusAddress is empty"),
    ):
        with pytest.raises(helm.HelmError, match=said):
            rendered(chart, values)
