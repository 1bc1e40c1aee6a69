"""The manifests of the documentation are what Kubernetes and the Dask operator take."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

MANIFESTS = sorted((Path(__file__).parents[2] / "docs/howto/kubernetes").glob("*.yaml"))
VERSION = "1.31"
_OF_CLUSTER = {
    "worker": ({"spec"}, {"replicas", "metadata", "spec"}),
    "scheduler": ({"spec", "service"}, {"metadata", "spec", "service"}),
}
"""Keys that the parts of a DaskCluster need and may have, by the operator's definition of version v1."""


def plain(said):
    """What Kubernetes would be asked to create: a DaskCluster is pods and a service."""
    if said["kind"] != "DaskCluster":
        return [said]
    assert said["apiVersion"] == "kubernetes.dask.org/v1"
    assert set(said["spec"]) == {"worker", "scheduler"}
    for part, (needed, known) in _OF_CLUSTER.items():
        assert needed <= set(said["spec"][part]) <= known
    parts = said["spec"]
    pods = [_object("Pod", part["spec"]) for part in parts.values()]
    return [*pods, _object("Service", parts["scheduler"]["service"])]


def _object(kind, spec):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_is_valid(path):
    judge = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: pip install '.[dev]'")
    for one in plain(yaml.safe_load(path.read_text())):
        judge.validate(one, VERSION, strict=True)
        wrong = {**one, "spec": {**one["spec"], "replikas": 2}}
        with pytest.raises(judge.ValidationError):
            judge.validate(wrong, VERSION, strict=True)


def test_all_manifests_are_in_the_page():
    page = (Path(__file__).parents[2] / "docs/howto/clusters.md").read_text()
    assert len(MANIFESTS) == 3
    assert all(f"(kubernetes/{path.name})" in page for path in MANIFESTS)
