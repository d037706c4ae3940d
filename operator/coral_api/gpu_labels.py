"""What a node's labels say about its GPUs, in the forms of every cloud that Coral knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coral_api.base import GROUP
from coral_solver.catalog import (
    did_you_mean,
    gpu_type_of_karpenter,
    gpu_type_of_label,
    gpu_types,
    instance_shape,
)
from coral_solver.domain.hardware import CapacityKind, Link

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.hardware import GpuType, PoolKey

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
"""Resources that stand for whole GPUs."""

LINK_LABEL = f"{GROUP}/gpu-link"
"""Our own label: ``nvlink`` or ``pcie`` where a node differs from its type's usual link."""

DEFAULT_REGION = "default"
"""Region of nodes whose labels name none."""

_PRODUCT = "nvidia.com/gpu.product"
_SHARED_RESOURCE = "nvidia.com/gpu.shared"
_MIG_RESOURCE = "nvidia.com/mig-"
_GKE_ACCELERATOR = "cloud.google.com/gke-accelerator"
_KARPENTER_NAME = "karpenter.k8s.aws/instance-gpu-name"
_KARPENTER_MEMORY = "karpenter.k8s.aws/instance-gpu-memory"
_AMD_PRODUCTS = ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name")
_GPU_LABELS = (_PRODUCT, _GKE_ACCELERATOR, _KARPENTER_NAME, *_AMD_PRODUCTS)
_INSTANCE_TYPES = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_REGIONS = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_COUNTS = (
    "nvidia.com/gpu.count",
    "karpenter.k8s.aws/instance-gpu-count",
    "cloud.google.com/gke-accelerator-count",
)

_SHARING = {
    "nvidia.com/gpu.sharing-strategy": frozenset({"", "none"}),
    "cloud.google.com/gke-gpu-sharing-strategy": frozenset({"", "none"}),
    "nvidia.com/gpu.replicas": frozenset({"", "0", "1"}),
}
"""Labels of GPUs that several pods share, with the values that mean "not shared"."""

_MIG = {
    "nvidia.com/mig.config": frozenset({"", "all-disabled"}),
    "cloud.google.com/gke-gpu-partition-size": frozenset({""}),
}
"""Labels of GPUs that are cut into MIG slices, with the values that mean "not cut".

``nvidia.com/mig.strategy`` is not among them: GPU feature discovery writes it on whole GPUs too.
"""

_KINDS = {
    "karpenter.sh/capacity-type": {
        "spot": CapacityKind.SPOT,
        "on-demand": CapacityKind.ON_DEMAND,
        "reserved": CapacityKind.RESERVED,
    },
    "eks.amazonaws.com/capacityType": {
        "spot": CapacityKind.SPOT,
        "on_demand": CapacityKind.ON_DEMAND,
        "capacity_block": CapacityKind.RESERVED,
    },
    "cloud.google.com/gke-spot": {"true": CapacityKind.SPOT},
    "cloud.google.com/gke-preemptible": {"true": CapacityKind.SPOT},
    "cloud.google.com/gke-provisioning": {
        "spot": CapacityKind.SPOT,
        "preemptible": CapacityKind.SPOT,
        "standard": CapacityKind.ON_DEMAND,
        "reservation": CapacityKind.RESERVED,
    },
    "kubernetes.azure.com/scalesetpriority": {"spot": CapacityKind.SPOT},
}

_PROVIDERS = {"aws": "aws", "gce": "gcp", "azure": "azure", "nebius": "nebius"}
"""Cloud by the scheme of ``spec.providerID``."""


