"""Describe GPU nodes, and turn the description into node objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from coral_localcluster.components import FAKE_NODE_ANNOTATION, FAKE_NODE_VALUE
from coral_localcluster.errors import InvalidNodeError
from coral_localcluster.gpus import GPU_PRODUCTS, machine_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_localcluster.rest import Document

NVIDIA_GPU = "nvidia.com/gpu"
MANAGED_LABEL = "localcluster.coral.dev/managed"
REGION_LABEL = "topology.kubernetes.io/region"
ZONE_LABEL = "topology.kubernetes.io/zone"
INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
CAPACITY_TYPE_LABEL = "karpenter.sh/capacity-type"

CapacityType = Literal["on-demand", "spot", "reserved"]
TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_FLEET_ITEM = re.compile(r"(?P<gpu>[A-Za-z0-9-]+)x(?P<gpus_per_node>\d+):(?P<num_nodes>\d+)")
_PODS_PER_NODE = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """A taint of a node.

    Parameters
    ----------
    key, value, effect
        As in the Kubernetes API.
    """

    key: str
    value: str = ""
    effect: TaintEffect = "NoSchedule"


GPU_TAINT = Taint(key=NVIDIA_GPU, value="present")
"""The taint that clouds put on GPU nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuNodeSpec:
    """A node to create; `gpu_node` fills in what real nodes of a GPU would carry.

    Parameters
    ----------
    name
        Name of the node.
    gpu_count
        GPUs in it; 0 is a node without GPUs, which does not name the resource at all.
    labels
        Labels; region, zone and name are added.
    annotations
        Annotations; KWOK's is added.
    resource_name
        Extended resource of the GPUs.
    taints
        Taints of the node.
    num_cpus
        CPUs.
    memory_gib
        Main memory in GiB.
    region, zone
        Topology labels; ``None`` leaves the label away.
    is_unschedulable
        Whether the node starts cordoned.
    healthy_gpu_count
        GPUs that can be allocated; ``None``: all of them. A device plugin takes
        a failed GPU from what is allocatable, not from the capacity.
    extra_resources
        Further resources, such as ``nvidia.com/mig-3g.40gb``, as quantities.
    """

    name: str
    gpu_count: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    resource_name: str = NVIDIA_GPU
    taints: tuple[Taint, ...] = ()
    num_cpus: int = 32
    memory_gib: int = 256
    region: str | None = None
    zone: str | None = None
    is_unschedulable: bool = False
    healthy_gpu_count: int | None = None
    extra_resources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what the API server would refuse, all faults at once."""
        faults = []
        if _NODE_NAME.fullmatch(self.name) is None:
            faults.append(f"the name {self.name!r} is not a DNS name in lower case")
        if self.gpu_count < 0:
            faults.append(f"gpu_count is {self.gpu_count}, below 0")
        if self.healthy_gpu_count is not None and not (
            0 <= self.healthy_gpu_count <= self.gpu_count
        ):
            faults.append(f"{self.healthy_gpu_count} healthy GPUs of {self.gpu_count}")
        if self.num_cpus <= 0 or self.memory_gib <= 0:
            faults.append(f"{self.num_cpus} CPUs and {self.memory_gib} GiB must be above 0")
        if faults:
            raise InvalidNodeError("InvalidNode", "; ".join(faults), node=self.name)

    def manifest(self) -> Document:
        """Return the node object, with its status, as the API server takes it."""
        labels = {
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/os": "linux",
            "kubernetes.io/hostname": self.name,
            MANAGED_LABEL: "true",
            **self.labels,
        }
        if self.region is not None:
            labels[REGION_LABEL] = self.region
        if self.zone is not None:
            labels[ZONE_LABEL] = self.zone
        resources = {
            "cpu": str(self.num_cpus),
            "memory": f"{self.memory_gib}Gi",
            "ephemeral-storage": "1Ti",
            "pods": str(_PODS_PER_NODE),
            **self.extra_resources,
        }
        capacity, allocatable = dict(resources), dict(resources)
        if self.gpu_count:
            healthy = self.healthy_gpu_count
            capacity[self.resource_name] = str(self.gpu_count)
            allocatable[self.resource_name] = str(self.gpu_count if healthy is None else healthy)
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": labels,
                "annotations": {**self.annotations, FAKE_NODE_ANNOTATION: FAKE_NODE_VALUE},
            },
            "spec": {
                "unschedulable": self.is_unschedulable,
                "taints": [
                    {"key": taint.key, "value": taint.value, "effect": taint.effect}
                    for taint in self.taints
                ],
            },
            "status": {"capacity": capacity, "allocatable": allocatable},
        }


def gpu_node(
    name: str,
    gpu: str,
    gpu_count: int,
    *,
    region: str = "us-east-1",
    zone: str | None = None,
    capacity_type: CapacityType | None = None,
    taints: tuple[Taint, ...] = (),
    extra_labels: Mapping[str, str] | None = None,
    num_cpus: int | None = None,
    memory_gib: int | None = None,
    is_unschedulable: bool = False,
) -> GpuNodeSpec:
    """Describe a node as GPU feature discovery and a cloud would label it.

    Parameters
    ----------
    name
        Name of the node.
    gpu
        Key of `GPU_PRODUCTS`, such as ``H100``.
    gpu_count
        GPUs in the node, at least 1.
    region
        Region label.
    zone
        Zone label; ``None`` stands for the first zone, ``<region>a``.
    capacity_type
        Karpenter's label for it; ``None`` leaves the label away.
    taints
        Taints; `GPU_TAINT` is the usual one.
    extra_labels
        Labels that are added, or that replace those made here.
    num_cpus, memory_gib
        Size of the machine; ``None`` takes that of the usual instance type.
    is_unschedulable
        Whether the node starts cordoned.

    Raises
    ------
    InvalidNodeError
        If the GPU is not known (``reason="UnknownGpu"``) or a value is out of range.
    """
    product = GPU_PRODUCTS.get(gpu)
    if product is None:
        known = ", ".join(sorted(GPU_PRODUCTS))
        raise InvalidNodeError("UnknownGpu", f"{gpu!r} is not one of {known}", gpu=gpu)
    if gpu_count < 1:
        raise InvalidNodeError("InvalidNode", f"a GPU node has at least 1 GPU, not {gpu_count}")
    machine = machine_for(gpu, gpu_count)
    major, minor = product.compute_capability
    labels = {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": product.product,
        "nvidia.com/gpu.count": str(gpu_count),
        "nvidia.com/gpu.memory": str(product.memory_mib),
        "nvidia.com/gpu.family": product.family,
        "nvidia.com/gpu.compute.major": str(major),
        "nvidia.com/gpu.compute.minor": str(minor),
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.sharing-strategy": "none",
        "nvidia.com/mig.capable": str(product.is_mig_capable).lower(),
        INSTANCE_TYPE_LABEL: machine.instance_type,
    }
    if capacity_type is not None:
        labels[CAPACITY_TYPE_LABEL] = capacity_type
    return GpuNodeSpec(
        name=name,
        gpu_count=gpu_count,
        labels={**labels, **(extra_labels or {})},
        taints=taints,
        num_cpus=num_cpus or machine.num_cpus,
        memory_gib=memory_gib or machine.memory_gib,
        region=region,
        zone=zone or f"{region}a",
        is_unschedulable=is_unschedulable,
    )


def gpu_nodes(
    num_nodes: int,
    gpu: str,
    gpu_count: int,
    *,
    region: str = "us-east-1",
    name_prefix: str | None = None,
    capacity_type: CapacityType | None = None,
    taints: tuple[Taint, ...] = (),
    extra_labels: Mapping[str, str] | None = None,
) -> list[GpuNodeSpec]:
    """Describe several equal nodes, spread over the zones a, b and c of a region.

    Names are ``<prefix>-000`` and so on, with ``<gpu>x<count>-<region>`` as the
    prefix (and the capacity type in it, if there is one) unless it is given.
    """
    if name_prefix is None:
        words = [f"{gpu}x{gpu_count}", region, *([capacity_type] if capacity_type else [])]
        name_prefix = "-".join(words).lower()
    return [
        gpu_node(
            f"{name_prefix}-{index:03d}",
            gpu,
            gpu_count,
            region=region,
            zone=f"{region}{'abc'[index % 3]}",
            capacity_type=capacity_type,
            taints=taints,
            extra_labels=extra_labels,
        )
        for index in range(num_nodes)
    ]


def parse_fleet(
    items: list[str],
    *,
    region: str = "us-east-1",
    capacity_type: CapacityType | None = None,
    taints: tuple[Taint, ...] = (),
) -> list[GpuNodeSpec]:
    """Read a fleet written as ``H100x8:2 L4x4:10``: GPU, GPUs per node, number of nodes.

    Raises
    ------
    InvalidNodeError
        If an item has another form (``reason="InvalidFleet"``) or names an unknown GPU.
    """
    fleet: list[GpuNodeSpec] = []
    names_by_lower_case = {gpu.lower(): gpu for gpu in GPU_PRODUCTS}
    for item in items:
        match = _FLEET_ITEM.fullmatch(item)
        if match is None:
            raise InvalidNodeError(
                "InvalidFleet", f"{item!r} is not GPUxCOUNT:NODES, such as H100x8:2", item=item
            )
        fleet += gpu_nodes(
            int(match["num_nodes"]),
            names_by_lower_case.get(match["gpu"].lower(), match["gpu"]),
            int(match["gpus_per_node"]),
            region=region,
            capacity_type=capacity_type,
            taints=taints,
        )
    return fleet


def mixed_fleet(num_nodes: int, *, region: str = "us-east-1") -> list[GpuNodeSpec]:
    """Describe a mixed cluster: of ten nodes one H100x8, two A100x8, two L40Sx4 and so on.

    The same number always gives the same nodes, and a larger fleet contains a
    smaller one.
    """
    pattern = (
        ("H100", 8),
        ("A100-80GB", 8),
        ("L40S", 4),
        ("L4", 4),
        ("A10G", 4),
        ("A100-80GB", 8),
        ("L4", 4),
        ("L40S", 4),
        ("A10G", 4),
        ("L4", 1),
    )
    counts: dict[tuple[str, int], int] = {}
    for index in range(num_nodes):
        shape = pattern[index % len(pattern)]
        counts[shape] = counts.get(shape, 0) + 1
    return [
        node
        for (gpu, gpu_count), count in counts.items()
        for node in gpu_nodes(count, gpu, gpu_count, region=region)
    ]
