"""Node and Pod manifests as ``kubectl get -o json`` gives them, as far as they matter."""

import pytest


@pytest.fixture
def make_node():
    """Build a Node: ``gpus`` allocatable ones, ``capacity`` in the machine."""

    def build(
        name,
        *,
        labels,
        gpus,
        capacity=None,
        resource="nvidia.com/gpu",
        resources=None,
        ready="True",
        unschedulable=False,
        taints=(),
        provider_id="",
    ):
        allocatable = {"cpu": "96", resource: str(gpus)} | (resources or {})
        conditions = [{"type": "MemoryPressure", "status": "False"}]
        if ready is not None:
            conditions.append({"type": "Ready", "status": ready})
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": {
                "unschedulable": unschedulable,
                "providerID": provider_id,
                "taints": [{"key": k, "value": v, "effect": e} for k, v, e in taints],
            },
            "status": {
                "conditions": conditions,
                "capacity": allocatable | {resource: str(gpus if capacity is None else capacity)},
                "allocatable": allocatable,
            },
        }

    return build


@pytest.fixture
def make_pod():
    """Build a Pod that asks for GPUs in its only container."""

    def build(name, *, gpus, node, phase="Running", labels=None, deletion=None):
        metadata = {"name": name, "namespace": "default", "labels": labels or {}}
        if deletion:
            metadata["deletionTimestamp"] = deletion
        spec = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}]}
        if node:
            spec["nodeName"] = node
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": spec,
            "status": {"phase": phase},
        }

    return build
