"""The checks of one GPU node: whether it can be used, as what, how much of it is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_api.gpu_labels import (
    NodeRefusedError,
    check_whole_gpus,
    claimed_gpus,
    cloud_of,
    gpu_evidence,
    instance_type,
    kind_of,
    link_of,
    region_of,
)
from coral_api.pods import Manifest, requested_gpus, section, whole_number
from coral_api.pool_override import PoolOverride, tolerated_taint_keys
from coral_solver.catalog import NoPrice, gpu_type, node_price
from coral_solver.domain.hardware import GpuType, PoolKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something about a node or a GPUPool that people should know; the planning goes on.

    Attributes
    ----------
    subject
        Name of the node or of the GPUPool.
    reason
        CamelCase word.
    message
        One sentence.
    """

    subject: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableNode:
    """A node that passed every check, with its pool key and price."""

    name: str
    key: PoolKey
    free_gpus: int
    usd_per_hour: float
    override: PoolOverride | None
    notices: tuple[Notice, ...]


def node_name(node: Manifest) -> str:
    """Return the node's name; empty where the manifest has none."""
    return str(section(node, "metadata").get("name", ""))


def node_labels(node: Manifest) -> dict[str, str]:
    """Return the node's labels; a file written by hand may have numbers for their values."""
    labels = section(section(node, "metadata"), "labels")
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in labels.items()
    }


def offered_resources(node: Manifest) -> dict[str, object]:
    """Return the resources that the node lists with more than zero, allocatable or not."""
    status = section(node, "status")
    both = [*section(status, "capacity").items(), *section(status, "allocatable").items()]
    return {name: quantity for name, quantity in both if str(quantity) != "0"}


def usable_node(
    node: Manifest, held: Sequence[Manifest], override: PoolOverride | None
) -> UsableNode:
    """Check a GPU node and count its free GPUs.

    Parameters
    ----------
    node
        The node.
    held
        Pods on it whose GPUs are not for Coral.
    override
        The GPUPool that speaks for it.

    Raises
    ------
    NodeRefusedError
        If it cannot be used.
    """
    name, labels = node_name(node), node_labels(node)
    _check_schedulable(node, override)
    check_whole_gpus(labels, offered_resources(node))
    gpu, notices = _gpu_of(name, labels, override)
    allocatable = _allocatable(node, gpu)
    claimed = (override.gpus_per_node if override else None) or claimed_gpus(labels)
    count = claimed or max(allocatable, _quantity(node, "capacity", gpu.device_resource))
    if allocatable > count:
        raise NodeRefusedError(
            "MixedGpus",
            f"it offers {allocatable} GPUs where {count} {gpu.name} are expected: it has GPUs of"
            " several types, or a wrong label; correct it, or set gpusPerNode in a GPUPool",
        )
    if allocatable < count:
        text = f"it should have {count} {gpu.name}, but only {allocatable} can be used"
        notices = (*notices, Notice(subject=name, reason="FewerGpusThanClaimed", message=text))
    key = PoolKey(
        gpu.name,
        count,
        (override.link if override else None) or link_of(labels, gpu),
        (override.region if override else None) or region_of(labels),
        (override.kind if override else None) or kind_of(labels),
    )
    return UsableNode(
        name=name,
        key=key,
        free_gpus=max(0, allocatable - sum(_taken(pod, gpu) for pod in held)),
        usd_per_hour=_price(node, key, override),
        override=override,
        notices=notices,
    )


_NOT_READY_TAINTS = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
"""Kubernetes takes them off a moment after the node is ready: no private taints of anybody."""


def _check_schedulable(node: Manifest, override: PoolOverride | None) -> None:
    conditions = section(node, "status").get("conditions") or ()
    ready = [c.get("status") for c in conditions if c.get("type") == "Ready"]
    spec = section(node, "spec")
    taints = {taint.get("key") for taint in spec.get("taints") or ()}
    if ready != ["True"] or taints & _NOT_READY_TAINTS:
        raise NodeRefusedError(
            "NotReady",
            "its Ready condition is not True, or was not a moment ago; see `kubectl describe node`",
        )
    if spec.get("unschedulable"):
        raise NodeRefusedError(
            "Cordoned", "it is cordoned; `kubectl uncordon` gives it back to Coral"
        )
    tolerated = set(tolerated_taint_keys([override] if override else []))
    strange = sorted(
        f"{taint.get('key')}:{taint.get('effect')}"
        for taint in spec.get("taints") or ()
        if taint.get("effect") in ("NoSchedule", "NoExecute") and taint.get("key") not in tolerated
    )
    if strange:
        raise NodeRefusedError(
            "TaintNotTolerated",
            f"Coral's pods do not tolerate its taints {', '.join(strange)}; name them in"
            " toleratedTaintKeys of a GPUPool if Coral may use it",
        )


def _gpu_of(
    name: str, labels: Mapping[str, str], override: PoolOverride | None
) -> tuple[GpuType, tuple[Notice, ...]]:
    if override is not None and override.gpu is not None:
        return gpu_type(override.gpu), ()
    first, *others = gpu_evidence(labels)
    notices = tuple(
        Notice(
            subject=name,
            reason="LabelsDisagree",
            message=f"{first.label}={first.value} says {first.gpu.name}, but {other.label}="
            f"{other.value} says {other.gpu.name}; the first is believed",
        )
        for other in others
        if other.gpu != first.gpu
    )
    return first.gpu, notices


def _allocatable(node: Manifest, gpu: GpuType) -> int:
    allocatable = _quantity(node, "allocatable", gpu.device_resource)
    if allocatable == 0:
        raise NodeRefusedError(
            "NoAllocatableGpus",
            f"its labels speak of {gpu.name}, but it offers no {gpu.device_resource}: look at the"
            " device plugin's pod on this node",
        )
    return allocatable


def _quantity(node: Manifest, field_name: str, resource: str) -> int:
    quantity = section(section(node, "status"), field_name).get(resource, 0)
    try:
        return whole_number(quantity)
    except ValueError as error:
        raise NodeRefusedError("InvalidManifest", f"status.{field_name}: {error}") from error


def _taken(pod: Manifest, gpu: GpuType) -> int:
    try:
        return requested_gpus(pod, gpu.device_resource)
    except ValueError as error:
        metadata = section(pod, "metadata")
        name = f"{metadata.get('namespace', 'default')}/{metadata.get('name', '')}"
        text = f"pod {name} on it: {error}"
        raise NodeRefusedError("InvalidManifest", text) from error


def _price(node: Manifest, key: PoolKey, override: PoolOverride | None) -> float:
    if override is not None and key.kind in override.node_usd_per_hour:
        return override.node_usd_per_hour[key.kind]
    labels = node_labels(node)
    price = node_price(
        key.gpu,
        key.gpus_per_node,
        key.region,
        key.kind,
        cloud=cloud_of(labels, str(section(node, "spec").get("providerID", ""))),
        instance_type=instance_type(labels),
    )
    if isinstance(price, NoPrice):
        text = f"{price.message}; give its price in a GPUPool"
        raise NodeRefusedError("NoPrice", text, unpriced=key)
    return price.usd_per_hour
