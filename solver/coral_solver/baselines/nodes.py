"""GPUs of the pools node by node, for peers that place their instances by a rule."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.allocation.supply import can_cut
from coral_solver.domain.hardware import PoolNode, PoolScaling
from coral_solver.domain.plan import NodeSlice, ServingInstance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coral_solver.domain.hardware import GpuPool, NodeConfig, PoolKey
    from coral_solver.domain.template import ServingTemplate


class Seat(NamedTuple):
    """GPUs of one node; a number stands for a node that is yet to be opened."""

    pool: PoolKey
    node: str | int
    gpus: int

    @property
    def slice(self) -> NodeSlice:
        """Where the slice is, in the words of a plan."""
        return NodeSlice(self.pool, self.node if isinstance(self.node, str) else None)


class PlacedReplica(NamedTuple):
    """One replica of a template, and the GPUs that it has."""

    template: ServingTemplate
    region: str
    seats: tuple[Seat, ...]

    def instance(self, name: str, usd_per_hour: Mapping[PoolKey, float]) -> ServingInstance:
        """Return it as an instance of a plan.

        Parameters
        ----------
        name
            Its name in the plan.
        usd_per_hour
            Price of one GPU by pool.
        """
        return ServingInstance(
            name=name,
            template=self.template,
            region=self.region,
            slices=tuple(seat.slice for seat in self.seats),
            usd_per_hour=sum(seat.gpus * usd_per_hour[seat.pool] for seat in self.seats),
        )


class FreeNodes:
    """What is left of the pools while instances are placed; nothing placed is moved again.

    Parameters
    ----------
    pools
        GPU pools. Nodes that elastic pools can open count as free nodes without a name.
    whole_nodes_only
        A node configuration takes a node of exactly its size.
    """

    def __init__(self, pools: Iterable[GpuPool], *, whole_nodes_only: bool) -> None:
        self._whole_nodes_only = whole_nodes_only
        self._pools = sorted(pools, key=lambda pool: (pool.gpu_usd_per_hour(), pool.key))
        self._free: dict[PoolKey, dict[str | int, int]] = {}
        for pool in self._pools:
            free: dict[str | int, int] = {node.name: node.free_gpus for node in pool.nodes}
            if pool.scaling is PoolScaling.ELASTIC:
                for number in range(pool.max_nodes - len(pool.nodes)):
                    free[number] = pool.key.gpus_per_node
            self._free[pool.key] = free

    def pools_for(self, config: NodeConfig, region: str) -> list[GpuPool]:
        """Return the pools of a region that a configuration can be cut from, cheapest first."""
        return [
            pool
            for pool in self._pools
            if pool.key.region == region
            and can_cut(pool.key, config, whole_nodes_only=self._whole_nodes_only)
        ]

    def take(self, template: ServingTemplate, region: str) -> PlacedReplica | None:
        """Take the GPUs of one replica; None, and nothing taken, if they do not fit.

        Each slice comes from the cheapest pool that has one, on the node that it fills best.
        """
        taken: list[Seat] = []
        for config in template.configs:
            for pool in self.pools_for(config, region):
                seat = self.take_slice(pool.key, config.gpu_count)
                if seat is not None:
                    taken.append(seat)
                    break
            else:
                self.put_back(taken)
                return None
        return PlacedReplica(template, region, tuple(taken))

    def take_slice(self, key: PoolKey, size: int) -> Seat | None:
        """Take GPUs of the node of a pool that they fill best; None if none has room."""
        node = self._best_node(key, size)
        if node is None:
            return None
        self._free[key][node] -= size
        return Seat(key, node, size)

    def put_back(self, seats: Iterable[Seat]) -> None:
        """Undo ``take``."""
        for key, node, size in seats:
            self._free[key][node] += size

    def _best_node(self, key: PoolKey, size: int) -> str | int | None:
        fitting = [
            (free, isinstance(node, int), str(node), node)
            for node, free in self._free[key].items()
            if free >= size
        ]
        return min(fitting)[3] if fitting else None


def opened_nodes(pools: Iterable[GpuPool], instances: Iterable[ServingInstance]) -> dict[str, int]:
    """Return how many whole nodes are paid, by name of the elastic pool.

    Nodes with a name that are wholly free, and as few more as hold the slices without one.
    """
    named: dict[PoolKey, Counter[str]] = defaultdict(Counter)
    waiting: dict[PoolKey, list[int]] = defaultdict(list)
    for instance in instances:
        for config, (key, node) in zip(instance.template.configs, instance.slices, strict=True):
            if node is None:
                waiting[key].append(config.gpu_count)
            else:
                named[key][node] += config.gpu_count
    opened = {}
    for pool in pools:
        if pool.scaling is PoolScaling.FIXED:
            continue
        size = pool.key.gpus_per_node
        whole = {node.name for node in pool.nodes if node.free_gpus == size}
        left = [size - used for node, used in named[pool.key].items() if node in whole]
        # Largest first, each onto the node that it fills best: exact for powers of two.
        for gpus in sorted(waiting[pool.key], reverse=True):
            fitting = [index for index, free in enumerate(left) if free >= gpus]
            if fitting:
                left[min(fitting, key=lambda index: left[index])] -= gpus
            else:
                left.append(size - gpus)
        if left:
            opened[pool.name] = len(left)
    return opened


def pools_without(
    pools: Iterable[GpuPool], instances: Sequence[ServingInstance]
) -> tuple[GpuPool, ...]:
    """Return the pools without the GPUs that some instances take.

    In elastic pools the whole nodes that were paid for are gone: nobody else is to use the rest.
    """
    used: dict[PoolKey, Counter[str]] = defaultdict(Counter)
    for instance in instances:
        for config, (key, node) in zip(instance.template.configs, instance.slices, strict=True):
            if node is not None:
                used[key][node] += config.gpu_count
    opened = opened_nodes(pools := tuple(pools), instances)
    left = []
    for pool in pools:
        taken = used[pool.key]
        elastic = pool.scaling is PoolScaling.ELASTIC
        nodes = tuple(
            PoolNode(free.name, free.free_gpus - taken[free.name])
            for free in pool.nodes
            if not (elastic and taken[free.name] and free.free_gpus == pool.key.gpus_per_node)
        )
        left.append(replace(pool, nodes=nodes, max_nodes=pool.max_nodes - opened.get(pool.name, 0)))
    return tuple(left)
