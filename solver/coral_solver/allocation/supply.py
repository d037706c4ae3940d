"""GPUs on offer: which nodes can give slices of which size, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from coral_solver.domain.hardware import PoolScaling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coral_solver.domain.hardware import GpuPool, NodeConfig, PoolKey, PoolNode


@dataclass(frozen=True, kw_only=True)
class Supply:
    """Nodes of one pool that are paid the same way.

    A fixed pool is one supply. An elastic pool is up to two: the nodes that are wholly free or
    can be opened, paid as whole nodes; and the existing nodes that other pods partly hold, which
    are paid by somebody already and cost their slices like fixed ones.

    Attributes
    ----------
    pool
        The pool.
    elastic
        Whether whole nodes are paid, up to ``max_open``.
    nodes
        Existing nodes with a free GPU, sorted by name.
    max_open
        Most nodes that may be in use at once; 0 for a supply that is not elastic.
    """

    pool: GpuPool
    elastic: bool
    nodes: tuple[PoolNode, ...]
    max_open: int

    @property
    def region(self) -> str:
        """Region of the nodes."""
        return self.pool.key.region

    @property
    def gpu_usd_per_hour(self) -> float:
        """Price of one GPU of a slice, in USD per hour."""
        return self.pool.gpu_usd_per_hour()

    @cached_property
    def free_by_node(self) -> dict[str, int]:
        """Free GPUs by node name."""
        return {node.name: node.free_gpus for node in self.nodes}

    def offers(self, config: NodeConfig, *, whole_nodes_only: bool) -> bool:
        """Return whether slices of this configuration can be cut from these nodes."""
        return can_cut(self.pool.key, config, whole_nodes_only=whole_nodes_only)

    def slots(self, size: int) -> int:
        """Return how many slices of ``size`` GPUs the empty supply holds."""
        if self.elastic:
            return self.max_open * (self.pool.key.gpus_per_node // size)
        return sum(node.free_gpus // size for node in self.nodes)


def can_cut(key: PoolKey, config: NodeConfig, *, whole_nodes_only: bool) -> bool:
    """Return whether a node of the pool can give a slice of this configuration."""
    if (key.gpu, key.link) != (config.gpu, config.link):
        return False
    if whole_nodes_only:
        return key.gpus_per_node == config.gpu_count
    return key.gpus_per_node >= config.gpu_count


def build_supplies(pools: Iterable[GpuPool]) -> list[Supply]:
    """Split pools into supplies, in the order of the pools; supplies without a GPU are left out."""
    supplies = []
    for pool in pools:
        free = tuple(sorted(node for node in pool.nodes if node.free_gpus > 0))
        if pool.scaling is PoolScaling.FIXED:
            supplies.append(Supply(pool=pool, elastic=False, nodes=free, max_open=0))
            continue
        whole = tuple(node for node in free if node.free_gpus == pool.key.gpus_per_node)
        held = tuple(node for node in free if node.free_gpus < pool.key.gpus_per_node)
        max_open = max(0, pool.max_nodes - (len(pool.nodes) - len(whole)))
        supplies.append(Supply(pool=pool, elastic=True, nodes=whole, max_open=max_open))
        supplies.append(Supply(pool=pool, elastic=False, nodes=held, max_open=0))
    return [supply for supply in supplies if supply.slots(1) > 0]
