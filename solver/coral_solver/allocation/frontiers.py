"""The least cost of each rate, put together: prefill with decode, place with place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from coral_solver.allocation.knapsack import COVER_SLACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.knapsack import CoverFrontier
    from coral_solver.allocation.pricing_problem import Item

_MOST_POINTS = 4096
"""Longest sum of frontiers that is kept exactly; beyond it neighbours become one."""


class Menu(NamedTuple):
    """What one phase may take in a place at some prices, and what covers of it cost.

    ``covers[n]`` is the frontier of covers with at least ``n`` instances; its items are ``items``
    and then ``keeps``.
    """

    items: list[Item]
    keeps: list[int]
    covers: list[CoverFrontier]


Pick = tuple[Menu, "CoverFrontier", int]
"""A point of a cover, and the menu whose items it has."""


class _Origin(Protocol):
    """Where the points of a frontier come from."""

    def picks(self, point: int) -> list[Pick]:
        """Return the covers that make up a point."""
        ...


class Frontier(NamedTuple):
    """The least cost of each rate.

    A rate ``d`` costs at least ``cost[i]`` with the least ``i`` such that
    ``d <= rate_req_per_s[i]``.

    Attributes
    ----------
    rate_req_per_s, cost
        Shape (K,), ascending.
    origin
        Where the points come from.
    """

    rate_req_per_s: NDArray[np.float64]
    cost: NDArray[np.float64]
    origin: _Origin

    def cost_of(self, rates_req_per_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the least cost of each rate; infinite where it cannot be reached."""
        wanted = np.maximum(rates_req_per_s * (1.0 - COVER_SLACK), 0.0)
        return np.append(self.cost, np.inf)[np.searchsorted(self.rate_req_per_s, wanted)]

    def point_of(self, rate_req_per_s: float) -> int:
        """Return the cheapest point that reaches a rate; there is one."""
        wanted = max(rate_req_per_s * (1.0 - COVER_SLACK), 0.0)
        return int(np.searchsorted(self.rate_req_per_s, wanted))

    def picks(self, point: int) -> list[Pick]:
        """Return the covers that make up a point."""
        return self.origin.picks(point)


class _Pair(NamedTuple):
    """Covers of all halves at the same rate; of one half it is that cover."""

    halves: list[tuple[Menu, CoverFrontier]]
    rates: NDArray[np.float64]

    def picks(self, point: int) -> list[Pick]:
        rate = float(self.rates[point])
        return [(menu, cover, cover.point_of(rate)) for menu, cover in self.halves]


class _Sum(NamedTuple):
    """Two places side by side: which points of both each point is, and which frontiers."""

    pairs: list[tuple[Frontier, Frontier]]
    pair: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    def picks(self, point: int) -> list[Pick]:
        left: Frontier
        right: Frontier
        left, right = self.pairs[int(self.pair[point])]
        return left.picks(int(self.left[point])) + right.picks(int(self.right[point]))


def paired(menus: Sequence[Menu], number: int) -> Frontier:
    """Return the least cost of each rate that all menus carry, with some instances of each."""
    halves = [(menu, menu.covers[number]) for menu in menus]
    if len(halves) == 1:
        cover = halves[0][1]
        return Frontier(cover.rate_req_per_s, cover.cost, _Pair(halves, cover.rate_req_per_s))
    rates = np.unique(np.concatenate([cover.rate_req_per_s for _, cover in halves]))
    cost = sum((cover.cost_of(rates) for _, cover in halves), np.zeros(len(rates)))
    rates, cost = rates[np.isfinite(cost)], cost[np.isfinite(cost)]
    last = np.append(cost[1:] > cost[:-1], True)[: len(cost)]  # of equal costs the highest rate
    return Frontier(rates[last], cost[last], _Pair(halves, rates[last]))


def summed(parts: Sequence[Sequence[Frontier]], top_req_per_s: float) -> list[Frontier]:
    """Return the least cost of each rate over several places.

    Parameters
    ----------
    parts
        Of each place: its frontiers by number of instances at least.
    top_req_per_s
        Rates above it are worth no more.

    Returns
    -------
    list of Frontier
        By number of instances at least, of all places together.
    """
    total = list(parts[0])
    for part in parts[1:]:
        total = [
            _sum([(total[m], part[n - m]) for m in range(n + 1)], top_req_per_s)
            for n in range(len(total))
        ]
    return total


def _sum(pairs: list[tuple[Frontier, Frontier]], top_req_per_s: float) -> Frontier:
    rates, costs, which, lefts, rights = [], [], [], [], []
    for number, (left, right) in enumerate(pairs):
        rates.append(np.add.outer(left.rate_req_per_s, right.rate_req_per_s).ravel())
        costs.append(np.add.outer(left.cost, right.cost).ravel())
        shape = len(left.cost), len(right.cost)
        which.append(np.full(shape[0] * shape[1], number))
        lefts.append(np.repeat(np.arange(shape[0]), shape[1]))
        rights.append(np.tile(np.arange(shape[1]), shape[0]))
    rate = np.minimum(np.concatenate(rates), top_req_per_s)
    cost = np.concatenate(costs)
    order = np.lexsort((-rate, cost))
    best = np.maximum.accumulate(np.append(-1.0, rate[order]))
    chosen = order[rate[order] > best[:-1]]
    least = cost[chosen]
    if len(chosen) > _MOST_POINTS:
        # Of each group the highest rate, at the cost of its cheapest: a lower bound.
        ends = np.linspace(0, len(chosen), _MOST_POINTS + 1).astype(np.int64)
        least, chosen = least[ends[:-1]], chosen[ends[1:] - 1]
    origin = _Sum(
        pairs,
        np.concatenate(which)[chosen],
        np.concatenate(lefts)[chosen],
        np.concatenate(rights)[chosen],
    )
    return Frontier(rate[chosen], least, origin)
