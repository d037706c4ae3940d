"""How many nodes a pool has, and pools with another number of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import PoolNode, PoolScaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import PlanningProblem

MAX_NODES = 100_000
"""Most nodes of a pool: more is a slip of the hand."""


def node_count(pool: GpuPool) -> int:
    """Return how many nodes a pool has or, if it is elastic, may have."""
    return pool.max_nodes if pool.scaling is PoolScaling.ELASTIC else len(pool.nodes)


def with_more_nodes(problem: PlanningProblem, pool: GpuPool, more: int) -> PlanningProblem:
    """Return a problem in which one pool has more nodes, wholly free.

    Parameters
    ----------
    problem
        The problem.
    pool
        One of its pools.
    more
        How many nodes.
    """
    grown = resized(pool, node_count(pool) + more)
    return replace(
        problem,
        pools=tuple(grown if other.key == pool.key else other for other in problem.pools),
    )


def resized(pool: GpuPool, wanted: float) -> GpuPool:
    """Return a pool with another number of nodes or, if it is elastic, with another ceiling.

    New nodes have every GPU free. Of the nodes that exist, those with the fewest free GPUs go
    first, the last name first among equals.

    Parameters
    ----------
    pool
        The pool.
    wanted
        How many nodes.

    Raises
    ------
    InvalidInputError
        If it is no whole number from 0 to ``MAX_NODES``.
    """
    if not (math.isfinite(wanted) and 0 <= wanted <= MAX_NODES and float(wanted).is_integer()):
        raise InvalidInputError(
            [
                f"pool {pool.name} has {node_count(pool)} nodes and would have {wanted:g}: "
                f"give a whole number from 0 to {MAX_NODES}"
            ]
        )
    count = int(wanted)
    if pool.scaling is PoolScaling.ELASTIC:
        nodes = _best(pool.nodes, min(count, len(pool.nodes)))
        return replace(pool, max_nodes=count, nodes=nodes)
    if count <= len(pool.nodes):
        return replace(pool, nodes=_best(pool.nodes, count))
    taken = {node.name for node in pool.nodes}
    stem = f"new-{pool.key.region}-{pool.key.gpu}x{pool.key.gpus_per_node}-{pool.key.kind}".lower()
    names = (name for i in range(1, 2 * count + 1) if (name := f"{stem}-{i:05d}") not in taken)
    new = [PoolNode(next(names), pool.key.gpus_per_node) for _ in range(count - len(pool.nodes))]
    return replace(pool, nodes=tuple(sorted([*pool.nodes, *new])))


def _best(nodes: Sequence[PoolNode], count: int) -> tuple[PoolNode, ...]:
    """Return the nodes that stay: those with the most free GPUs, then the first names."""
    return tuple(sorted(sorted(nodes, key=lambda node: (-node.free_gpus, node.name))[:count]))
