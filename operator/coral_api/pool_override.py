"""What a GPUPool says about nodes, in the words of the domain."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from coral_api.gpu_labels import GPU_RESOURCES
from coral_solver.catalog import gpu_type
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import CapacityKind, Link, PoolScaling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOLERATED_TAINT_KEYS = frozenset(
    {
        *GPU_RESOURCES,
        "cloud.google.com/gke-spot",
        "kubernetes.azure.com/scalesetpriority",
    }
)
"""Taints that say no more than "GPU node" or "spot node"; Coral's pods tolerate them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOverride:
    """What a GPUPool says about the nodes that it selects; None: as the labels say.

    Attributes
    ----------
    name
        Name of the GPUPool.
    match_labels
        Labels that a node of the pool has.
    gpu, gpus_per_node, link, region, kind
        Shape, place and capacity kind of the nodes.
    node_usd_per_hour
        Price of a whole node by capacity kind.
    scaling, max_nodes
        Elastic pools need ``gpu``, ``gpus_per_node`` and ``region``: they may have no node yet.
    start_time_s, site_factor
        As in ``GpuPool``.
    tolerated_taint_keys
        Taints that do not keep Coral off these nodes.
    """

    name: str
    match_labels: Mapping[str, str]
    gpu: str | None = None
    gpus_per_node: int | None = None
    link: Link | None = None
    region: str | None = None
    kind: CapacityKind | None = None
    node_usd_per_hour: Mapping[CapacityKind, float] = field(
        default_factory=lambda: MappingProxyType({})
    )
    scaling: PoolScaling = PoolScaling.FIXED
    max_nodes: int = 0
    start_time_s: float | None = None
    site_factor: float = 1.0
    tolerated_taint_keys: frozenset[str] = frozenset()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Return whether a node with these labels is meant."""
        return all(labels.get(key) == value for key, value in self.match_labels.items())


def tolerated_taint_keys(overrides: Iterable[PoolOverride]) -> tuple[str, ...]:
    """Return the taint keys that Coral's pods must tolerate, sorted."""
    return tuple(
        sorted(TOLERATED_TAINT_KEYS.union(*(pool.tolerated_taint_keys for pool in overrides)))
    )


def override_problems(pool: PoolOverride) -> list[str]:
    """Return what is wrong with a GPUPool, each in a sentence that names it."""
    problems = []
    if pool.gpu is not None:
        try:
            gpu = gpu_type(pool.gpu)
        except CatalogError as error:
            problems.append(str(error))
        else:
            if pool.link is not None and pool.link not in gpu.link_bytes_per_s:
                problems.append(f"{gpu.name} has no {pool.link} link")
    for kind, usd in pool.node_usd_per_hour.items():
        if not (math.isfinite(usd) and usd >= 0):
            problems.append(f"the {kind} price {usd} is not a price")
    if pool.gpus_per_node is not None and pool.gpus_per_node < 1:
        problems.append(f"gpusPerNode {pool.gpus_per_node} must be at least 1")
    if not (math.isfinite(pool.site_factor) and pool.site_factor > 0):
        problems.append(f"the site factor {pool.site_factor} must be above 0")
    if pool.start_time_s is not None and not (
        math.isfinite(pool.start_time_s) and pool.start_time_s >= 0
    ):
        problems.append(f"the start time {pool.start_time_s} must not be negative")
    if pool.scaling is PoolScaling.ELASTIC:
        if None in (pool.gpu, pool.gpus_per_node, pool.region):
            problems.append("an Elastic pool needs gpuType, gpusPerNode and region")
        if pool.max_nodes < 1:
            problems.append("an Elastic pool needs maxNodes of at least 1")
    return [f"GPUPool {pool.name}: {problem}" for problem in problems]
