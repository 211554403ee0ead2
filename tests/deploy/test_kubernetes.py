"""The manifests against the schemas of Kubernetes itself, offline; KubeRay's against its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.commands import ROOT, documents, templates

MANIFESTS = [path for path in templates(".yaml") if path.parent.name == "kubernetes"]
RESOURCES = [
    pytest.param(one, id=f"{path.name}-{one['kind']}")
    for path in MANIFESTS
    for one in documents(path)
]
SCHEMAS = Path(__file__).parent / "schemas"


def pods(resource: Any) -> Iterator[dict[str, Any]]:
    """The templates of pods, wherever they are."""
    if isinstance(resource, dict):
        if "containers" in resource.get("spec", {}):
            yield resource
        for value in resource.values():
            yield from pods(value)
    elif isinstance(resource, list):
        for value in resource:
            yield from pods(value)


PODS = [
    pytest.param(pod, id=f"{path.name}-{number}")
    for path in MANIFESTS
    for one in documents(path)
    for number, pod in enumerate(pods(one))
]


@pytest.mark.parametrize("resource", RESOURCES)
def test_each_manifest_fits_its_schema(resource: dict[str, Any]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    if resource["apiVersion"] == "ray.io/v1":
        jsonschema = pytest.importorskip("jsonschema")
        jsonschema.validate(resource, json.loads((SCHEMAS / "kuberay.json").read_bytes()))
    else:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("pod", PODS)
def test_each_pod_fits_the_schema_of_pods(pod: dict[str, Any]) -> None:
    """Those within a RayJob among them."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod["spec"]}
    kubernetes_validate.validate(whole, kubernetes_validate.latest_version(), strict=True)


def test_a_field_that_there_is_not_would_be_noticed() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    jsonschema = pytest.importorskip("jsonschema")
    for param in RESOURCES:
        (resource,) = param.values
        wrong = {**resource, "spec": {**resource["spec"], "nodes": 2}}
        with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
            test_each_manifest_fits_its_schema(wrong)


@pytest.mark.parametrize("pod", PODS)
def test_each_pod_has_few_rights(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert "env" not in container  # keys come from a secret alone


def test_as_many_processes_as_pods_and_gpus() -> None:
    job, service, policy = documents(ROOT / "deploy" / "kubernetes" / "stage2.yaml")
    spec, pod = job["spec"], job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    words = dict(word.lstrip("-").split("=") for word in container["command"] if "=" in word)
    assert int(words["nnodes"]) == spec["completions"] == spec["parallelism"]
    assert words["nproc-per-node"] == container["resources"]["limits"]["nvidia.com/gpu"]
    name, port = job["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert words["rdzv-endpoint"] == f"{name}-0.{service['metadata']['name']}:{port}"
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    labels = pod["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels


def test_the_cluster_has_the_version_of_the_image() -> None:
    (job,) = documents(ROOT / "deploy" / "kubernetes" / "ray.yaml")
    version = job["spec"]["rayClusterSpec"]["rayVersion"]
    locked = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    if "\nray==" in locked:
        assert f"\nray=={version} " in locked
