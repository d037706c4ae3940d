"""Cut objects down to what is read later: a cluster has many pods, and the operator little memory.

The shape stays that of the API, so that the readers work on live objects and on files alike. What
changes without meaning (heartbeats) is left out: a trimmed object is equal to the one before unless
something changed that a plan could depend on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coral_api.gpu_labels import GPU_RESOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_operator.kube.client import Manifest


def trim_node(body: Mapping[str, Any]) -> Manifest:
    """Keep labels, taints, readiness and capacity of a node."""
    spec, status = body.get("spec", {}), body.get("status", {})
    return {
        "metadata": _metadata(body, "creationTimestamp", "deletionTimestamp"),
        "spec": _picked(spec, "unschedulable", "taints", "providerID"),
        "status": {
            **_picked(status, "capacity", "allocatable"),
            "conditions": [
                _picked(condition, "type", "status")
                for condition in status.get("conditions") or ()
                if condition.get("type") == "Ready"
            ],
        },
    }


def trim_pod(body: Mapping[str, Any]) -> Manifest | None:
    """Keep where a pod is, which GPUs it asks for, why it does not run; None without GPUs."""
    spec, status = body.get("spec", {}), body.get("status", {})
    containers = [_container(c) for c in spec.get("containers") or ()]
    init_containers = [_container(c) for c in spec.get("initContainers") or ()]
    if not any(c["resources"] for c in (*containers, *init_containers)):
        return None
    trimmed_spec = {**_picked(spec, "nodeName", "overhead"), "containers": containers}
    if init_containers:
        trimmed_spec["initContainers"] = init_containers
    return {
        "metadata": _metadata(body, "namespace", "deletionTimestamp"),
        "spec": trimmed_spec,
        "status": {
            **_picked(status, "phase"),
            "conditions": [
                _picked(condition, "type", "status", "reason", "message", "lastTransitionTime")
                for condition in status.get("conditions") or ()
                if condition.get("type") in ("Ready", "PodScheduled")
            ],
            "containerStatuses": [
                {
                    **_picked(container, "name", "restartCount"),
                    "state": {"waiting": _picked(waiting, "reason", "message")},
                }
                for container in status.get("containerStatuses") or ()
                if (waiting := (container.get("state") or {}).get("waiting"))
            ],
        },
    }


def trim_child(body: Mapping[str, Any]) -> Manifest:
    """Keep of a Deployment or Service what tells whether it is ours, as wanted, and ready."""
    status = body.get("status", {})
    return {
        **_picked(body, "kind"),
        "metadata": _metadata(body, "namespace", "generation", "deletionTimestamp", "annotations"),
        "status": {
            **_picked(status, "observedGeneration", "updatedReplicas", "availableReplicas"),
            "conditions": [
                _picked(condition, "type", "status", "reason", "message")
                for condition in status.get("conditions") or ()
                if condition.get("type") == "ReplicaFailure"
            ],
        },
    }


def trim_custom(body: Mapping[str, Any]) -> Manifest:
    """Keep all of a custom resource but the bookkeeping of field managers."""
    metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    return {**{k: v for k, v in body.items() if k != "metadata"}, "metadata": metadata}


def _metadata(body: Mapping[str, Any], *more: str) -> Manifest:
    return _picked(body["metadata"], "name", "uid", "labels", *more)


def _container(container: Mapping[str, Any]) -> Manifest:
    """Keep a container's GPU requests, and whether it is a sidecar."""
    resources = container.get("resources") or {}
    gpus = {
        kind: {k: v for k, v in (resources.get(kind) or {}).items() if k in GPU_RESOURCES}
        for kind in ("requests", "limits")
    }
    return {
        **_picked(container, "name", "restartPolicy"),
        "resources": {kind: values for kind, values in gpus.items() if values},
    }


def _picked(source: Mapping[str, Any], *keys: str) -> Manifest:
    return {key: source[key] for key in keys if source.get(key) is not None}
