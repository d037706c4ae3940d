"""Covering knapsacks: the least cost of whole items that reach a rate and a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.performance.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_POINTS = 1 << 12
"""Longest frontier that is kept exactly; beyond it capacities are rounded up."""

UNBOUNDED = 1 << 40
"""A number of copies that no cover reaches."""

COVER_SLACK = 1e-9
"""Share of the wanted rate that may be missing: the integer program's own tolerance."""


class CoveringItems(NamedTuple):
    """What a cover is made of.

    Attributes
    ----------
    capacity_req_per_s
        Shape (N,), positive.
    cost
        Shape (N,).
    most
        Shape (N,): copies that there are at most.
    """

    capacity_req_per_s: NDArray[np.float64]
    cost: NDArray[np.float64]
    most: NDArray[np.int64]


class CoverFrontier(NamedTuple):
    """The least cost of covers, for every rate up to the wanted one.

    A cover of a rate ``d`` costs at least ``cost[i]`` with the least ``i`` such that
    ``d <= rate_req_per_s[i]``. Where the frontier was too long, the cost is a lower bound.

    Attributes
    ----------
    rate_req_per_s
        Shape (K,), ascending; the last one is the wanted rate, unless it cannot be reached.
    cost
        Shape (K,), ascending.
    item, before
        Shape (K,) and all labels: by label the item that was added last and the label before it.
    label
        Shape (K,): label of each point.
    """

    rate_req_per_s: NDArray[np.float64]
    cost: NDArray[np.float64]
    label: NDArray[np.int64]
    item: NDArray[np.int32]
    before: NDArray[np.int64]

    def cost_of(self, rate_req_per_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the least cost of each rate; infinite where it cannot be reached."""
        wanted = np.maximum(rate_req_per_s * (1.0 - COVER_SLACK), 0.0)
        index = np.searchsorted(self.rate_req_per_s, wanted)
        return np.append(self.cost, np.inf)[index]

    def point_of(self, rate_req_per_s: float) -> int:
        """Return the cheapest point that reaches a rate; there is one."""
        wanted = max(rate_req_per_s * (1.0 - COVER_SLACK), 0.0)
        return int(np.searchsorted(self.rate_req_per_s, wanted))

    def items_of(self, point: int) -> dict[int, int]:
        """Return how many of each item the cover of a point has."""
        taken: dict[int, int] = {}
        label = int(self.label[point])
        while self.before[label] >= 0:
            item = int(self.item[label])
            taken[item] = taken.get(item, 0) + 1
            label = int(self.before[label])
        return taken


def cover_frontier(
    items: CoveringItems, rate_req_per_s: float, number: int, *, longest: int = MOST_POINTS
) -> CoverFrontier:
    """Find the cheapest covers of every rate up to a wanted one.

    Parameters
    ----------
    items
        What covers are made of. A cost may be negative where there are finitely many copies.
    rate_req_per_s
        The wanted rate; not negative.
    number
        How many items a cover has at least.
    longest
        Most points of an exact frontier; of a rounded one it is the order of magnitude.

    Returns
    -------
    CoverFrontier
        Exact, or where it would be longer than ``longest`` a lower bound: capacities are then
        rounded up to multiples of a step.
    """
    capacity = np.minimum(items.capacity_req_per_s, rate_req_per_s)
    # The best buys first: what comes after them is mostly dominated.
    order = np.argsort(items.cost / items.capacity_req_per_s, kind="stable")
    step = rate_req_per_s / (longest // 2)
    while True:
        points, links = _frontier(
            capacity[order], items.cost[order], items.most[order], rate_req_per_s, number, longest
        )
        if len(points):
            break
        # Fewer different rates: each capacity becomes the next multiple of the step.
        capacity = np.minimum(np.ceil(capacity / step - 1e-9) * step, rate_req_per_s)
        step *= 2.0
    return CoverFrontier(
        rate_req_per_s=points[:, 0].copy(),
        cost=points[:, 1].copy(),
        label=points[:, 2].astype(np.int64),
        item=np.append(order, -1)[links[:, 0]],
        before=links[:, 1].copy(),
    )


@compiled
def _frontier(
    capacity: NDArray[np.float64],
    cost: NDArray[np.float64],
    most: NDArray[np.int64],
    rate: float,
    number: int,
    longest: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Merge items one by one into frontiers of (rate, cost, label), one for each number so far.

    Returns
    -------
    points
        Shape (K, 3): the frontier of covers with at least ``number`` items; empty if some frontier
        was too long.
    links
        Shape (labels, 2): by label the item that was added last, and the label before it.
    """
    last = number
    old = np.zeros((number + 1, longest, 3))
    new = np.zeros((number + 1, longest, 3))
    half = np.zeros((longest, 3))
    lengths = np.zeros(number + 1, dtype=np.int64)
    lengths[0] = 1
    links = np.full((4 * longest, 2), -1)
    used = 1
    for item in range(capacity.size):
        unbounded = most[item] >= UNBOUNDED
        for _ in range(1 if unbounded else most[item]):
            if used + (number + 2) * longest > links.shape[0]:
                more = np.full((2 * links.shape[0] + (number + 2) * longest, 2), -1)
                more[:used] = links[:used]
                links = more
            before = lengths.copy()
            for level in range(number + 1):
                kept, n = old[level], before[level]
                if level > 0:
                    # The item on top of one less; of an unbounded one any number of copies.
                    source, size = old[level - 1], before[level - 1]
                    if unbounded:
                        source, size = new[level - 1], lengths[level - 1]
                    target = half if level == last else new[level]
                    n, used = _merge(
                        kept, n, source, size, False, item, capacity[item], cost[item], rate,
                        links, used, target,
                    )  # fmt: skip
                    kept = target
                if level == last and n >= 0:
                    source, size = (new[level], 0) if unbounded else (old[level], before[level])
                    n, used = _merge(
                        kept, n, source, size, unbounded, item, capacity[item], cost[item], rate,
                        links, used, new[level],
                    )  # fmt: skip
                elif level == 0 and n >= 0:
                    new[0, :n] = kept[:n]
                if n < 0:
                    return np.zeros((0, 3)), links[:1]
                lengths[level] = n
            old, new = new, old
    return old[last, : lengths[last]].copy(), links[:used].copy()


@compiled
def _merge(
    kept: NDArray[np.float64],
    num_kept: int,
    source: NDArray[np.float64],
    num_source: int,
    from_target: bool,
    item: int,
    capacity: float,
    cost: float,
    rate: float,
    links: NDArray[np.int64],
    used: int,
    target: NDArray[np.float64],
) -> tuple[int, int]:
    """Write what is not dominated of some points, and of others with one item more.

    Both are sorted by cost; with ``from_target`` the others are what was written so far.

    Returns
    -------
    (int, int)
        Number of points, -1 if there are too many; and labels in use.
    """
    i = j = n = 0
    best = -1.0
    while True:
        if from_target:
            num_source = n
        least, reach, is_new = np.inf, -1.0, False
        if i < num_kept:
            least, reach = kept[i, 1], kept[i, 0]
        if j < num_source:
            value = source[j, 1] + cost
            there = min(rate, source[j, 0] + capacity)
            if value < least or (value == least and there > reach):
                least, reach, is_new = value, there, True
        if reach < 0.0:
            return n, used
        if reach > best:
            if n == target.shape[0]:
                return -1, used
            best = reach
            target[n, 0] = reach
            target[n, 1] = least
            if is_new:
                links[used, 0] = item
                links[used, 1] = int(source[j, 2])
                target[n, 2] = used
                used += 1
            else:
                target[n, 2] = kept[i, 2]
            n += 1
            if reach >= rate:
                return n, used
        if is_new:
            j += 1
        else:
            i += 1
