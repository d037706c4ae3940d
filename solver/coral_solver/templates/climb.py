"""From one threshold to the next: the cheapest templates, and all those within an allowance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.templates.bounded import cheapest
from coral_solver.templates.contents import (
    LEAST_RATE,
    NEXT_RATE,
    SAME,
    Pipelines,
    Question,
)
from coral_solver.templates.offers import Offer, Placed
from coral_solver.templates.placements import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from coral_solver.domain.pricing import Allowance
    from coral_solver.templates.offers import KnownOffers
    from coral_solver.templates.pricing import PaperPipelines

HORIZON = 1.3
"""How far beyond a budget, as a factor, a search looks: the next threshold has a higher budget."""

MOST_LISTINGS = 32
"""Listings for one number of stages in the search for all that is within an allowance."""

LISTED_PER_ITEM = 16
"""Placements that are listed at most for each multiset that is asked for: one multiset has many."""


class Climb:
    """Answers one question after the other about templates at the same prices.

    Thresholds must not fall from call to call of ``search``: what was found for one number of
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
        self._gave_up = [False] * stages

    def search(self, target: float, budget: float = np.inf) -> tuple[float, Offer | None]:
        """Find the cheapest template of at least a capacity, if it costs less than a budget.

        Returns
        -------
        least
            What every such template costs at least.
        offer
            One that costs so much. Where the search would take too long, ``least`` is a lower
            bound only, below the budget; the offer, if there is one, may cost more.
        """
        best = self.at_hand(target)
        at_hand = np.inf if best is None else best.cost
        if best is not None and best.cost >= budget:
            best = None
        order = sorted(range(2, len(self._lower)), key=self._lower.__getitem__)
        for stages in order:
            if best is not None:
                budget = best.cost * (1 - SAME)
            if self._lower[stages] < budget and (
                self._pipelines.least_cost(stages, target, self._question.prices, budget) < budget
            ):
                offer = self._cheapest_of(stages, target, budget)
                best = offer if offer is not None else best
        if best is None:
            # Where nothing is below the budget, earlier searches may know of a higher bound.
            least = max(budget, min([at_hand, *(self._lower[s] for s in order)]))
        else:
            least = best.cost
        return min([least, *(self._lower[s] for s in order if self._gave_up[s])]), best

    def at_hand(self, target: float) -> Offer | None:
        """Return the cheapest of at least a capacity among single nodes and known templates."""
        best = None
        enough = np.flatnonzero(self._alone >= target)
        if len(enough):
            prices = self._question.prices[enough]
            config = int(enough[np.lexsort((-self._alone[enough], prices))[0]])
            best = self._single(config)
        known = None if self._known is None else self._known.cheapest(target)
        if known is not None and (best is None or known.cost < best.cost * (1 - SAME)):
            best = known._replace(cost=self._cost(known.placed))
        return best

    def priced(self, placed: Placed) -> float:
        """Return what a placement costs here; infinite if it does not fit."""
        nodes = [node for stage in placed.stages for node in stage]
        fits = (self._question.rows[nodes].sum(axis=0) <= self._question.limits).all()
        return self._cost(placed) if fits else np.inf

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
        left = LISTED_PER_ITEM * limit
        from_rate = LEAST_RATE
        last = len(allowance.cost) - 1
        horizon = np.nextafter(float(allowance.cost[last]) * (1 + SAME), np.inf)
        # Several steps at once, at what the last one of them allows.
        for step in np.unique(np.linspace(0, last, MOST_LISTINGS).astype(np.int64)).tolist():
            at_rate, cost = allowance.capacity_req_per_s[step], allowance.cost[step]
            # What is faster is listed again by the next listing, which allows as much.
            below = np.inf if step == last else at_rate * NEXT_RATE
            for stages in range(2, len(self._lower)):
                found = self._listing(stages, from_rate, float(cost), horizon, left)
                if found is None:
                    continue
                left -= len(found.capacity_req_per_s)
                for offer in self._offers(self._useful(found, below)):
                    key = tuple(sorted(node for stage in offer.placed.stages for node in stage))
                    if key not in best or best[key].capacity_req_per_s < offer.capacity_req_per_s:
                        best[key] = offer
            from_rate = at_rate * NEXT_RATE
        offers += [
            offer
            for offer in best.values()
            if offer.cost <= _allowed(allowance, offer.capacity_req_per_s)
        ]
        return offers if len(offers) <= limit else None

    def _useful(self, found: Pipelines, below: float) -> Pipelines:
        """Return the best placement of each multiset that is on offer, of at most some rate."""
        rate = found.capacity_req_per_s
        present = np.arange(found.nodes.shape[-1]) < found.sizes[..., None]
        alone = np.where(present, self._pipelines.alone[found.nodes], 0.0).sum(axis=(1, 2))
        gpus = np.where(present, self._gpus[found.nodes], 0.0).sum(axis=(1, 2))
        useful = (rate < below) & (rate > alone * (1 + SAME)) & (rate >= self._least_per_gpu * gpus)
        chosen = np.flatnonzero(useful)
        if len(chosen) == 0:
            return found.rows(chosen)
        nodes = np.where(present, found.nodes, NO_NODE)[chosen].reshape(len(chosen), -1)
        nodes = np.ascontiguousarray(np.sort(nodes, axis=1)[:, : self._pipelines.max_nodes])
        multiset = nodes.view(f"V{nodes.shape[1]}")[:, 0]
        order = np.lexsort((-rate[chosen], np.unique(multiset, return_inverse=True)[1]))
        is_first = np.append(True, multiset[order][1:] != multiset[order][:-1])
        chosen = chosen[np.sort(order[is_first])]
        return found.rows(chosen)

    def _listing(
        self, stages: int, target: float, most_cost: float, horizon: float, most: int
    ) -> Pipelines | None:
        """Return all of one number of stages that cost no more than this."""
        weights = self._weights[stages]
        above = np.nextafter(most_cost * (1 + SAME), np.inf)
        # What they cost at least at a lower rate.
        if self._lower[stages] >= above:
            return None
        self._lower[stages], found = cheapest(
            self._pipelines, stages, target, self._question, above, weights, horizon=horizon
        )
        if found is None and self._lower[stages] >= above:
            return None
        return self._pipelines.listing(
            stages, target, self._question, most_cost, weights, most=most
        )

    def _cheapest_of(self, stages: int, target: float, budget: float) -> Offer | None:
        """Return the cheapest of one number of stages, if it costs less than a budget."""
        offer = self._found[stages]
        if offer is None or offer.capacity_req_per_s < target:
            least, offer = self._acceptable(stages, target, budget)
            self._lower[stages] = max(self._lower[stages], least)
            is_proven = least >= (budget if offer is None else offer.cost * (1 - SAME))
            self._gave_up[stages] = not is_proven
            self._found[stages] = offer if is_proven else None
        return offer if offer is not None and offer.cost < budget else None

    def _acceptable(self, stages: int, target: float, budget: float) -> tuple[float, Offer | None]:
        """Return the cheapest that carries enough per GPU too; as ``bounded.cheapest`` does."""
        question, weights = self._question, self._weights[stages]
        patient = not self._gave_up[stages]
        least, found = self._search(
            stages, target, question, budget, weights, HORIZON * budget, patient=patient
        )
        if found is None or self._is_acceptable(found):
            return least, found
        # Whatever is acceptable has few GPUs, or a rate that one GPU more asks for.
        best, floor = None, np.inf
        most_gpus = np.floor(target / self._least_per_gpu)
        capped = Question(
            prices=question.prices,
            rows=np.ascontiguousarray(np.hstack([question.rows, self._gpus[:, None]])),
            limits=np.append(question.limits, most_gpus),
        )
        capped_weights = np.append(weights, 0.0)
        while least < budget:
            capped.limits[-1] = most_gpus
            bound, found = self._search(
                stages, target, capped, budget, capped_weights, 0.0, patient=patient
            )
            floor = min(floor, bound)
            if found is not None and self._is_acceptable(found):
                best, budget = found, found.cost
            if bound < budget * (1 - SAME):
                break
            most_gpus += 1.0
            target = max(target, most_gpus * self._least_per_gpu)
            least, found = self._search(
                stages, target, question, budget, weights.copy(), 0.0, patient=patient
            )
            if found is None or self._is_acceptable(found):
                best = best if found is None else found
                break
        return min(floor, least), best

    def _search(
        self,
        stages: int,
        target: float,
        question: Question,
        budget: float,
        weights: NDArray[np.float64],
        horizon: float,
        *,
        patient: bool,
    ) -> tuple[float, Offer | None]:
        least, found = cheapest(
            self._pipelines,
            stages,
            target,
            question,
            budget,
            weights,
            horizon=horizon,
            is_patient=patient,
        )
        if found is None:
            return least, None
        (offer,) = self._offers(found)
        return least, offer

    def _is_acceptable(self, offer: Offer) -> bool:
        gpus = sum(self._gpus[list(nodes)].sum() for nodes in offer.placed.stages)
        return bool(offer.capacity_req_per_s >= self._least_per_gpu * gpus)

    def _single(self, config: int) -> Offer:
        layers = (self._pipelines.num_layers,)
        cost = float(self._question.prices[config])
        return Offer(cost, float(self._alone[config]), Placed(((config,),), layers))

    def _offers(self, found: Pipelines) -> Iterator[Offer]:
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
