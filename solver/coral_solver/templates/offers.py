"""Placements at some prices, and all those that were found so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.templates.contents import SAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coral_solver.templates.contents import Question


class Placed(NamedTuple):
    """One placement: the configurations of each stage, ascending, and its layers."""

    stages: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]


class Offer(NamedTuple):
    """A placement at some prices."""

    cost: float
    capacity_req_per_s: float
    placed: Placed


class KnownOffers:
    """Templates that were found so far.

    Parameters
    ----------
    num_configs
        Configurations that they are made of, C.
    """

    def __init__(self, num_configs: int) -> None:
        self.offers: list[Offer] = []
        self.counts = np.zeros((64, num_configs))
        self.capacity_req_per_s = np.zeros(64)

    def add(self, offer: Offer) -> None:
        """Add one that is not among them."""
        row = len(self.offers)
        if row == len(self.counts):
            self.counts = np.vstack([self.counts, np.zeros_like(self.counts)])
            self.capacity_req_per_s = np.append(self.capacity_req_per_s, np.zeros(row))
        for stage in offer.placed.stages:
            for node in stage:
                self.counts[row, node] += 1
        self.capacity_req_per_s[row] = offer.capacity_req_per_s
        self.offers.append(offer)

    def at(self, question: Question) -> KnownAtPrices:
        """Return those that fit, with what they cost."""
        size = len(self.offers)
        counts = self.counts[:size]
        possible = np.isfinite(question.prices)
        fits = (counts @ question.rows <= question.limits).all(axis=1)
        fits &= ~(counts[:, ~possible] > 0).any(axis=1)
        rows = np.flatnonzero(fits)
        capacity = self.capacity_req_per_s[rows]
        order = np.argsort(capacity, kind="stable")
        rows, capacity = rows[order], capacity[order]
        cost = counts[np.ix_(rows, np.flatnonzero(possible))] @ question.prices[possible]
        return KnownAtPrices(self.offers, rows, capacity, cost)


class KnownAtPrices:
    """Known templates by ascending capacity, with what they cost.

    Parameters
    ----------
    offers
        All of them.
    rows, capacity_req_per_s, cost
        Shape (K,): which ones, ascending in capacity.
    """

    def __init__(
        self,
        offers: Sequence[Offer],
        rows: NDArray[np.int64],
        capacity_req_per_s: NDArray[np.float64],
        cost: NDArray[np.float64],
    ) -> None:
        self._offers = offers
        self._rows = rows
        self._capacity = capacity_req_per_s
        # The cheapest from each on; the last of those that cost the same, within rounding.
        self._least = np.minimum.accumulate(cost[::-1])[::-1]
        self._cost = cost

    def cheapest(self, target: float) -> Offer | None:
        """Return the cheapest of at least a capacity: its cost may be off in the last bits."""
        start = int(np.searchsorted(self._capacity, target))
        if start == len(self._capacity):
            return None
        same = self._cost[start:] <= self._least[start] * (1 + SAME)
        row = start + int(np.flatnonzero(same)[-1])
        offer = self._offers[int(self._rows[row])]
        return offer._replace(cost=float(self._cost[row]))

    def staircase(self, enough_req_per_s: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return those that no other undercuts, ascending, and what they cost."""
        # Of equal costs the highest capacity, and nothing beyond the first that is enough.
        steps = np.flatnonzero(self._cost <= self._least)
        steps = steps[np.append(np.diff(self._cost[steps]) > 0, True)[: len(steps)]]
        steps = steps[: int(np.searchsorted(self._capacity[steps], enough_req_per_s)) + 1]
        return self._rows[steps], self._cost[steps]
