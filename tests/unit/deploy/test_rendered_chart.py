"""The Helm chart, linted and rendered by Helm's own library, and every object held against Kubernetes' schemas.

`make test-helm` brings both packages (100 MB); elsewhere these tests are left out.
"""

import itertools
import re
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


def rendered(chart: Path, values: dict[str, Any], release: str = "rf") -> list[dict[str, Any]]:
    with helm.Chart.load(chart) as loaded:
        files = loaded.render(values={**NEEDED, **values}, name=release, namespace="ai")
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


DIGEST = "sha256:" + "a" * 64
ODD: dict[str, dict[str, Any]] = {
    "no GPU": {"worker": {"gpusPerInstance": 0}},
    "one of each": {"gateway": {"replicas": 1}, "worker": {"replicas": 1}},
    "none of each": {"gateway": {"replicas": 0}, "worker": {"replicas": 0}},
    "engines in an empty folder": {"model": {"volume": {"emptyDir": {}}}},
    "engines in a folder of the node": {"model": {"volume": {"hostPath": {"path": "/srv/engines"}}}},
    "TLS": {"gateway": {"tls": {"secretName": "rf-tls"}, "service": {"type": "LoadBalancer", "port": 443}}},
    "everything elsewhere": {
        "milvus": {"enabled": False},
        "milvusAddress": "https://milvus.example:19530",
        "consul": {"enabled": False},
        "consulAgent": {"port": 8501},
        "objects": {"url": "s3://b", "endpoint": "https://minio.example", "region": "eu-central-1"},
        "networkPolicy": {"egress": [], "nodes": []},
    },
    "digests": {"image": {"digests": {"gateway": DIGEST, "triton": DIGEST}}},
    "a long tag": {"image": {"tag": "v" + "1" * 61 + "-rc.1"}},
    "numbers of all sizes": {
        "gateway": {"env": {"A": 1_000_000, "B": 0.25, "C": True, "D": 1e-7, "E": 0, "F": "x: {y"}}
    },
    "a variable of the chart's": {"gateway": {"env": {"AWS_REGION": "x", "RAGFLEET_CATALOG_URL": "postgresql://db/x"}}},
    "a variable from elsewhere": {
        "worker": {"env": {"N": {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}}},
    },
    "an authority's file": {
        "gateway": {
            "env": {"RAGFLEET_CA_FILE": "/ca/ca.crt"},
            "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        }
    },
    "an engine that is there at once": {"worker": {"startSeconds": 3, "drainSeconds": 0}},
    "no limits": {"worker": {"resources": {"limits": None, "requests": None}}, "gateway": {"resources": None}},
    "no card named": {"worker": {"products": [], "tolerations": []}},
}


@pytest.mark.parametrize("release", ["rf", "a-name-that-is-as-long-as-helm-allows-for-a-release-x"])
@pytest.mark.parametrize("values", ODD.values(), ids=list(ODD))
def test_odd_values_are_valid_too(chart: Path, values: dict[str, Any], release: str) -> None:
    objects = rendered(chart, values, release)
    for each in objects:
        for version in (OLDEST, NEWEST):
            kubernetes.validate(each, version, strict=True)
        for name, label in each["metadata"]["labels"].items():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", label), f"{name}={label}"
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", each["metadata"]["name"])
    for kind in ("Deployment", "StatefulSet"):
        (made,) = (each for each in objects if each["kind"] == kind)
        pod = made["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert len(made["metadata"]["name"]) <= 52 or kind == "Deployment"
        names = [each["name"] for each in container["env"]]
        assert len(names) == len(set(names))
        assert all(isinstance(each.get("value", ""), str) for each in container["env"])
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
        for volume in pod["volumes"]:
            assert len(volume) == 2, f"{volume} is of more than one kind, or of none"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container.get(probe, {}).get("failureThreshold", 1) >= 1


def _variables(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, str]:
    (container,) = named(objects, kind, name)["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def test_numbers_reach_the_settings_as_they_were_written(chart: Path) -> None:
    said = _variables(rendered(chart, ODD["numbers of all sizes"]), "Deployment", "rf-gateway")
    told = [said[name] for name in "ABCDEF"]
    assert told == ["1000000", "0.25", "true", "1e-07", "0", "x: {y"]


def test_a_variable_of_the_values_takes_the_place_of_the_charts_own(chart: Path) -> None:
    said = _variables(rendered(chart, ODD["a variable of the chart's"]), "Deployment", "rf-gateway")
    assert said["AWS_REGION"] == "x"
    assert said["RAGFLEET_CATALOG_URL"] == "postgresql://db/x"
    assert "RAGFLEET_CATALOG_URL_FILE" not in said


def test_one_of_each_can_be_drained(chart: Path) -> None:
    for count, key in ((1, "maxUnavailable"), (2, "minAvailable")):
        objects = rendered(chart, {"gateway": {"replicas": count}})
        assert named(objects, "PodDisruptionBudget", "rf-gateway")["spec"][key] == 1


def test_tls_is_spoken_by_probes_too(chart: Path) -> None:
    objects = rendered(chart, ODD["TLS"])
    pod = named(objects, "Deployment", "rf-gateway")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    assert pod["metadata"]["annotations"]["prometheus.io/scheme"] == "https"


def test_images_are_named_by_digest_where_there_is_one(chart: Path) -> None:
    objects = rendered(chart, ODD["digests"])
    (container,) = named(objects, "Deployment", "rf-gateway")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"ragfleet-gateway@{DIGEST}"


def test_without_a_gpu_nothing_asks_for_one(chart: Path) -> None:
    objects = rendered(chart, ODD["no GPU"])
    pod = named(objects, "StatefulSet", "rf-worker")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "/ragfleet-cpu:" in f"/{container['image']}"
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert "nodeAffinity" not in pod["affinity"]
    assert not any(word.startswith(("--flavour", "--gpu")) for word in container["args"])
