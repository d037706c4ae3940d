"""GPUs, nodes and pools."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Precision(StrEnum):
    """Number format of a model's weights."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    MXFP4 = "mxfp4"


class Link(StrEnum):
    """What joins the GPUs inside one node."""

    NVLINK = "nvlink"
    PCIE = "pcie"


class CapacityKind(StrEnum):
    """How a pool's nodes are bought."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    RESERVED = "reserved"


class PoolScaling(StrEnum):
    """Whether a pool has the nodes it has, or can open more."""

    FIXED = "Fixed"
    ELASTIC = "Elastic"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuType:
    """One GPU type as its public data sheet gives it.

    Attributes
    ----------
    name
        Coral's name, for example ``H100-80GB`` or ``L4``.
    memory_gib
        Memory that a process can use, in GiB.
    memory_bandwidth_bytes_per_s
        Peak bandwidth of the GPU's own memory.
    flops_per_s
        Dense (not sparse) peak by precision. A precision that the GPU has no units for is absent;
        weights in it are then computed in bf16 or fp16.
    compute_capability
        CUDA compute capability, for example ``(9, 0)``.
    link
        Link of the usual multi-GPU node of this type; a node's label may say otherwise.
    link_bytes_per_s
        Bandwidth by link, per GPU and direction.
    product_labels
        Values of ``nvidia.com/gpu.product`` and of the clouds' own labels that mean this type.
    source
        Data sheet or data file that the numbers come from.
    device_resource
        Name under which the vendor's device plugin offers the GPU to Kubernetes.
    """

    name: str
    memory_gib: float
    memory_bandwidth_bytes_per_s: float
    flops_per_s: dict[Precision, float]
    compute_capability: tuple[int, int]
    link: Link
    link_bytes_per_s: dict[Link, float]
    product_labels: tuple[str, ...]
    source: str
    device_resource: str = "nvidia.com/gpu"


class NodeShape(NamedTuple):
    """A physical node: GPU type, number of GPUs, link between them."""

    gpu: str
    gpu_count: int
    link: Link


class NodeConfig(NamedTuple):
    """``gpu_count`` GPUs of one type inside one node: the unit that a template is made of.

    ``gpu_count`` is a power of two. The same configuration can be cut from any node shape with
    the same GPU type and link that has at least as many GPUs.
    """

    gpu: str
    gpu_count: int
    link: Link

    def __str__(self) -> str:
        """Return a short name such as ``H100-80GB x4``."""
        return f"{self.gpu} x{self.gpu_count}"


class PoolKey(NamedTuple):
    """What makes nodes interchangeable to the planner."""

    gpu: str
    gpus_per_node: int
    link: Link
    region: str
    kind: CapacityKind

    def __str__(self) -> str:
        """Return the pool's stable name, for example ``us-east-2/L4x4-pcie/spot``."""
        return f"{self.region}/{self.gpu}x{self.gpus_per_node}-{self.link}/{self.kind}"


class PoolNode(NamedTuple):
    """One node of a pool: its name and how many of its GPUs the planner may use."""

    name: str
    free_gpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPool:
    """Nodes with one shape, region and capacity kind.

    Attributes
    ----------
    key
        Shape, region and kind.
    node_usd_per_hour
        Price of a whole node. A slice of ``t`` GPUs costs ``t / gpus_per_node`` of it.
    nodes
        The nodes that exist, sorted by name, with the GPUs that are free for Coral: those that no
        other pod holds. GPUs that Coral's own pods hold count as free.
    scaling
        ``FIXED``: only ``nodes`` can be used. ``ELASTIC``: up to ``max_nodes`` whole nodes can be
        opened, and whole nodes are paid.
    max_nodes
        Ceiling on the nodes of an elastic pool, those that exist included; 0 for a fixed pool.
    start_time_s
        Time from asking for an instance on this pool until it serves.
    site_factor
        Measured over predicted speed at this site; 1.0 means "as predicted".
    """

    key: PoolKey
    node_usd_per_hour: float
    nodes: tuple[PoolNode, ...] = ()
    scaling: PoolScaling = PoolScaling.FIXED
    max_nodes: int = 0
    start_time_s: float = 300.0
    site_factor: float = 1.0

    @property
    def name(self) -> str:
        """Stable name of the pool: the text form of its key."""
        return str(self.key)

    @property
    def shape(self) -> NodeShape:
        """Shape of every node of the pool."""
        return NodeShape(self.key.gpu, self.key.gpus_per_node, self.key.link)

    @property
    def free_gpus(self) -> int:
        """GPUs that the planner may use on the nodes that exist."""
        return sum(node.free_gpus for node in self.nodes)

    def gpu_usd_per_hour(self) -> float:
        """Return the price of one GPU of the pool, in USD per hour."""
        return self.node_usd_per_hour / self.key.gpus_per_node


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedNode:
    """A node that the planner may not use, and why.

    Attributes
    ----------
    name
        The node.
    reason
        CamelCase word, for example ``Cordoned`` or ``UnknownGpuLabel``.
    message
        What to change, in a sentence.
    """

    name: str
    reason: str
    message: str = field(default="")


def power_of_two_sizes(gpu_count: int) -> tuple[int, ...]:
    """Return the sizes of the node configurations of a node: 1, 2, 4, ... up to its GPUs."""
    return tuple(1 << exponent for exponent in range(gpu_count.bit_length()))


def cheapest_usd_per_hour(
    config: NodeConfig, pools: Iterable[GpuPool], *, whole_nodes_only: bool = False
) -> float:
    """Return the price of a node configuration on the cheapest pool that can give it.

    Free GPUs do not matter.

    Parameters
    ----------
    config
        One of ``configs_on_offer(pools)``.
    pools
        GPU pools.
    whole_nodes_only
        Leave out slices of nodes.
    """
    return min(
        pool.gpu_usd_per_hour() * config.gpu_count
        for pool in pools
        if (pool.key.gpu, pool.key.link) == (config.gpu, config.link)
        and pool.key.gpus_per_node >= config.gpu_count
        and not (whole_nodes_only and pool.key.gpus_per_node > config.gpu_count)
    )


def configs_on_offer(
    pools: Iterable[GpuPool], *, whole_nodes_only: bool = False
) -> tuple[NodeConfig, ...]:
    """Return every node configuration that the pools' shapes allow, sorted.

    Free GPUs do not matter: the set, and with it stage 1's work, changes only when a shape does.

    Parameters
    ----------
    pools
        GPU pools.
    whole_nodes_only
        Leave out slices of nodes.
    """
    found = set()
    for pool in pools:
        gpu, gpus_per_node, link = pool.shape
        for size in power_of_two_sizes(gpus_per_node):
            if not whole_nodes_only or size == gpus_per_node:
                found.add(NodeConfig(gpu, size, link))
    return tuple(sorted(found))