class NodeRefusedError(Exception):
    """Carries out of the checks of one node why it cannot be used.

    Parameters
    ----------
    reason
        CamelCase word of ``RefusedNode``.
    message
        What to change.
    unpriced
        What the node would have been, where only its price is missing.
    """

    def __init__(self, reason: str, message: str, *, unpriced: PoolKey | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.unpriced = unpriced


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuEvidence:
    """A GPU type and the label that names it."""

    gpu: GpuType
    label: str
    value: str


def offers_gpus(labels: Mapping[str, str], resources: Mapping[str, Any]) -> bool:
    """Return whether a node has GPUs, or says that it should.

    Parameters
    ----------
    labels
        Labels of the node.
    resources
        Names of what ``status.capacity`` and ``status.allocatable`` list with more than zero.
    """
    if any(
        name in (*GPU_RESOURCES, _SHARED_RESOURCE) or name.startswith(_MIG_RESOURCE)
        for name in resources
    ):
        return True
    return any(labels.get(label) for label in _GPU_LABELS)


def check_whole_gpus(labels: Mapping[str, str], resources: Mapping[str, Any]) -> None:
    """Check that the node offers whole, unshared GPUs of one vendor.

    Raises
    ------
    NodeRefusedError
        ``MigEnabled``, ``TimeSliced`` or ``MixedGpus``.
    """
    product = labels.get(_PRODUCT, "")
    mig = [name for name in sorted(resources) if name.startswith(_MIG_RESOURCE)]
    mig += [f"{label}={labels[label]}" for label in _MIG if _says(labels, label, _MIG)]
    if "-MIG-" in product:
        mig.append(f"{_PRODUCT}={product}")
    if mig:
        raise NodeRefusedError(
            "MigEnabled",
            f"its GPUs are cut into MIG slices ({', '.join(mig)}); Coral plans whole GPUs: turn MIG"
            " off on this node, or leave it to other workloads",
        )
    shared = [f"{label}={labels[label]}" for label in _SHARING if _says(labels, label, _SHARING)]
    if product.endswith("-SHARED"):
        shared.append(f"{_PRODUCT}={product}")
    if _SHARED_RESOURCE in resources:
        shared.append(_SHARED_RESOURCE)
    if shared:
        raise NodeRefusedError(
            "TimeSliced",
            f"its GPUs are shared between pods ({', '.join(shared)}); Coral plans whole GPUs: turn"
            " time-slicing and MPS off on this node, or leave it to other workloads",
        )
    vendors = [name for name in GPU_RESOURCES if name in resources]
    if len(vendors) > 1 or "," in product:
        raise NodeRefusedError(
            "MixedGpus",
            f"it has GPUs of several types ({product if ',' in product else ', '.join(vendors)});"
            " Coral cannot ask the device plugin for one of them: put each type into its own node",
        )


def _says(labels: Mapping[str, str], label: str, harmless: Mapping[str, frozenset[str]]) -> bool:
    return labels.get(label, "").lower() not in harmless[label]


def gpu_evidence(labels: Mapping[str, str]) -> tuple[GpuEvidence, ...]:
    """Return what the labels say about the GPU type, the strongest first.

    GPU feature discovery reads the device itself, so it comes first; then GKE's accelerator label,
    Karpenter's, the AMD labeller's, and last the instance type.

    Raises
    ------
    NodeRefusedError
        ``UnknownGpuLabel``: no label names a type that the catalogue knows.
    """
    found: list[GpuEvidence] = []
    unknown: list[tuple[str, str]] = []
    for label in _GPU_LABELS:
        value = labels.get(label, "")
        if not value:
            continue
        if label == _KARPENTER_NAME:
            gpu = gpu_type_of_karpenter(value, _number(labels.get(_KARPENTER_MEMORY, "")))
        else:
            gpu = gpu_type_of_label(value)
        if gpu is None:
            unknown.append((label, value))
        else:
            found.append(GpuEvidence(gpu=gpu, label=label, value=value))
    shape = _shape(labels)
    if shape is not None:
        by_name = {gpu.name: gpu for gpu in gpu_types()}
        instance = instance_type(labels) or ""
        found.append(GpuEvidence(gpu=by_name[shape[0]], label=_INSTANCE_TYPES[0], value=instance))
    # A label that reads the device outranks the instance type even where it names an unknown GPU.
    if unknown and (not found or unknown[0][0] == _PRODUCT):
        label, value = unknown[0]
        products = [product for gpu in gpu_types() for product in gpu.product_labels]
        near = did_you_mean(value, products, listed=[gpu.name for gpu in gpu_types()])
        raise NodeRefusedError(
            "UnknownGpuLabel",
            f"the label {label}={value} names no GPU type of the catalogue: {near}"
            " Name the gpuType of these nodes in a GPUPool",
        )
    if not found:
        raise NodeRefusedError(
            "UnknownGpuLabel",
            "no label tells its GPU type: install NVIDIA GPU feature discovery"
            f" ({_PRODUCT}), or name the gpuType of these nodes in a GPUPool",
        )
    return tuple(found)


def _shape(labels: Mapping[str, str]) -> tuple[str, int] | None:
    """Return GPU type and count of the node's instance type, where both are known."""
    shape = instance_shape(instance_type(labels) or "")
    return None if shape is None else (shape.gpu, shape.gpu_count)


def instance_type(labels: Mapping[str, str]) -> str | None:
    """Return the node's instance type, or None."""
    return next((labels[label] for label in _INSTANCE_TYPES if labels.get(label)), None)


def claimed_gpus(labels: Mapping[str, str]) -> int | None:
    """Return how many GPUs the node should have by its labels or its instance type, or None."""
    for label in _COUNTS:
        count = _number(labels.get(label, ""))
        if count is not None and count >= 1:
            return int(count)
    shape = _shape(labels)
    return None if shape is None else shape[1]


def link_of(labels: Mapping[str, str], gpu: GpuType) -> Link:
    """Return the link between the node's GPUs: our label, or the usual one of the type.

    Raises
    ------
    NodeRefusedError
        ``UnknownLink``: our label has a value that the GPU type does not have.
    """
    value = labels.get(LINK_LABEL)
    if value is None:
        return gpu.link
    if value not in list(gpu.link_bytes_per_s):
        known = " or ".join(sorted(gpu.link_bytes_per_s))
        raise NodeRefusedError(
            "UnknownLink", f"the label {LINK_LABEL}={value} must be {known} on {gpu.name}"
        )
    return Link(value)


def region_of(labels: Mapping[str, str]) -> str:
    """Return the node's region; ``DEFAULT_REGION`` where no label names it."""
    return next((labels[label] for label in _REGIONS if labels.get(label)), DEFAULT_REGION)


def kind_of(labels: Mapping[str, str]) -> CapacityKind:
    """Return how the node is bought; on demand where no label says so."""
    for label, values in _KINDS.items():
        kind = values.get(labels.get(label, "").lower())
        if kind is not None:
            return kind
    return CapacityKind.ON_DEMAND


def cloud_of(labels: Mapping[str, str], provider_id: str) -> str | None:
    """Return the node's cloud by ``spec.providerID`` or by its instance type, or None."""
    cloud = _PROVIDERS.get(provider_id.partition(":")[0])
    shape = instance_shape(instance_type(labels) or "")
    return cloud or (None if shape is None else shape.cloud)


def _number(text: str) -> float | None:
    """Return a label's value as a number; None where it is none. Labels are free text."""
    return float(text) if text.isascii() and text.isdigit() else None
