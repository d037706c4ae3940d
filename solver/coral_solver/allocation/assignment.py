"""From whole numbers to instances on nodes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.allocation.names import NameBook
from coral_solver.domain.errors import SolverError
from coral_solver.domain.plan import NodeSlice, ServingInstance

if TYPE_CHECKING:
    from coral_solver.allocation.columns import Column, SearchSpace
    from coral_solver.allocation.decision import Decision
    from coral_solver.allocation.supply import Supply
    from coral_solver.domain.hardware import NodeConfig


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Instances on nodes.

    Attributes
    ----------
    instances
        Kept and new ones, sorted by name.
    kept_names
        Names of those that stay as they are.
    opened_nodes
        Nodes in use by pool name, for elastic pools that have some.
    free_gpus
        By supply: GPUs that are left, on nodes that could still be opened too.
    most_on_one_node
        By supply: the most of them that one node has.
    """

    instances: tuple[ServingInstance, ...]
    kept_names: frozenset[str]
    opened_nodes: dict[str, int]
    free_gpus: tuple[int, ...]
    most_on_one_node: tuple[int, ...]


def assign(space: SearchSpace, decision: Decision) -> Assignment:
    """Place every instance of a decision on nodes.

    Kept instances stay on their nodes. All other slices go largest first onto the node that they
    fill best; the capacity rows prove that none is left over.

    Parameters
    ----------
    space
        What the decision is about.
    decision
        A decision that satisfies the rows of ``PlanModel``.

    Returns
    -------
    Assignment
        The same for the same input.

    Raises
    ------
    SolverError
        If the decision does not fit: the solver broke a row.
    """
    shelves = [_Shelf(supply) for supply in space.supplies]
    instances = []
    loose: list[_LooseSlice] = []
    for keep, count in zip(space.keeps, decision.kept.tolist(), strict=True):
        for member in keep.members[:count]:
            rent = sum(
                seat.size * space.supplies[seat.supply].gpu_usd_per_hour for seat in member.seats
            )
            instances.append(replace(member.instance, template=keep.template, usd_per_hour=rent))
            for seat in member.seats:
                if seat.node is None:
                    loose.append(_LooseSlice(seat.size, -1, len(loose), seat.supply))
                else:
                    shelves[seat.supply].take(seat.node, seat.size)
    kept_names = frozenset(instance.name for instance in instances)

    dealt = _deal(space, decision)
    for number, (_, supplies) in enumerate(dealt):
        sizes = (config.gpu_count for config in dealt[number][0].template.configs)
        for position, (size, supply) in enumerate(zip(sizes, supplies, strict=True)):
            loose.append(_LooseSlice(size, number, position, supply))

    nodes: dict[tuple[int, int], str | None] = {}
    for item in sorted(loose, key=lambda item: (-item.size, item.instance, item.position)):
        nodes[item.instance, item.position] = shelves[item.supply].place(item.size)

    names = NameBook(instance.name for instance in space.problem.in_force)
    for number, (column, supplies) in enumerate(dealt):
        slices = tuple(
            NodeSlice(space.supplies[supply].pool.key, nodes[number, position])
            for position, supply in enumerate(supplies)
        )
        rent = sum(
            config.gpu_count * space.supplies[supply].gpu_usd_per_hour
            for config, supply in zip(column.template.configs, supplies, strict=True)
        )
        instances.append(
            ServingInstance(
                name=names.give(column.template),
                template=column.template,
                region=column.region,
                slices=slices,
                usd_per_hour=rent,
            )
        )
    return Assignment(
        instances=tuple(sorted(instances, key=lambda instance: instance.name)),
        kept_names=kept_names,
        opened_nodes={
            shelf.supply.pool.name: shelf.nodes_in_use
            for shelf in shelves
            if shelf.supply.elastic and shelf.nodes_in_use
        },
        free_gpus=tuple(sum(shelf.left) for shelf in shelves),
        most_on_one_node=tuple(max(shelf.left, default=0) for shelf in shelves),
    )


class _LooseSlice(NamedTuple):
    """A slice that may go to any node of its supply; instance -1 has no use for the name."""

    size: int
    instance: int
    position: int
    supply: int


def _deal(space: SearchSpace, decision: Decision) -> list[tuple[Column, list[int]]]:
    """Give each new instance the supply of each of its slices.

    An instance gets all its slices of one configuration from one supply where that is possible:
    its stages are then as close together as the pools allow.
    """
    stock: dict[tuple[str, float, NodeConfig], Counter[int]] = defaultdict(Counter)
    for draw, count in zip(space.draws, decision.drawn.tolist(), strict=True):
        stock[draw.region, draw.site_factor, draw.config][draw.supply] += count
    dealt = []
    for column, count in zip(space.columns, decision.started.tolist(), strict=True):
        for _ in range(count):
            hands = {}
            for config, needed in column.configs:
                left = stock[column.region, column.site_factor, config]
                hands[config] = _hand(left, needed)
            dealt.append((column, [hands[config].pop() for config in column.template.configs]))
    return dealt


def _hand(left: Counter[int], needed: int) -> list[int]:
    """Take ``needed`` slices: from the tightest supply that has them all, or the fullest ones."""
    enough = [(count, supply) for supply, count in left.items() if count >= needed]
    hand = [min(enough)[1]] * needed if enough else []
    while len(hand) < needed:
        supply, count = max(left.items(), key=lambda item: (item[1], -item[0]), default=(0, 0))
        if count == 0:
            raise SolverError("the solver started an instance without slices for it")
        part = min(count, needed - len(hand))
        hand += [supply] * part
        left[supply] -= part
    if enough:
        left[hand[0]] -= needed
    return hand


class _Shelf:
    """Free GPUs of one supply, node by node.

    Nodes that an elastic pool is to open have a number instead of a name.
    """

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        self._free: dict[str | int, int] = {}
        self._closed: list[str] = []
        if supply.elastic:
            self._closed = sorted(supply.free_by_node, reverse=True)
        else:
            self._free.update(supply.free_by_node)

    @property
    def nodes_in_use(self) -> int:
        """Nodes in use, for an elastic supply."""
        return len(self._free)

    @property
    def left(self) -> list[int]:
        """GPUs left by node, on nodes that can still be opened too."""
        to_open = max(0, self.supply.max_open - len(self._free)) if self.supply.elastic else 0
        return [*self._free.values(), *[self.supply.pool.key.gpus_per_node] * to_open]

    def take(self, node: str, size: int) -> None:
        """Take GPUs of a given node."""
        if node in self._closed:
            self._closed.remove(node)
            self._free[node] = self.supply.free_by_node[node]
        self._free[node] -= size
        if self._free[node] < 0:
            raise SolverError(f"the solver kept more instances on node {node} than fit")

    def place(self, size: int) -> str | None:
        """Take GPUs of the node that they fill best; None for a node that is yet to be opened."""
        fitting = [
            (free, isinstance(node, int), node) for node, free in self._free.items() if free >= size
        ]
        if fitting:
            node = min(fitting)[2]
        elif self.supply.elastic and len(self._free) < self.supply.max_open:
            node = self._closed.pop() if self._closed else len(self._free)
            self._free[node] = self.supply.pool.key.gpus_per_node
        else:
            raise SolverError(
                f"the solver's plan does not fit on the nodes of {self.supply.pool.name}"
            )
        self._free[node] -= size
        return node if isinstance(node, str) else None
