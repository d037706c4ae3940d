"""From one threshold to the next: the cheapest templates, and all those within an allowance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.templates.bounded import cheapest
from coral_solver.templates.contents import LEAST_RATE, NEXT_RATE, SAME, Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from coral_solver.domain.pricing import Allowance
    from coral_solver.templates.contents import Pipelines
    from coral_solver.templates.pricing import PaperPipelines

LISTED_PER_ITEM = 32
"""Placements that are listed at most for each multiset that is asked for: one multiset has many."""


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
        self._counts = np.zeros((64, num_configs))
        self._capacity = np.zeros(64)

    def add(self, offer: Offer) -> None:
        """Add one that is not among them."""
        row = len(self.offers)
        if row == len(self._capacity):
            self._counts = np.vstack([self._counts, np.zeros_like(self._counts)])
            self._capacity = np.append(self._capacity, np.zeros_like(self._capacity))
        for stage in offer.placed.stages:
            for node in stage:
                self._counts[row, node] += 1
        self._capacity[row] = offer.capacity_req_per_s
        self.offers.append(offer)

    def at(self, question: Question) -> KnownAtPrices:
        """Return those that fit, with what they cost."""
        size = len(self.offers)
        counts = self._counts[:size]
        possible = np.isfinite(question.prices)
        fits = (counts @ question.rows <= question.limits).all(axis=1)
        fits &= ~(counts[:, ~possible] > 0).any(axis=1)
        rows = np.flatnonzero(fits)
        rows = rows[np.argsort(self._capacity[rows], kind="stable")]
        cost = counts[np.ix_(rows, np.flatnonzero(possible))] @ question.prices[possible]
        return KnownAtPrices(self.offers, rows, self._capacity[rows], cost)


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


class Climb:
    """Answers one question after the other about templates at the same prices.

    Thresholds must not fall from call to call of ``cheapest``: what was found for one number of
    stages stays the answer until the threshold passes its rate, and what it cost stays a bound.

    Parameters
    ----------
    pipelines
        Finds pipelines of two or more stages.
    question
        Prices and limits.
    gpus
        Shape (C,): GPUs of each configuration.
    least_per_gpu
        Least capacity per GPU of a template on offer.
    known
        Templates that were found at other prices: they cost no search, and what they cost is a
        bound for every search.
    """

    def __init__(
        self,
        pipelines: PaperPipelines,
        question: Question,
        gpus: NDArray[np.float64],
        least_per_gpu: float,
        known: KnownOffers | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._question = question
        self._gpus = gpus
        self._least_per_gpu = least_per_gpu
        alone = pipelines.alone
        self._alone = np.where(
            np.isfinite(question.prices) & (alone / gpus >= least_per_gpu), alone, 0.0
        )
        stages = pipelines.most_stages + 1
        self._prices: list[float] = question.prices.tolist()
        self._known = None if known is None else known.at(question)
        self._lower = [0.0] * stages
        self._weights = [np.zeros(len(question.limits)) for _ in range(stages)]
        self._found: list[Offer | None] = [None] * stages

    def cheapest(self, target: float) -> Offer | None:
        """Return the cheapest template of at least a capacity, if there is one."""
        best = None
        enough = np.flatnonzero(self._alone >= target)
        if len(enough):
            prices = self._question.prices[enough]
            config = int(enough[np.lexsort((-self._alone[enough], prices))[0]])
            best = self._single(config)
        known = None if self._known is None else self._known.cheapest(target)
        if known is not None and (best is None or known.cost < best.cost * (1 - SAME)):
            best = known._replace(cost=self._cost(known.placed))
        order = sorted(range(2, len(self._lower)), key=self._lower.__getitem__)
        for stages in order:
            budget = np.inf if best is None else best.cost * (1 - SAME)
            if self._lower[stages] < budget and (
                self._pipelines.least_cost(stages, target, self._question.prices, budget) < budget
            ):
                offer = self._cheapest_of(stages, target, budget)
                best = offer if offer is not None else best
        return best

    def within(self, allowance: Allowance, limit: int) -> list[Offer] | None:
        """Return all templates that cost no more than allowed; None if over a limit.

        Raises
        ------
        TooManyError
            If a listing on the way grows too long.
        """
        offers = [
            self._single(config)
            for config in np.flatnonzero(self._alone > 0).tolist()
            if self._question.prices[config] <= _allowed(allowance, self._alone[config])
        ]
        best: dict[tuple[int, ...], Offer] = {}
        from_rate = LEAST_RATE
        for at_rate, cost in zip(*allowance, strict=True):
            for stages in range(2, len(self._lower)):
                found = self._listing(stages, from_rate, float(cost), LISTED_PER_ITEM * limit)
                for offer in self._offers(found):
                    key = tuple(sorted(node for stage in offer.placed.stages for node in stage))
                    if key not in best or best[key].capacity_req_per_s < offer.capacity_req_per_s:
                        best[key] = offer
            from_rate = at_rate * NEXT_RATE
        for nodes, offer in best.items():
            capacity, members = offer.capacity_req_per_s, list(nodes)
            if (
                offer.cost <= _allowed(allowance, capacity)
                and capacity / self._gpus[members].sum() >= self._least_per_gpu
                and capacity > self._pipelines.alone[members].sum() * (1 + SAME)
            ):
                offers.append(offer)
        return offers if len(offers) <= limit else None

    def _listing(self, stages: int, target: float, most_cost: float, most: int) -> Pipelines | None:
        """Return all of one number of stages that cost no more than this."""
        weights = self._weights[stages]
        above = np.nextafter(most_cost * (1 + SAME), np.inf)
        _, found = cheapest(self._pipelines, stages, target, self._question, above, weights)
        if found is None:
            return None
        return self._pipelines.listing(
            stages, target, self._question, most_cost, weights, most=most
        )

    def _cheapest_of(self, stages: int, target: float, budget: float) -> Offer | None:
        """Return the cheapest of one number of stages, if it costs less than a budget."""
        offer = self._found[stages]
        if offer is None or offer.capacity_req_per_s < target:
            offer = self._acceptable(stages, target, self._question, budget, self._weights[stages])
            self._found[stages] = offer
            self._lower[stages] = max(self._lower[stages], budget if offer is None else offer.cost)
        return offer if offer is not None and offer.cost < budget else None

    def _acceptable(
        self,
        stages: int,
        target: float,
        question: Question,
        budget: float,
        weights: NDArray[np.float64],
    ) -> Offer | None:
        """Return the cheapest that carries enough per GPU too."""
        _, found = cheapest(self._pipelines, stages, target, question, budget, weights)
        if found is None:
            return None
        (offer,) = self._offers(found)
        gpus = sum(self._gpus[list(nodes)].sum() for nodes in offer.placed.stages)
        if offer.capacity_req_per_s / gpus >= self._least_per_gpu:
            return offer
        # Whatever is acceptable has fewer GPUs than this one, or a rate that so many GPUs ask for.
        fewer = Question(
            prices=question.prices,
            rows=np.ascontiguousarray(np.hstack([question.rows, self._gpus[:, None]])),
            limits=np.append(question.limits, gpus - 1.0),
        )
        best = self._acceptable(stages, target, fewer, budget, np.append(weights, 0.0))
        below = budget if best is None else best.cost
        rate = self._least_per_gpu * gpus * NEXT_RATE
        faster = self._acceptable(stages, rate, question, below, weights.copy())
        return best if faster is None else faster

    def _single(self, config: int) -> Offer:
        layers = (self._pipelines.num_layers,)
        cost = float(self._question.prices[config])
        return Offer(cost, float(self._alone[config]), Placed(((config,),), layers))

    def _offers(self, found: Pipelines | None) -> Iterator[Offer]:
        if found is None:
            return
        for rate, nodes, sizes, layers in zip(
            found.capacity_req_per_s.tolist(),
            found.nodes.tolist(),
            found.sizes.tolist(),
            found.layers.tolist(),
            strict=True,
        ):
            stages = tuple(
                tuple(sorted(row[:size])) for row, size in zip(nodes, sizes, strict=True)
            )
            placed = Placed(stages, tuple(layers))
            yield Offer(self._cost(placed), rate, placed)

    def _cost(self, placed: Placed) -> float:
        """Return the price of the nodes, added up in ascending order as everywhere."""
        nodes = sorted(node for stage in placed.stages for node in stage)
        return sum((self._prices[node] for node in nodes), 0.0)


def _allowed(allowance: Allowance, capacity: float) -> float:
    step = int(np.searchsorted(allowance.capacity_req_per_s, capacity))
    return float(allowance.cost[min(step, len(allowance.cost) - 1)])
