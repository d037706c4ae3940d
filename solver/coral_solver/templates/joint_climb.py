"""The cheapest templates where there are several places to buy them, each with its own prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.templates.contents import LEAST_RATE, NEXT_RATE, SAME, TooManyError
from coral_solver.templates.covers import Covers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.templates.climb import Climb
    from coral_solver.templates.offers import Offer


class Found(NamedTuple):
    """A template, and the place where it is cheapest."""

    place: int
    offer: Offer


class JointClimb:
    """Finds the cheapest template of several places, for one threshold after the other.

    Most questions are settled by one search at the lowest price of each configuration: what it
    finds costs no more than anything anywhere, and mostly it can be bought at that price.

    Parameters
    ----------
    places
        One climb for each place.
    lowest
        A climb at the lowest price of each configuration, with the most room; None where there is
        one place only.
    """

    def __init__(self, places: Sequence[Climb], lowest: Climb | None) -> None:
        self._places = places
        self._lowest = lowest

    def staircase(self, enough_req_per_s: float) -> list[Found]:
        """Return the templates that no other undercuts, in whatever place.

        Capacity and cost ascend. The cost of an offer is less than its price where the search for
        something cheaper would have taken too long: no template of its capacity costs less.

        Raises
        ------
        TooManyError
            If a search would take too long and no template of the capacity is known.
        """
        steps: list[Found] = []
        _, found = self._cheapest(LEAST_RATE, np.inf, 0.0)
        while found is not None:
            _append(steps, found)
            if found.offer.capacity_req_per_s >= enough_req_per_s:
                break
            target = found.offer.capacity_req_per_s * NEXT_RATE
            _, found = self._cheapest(target, np.inf, found.offer.cost)
        return steps

    def useful(self, enough_req_per_s: float) -> list[Found]:
        """Return the templates that no others undercut, one or several together.

        As ``staircase`` without the templates that copies of the others can replace at no higher
        cost: most of the large ones.
        """
        steps: list[Found] = []
        covers = Covers(enough_req_per_s)
        target, least = LEAST_RATE, 0.0
        while target <= enough_req_per_s:
            least, found = self._cheapest(target, covers.cost_of(target), least)
            reached = 0.0
            if found is not None:
                _append(steps, found)
                reached = found.offer.capacity_req_per_s
                least = found.offer.cost
                covers.add(reached, least)
            elif least == np.inf:
                break
            # Whatever carries more costs as much at least: rates that are covered for it are done.
            target = max(target, reached, covers.reach(least)) * NEXT_RATE
        return steps

    def _cheapest(
        self, target: float, budget: float, known_least: float
    ) -> tuple[float, Found | None]:
        """Return the cheapest of at least a capacity, if it costs less than a budget.

        First what all of them cost at least; ``known_least`` is what is known of that from lower
        capacities.
        """
        at_hand: Found | None = None
        for place, climb in enumerate(self._places):
            at_hand = _cheaper(at_hand, place, climb.at_hand(target))
        best = at_hand if at_hand is not None and at_hand.offer.cost < budget else None
        below = budget if best is None else _less_than(best)
        least = 0.0
        if self._lowest is not None:
            least, low = self._lowest.search(target, below)
            if low is not None:
                for place, climb in enumerate(self._places):
                    cost = climb.priced(low.placed)
                    if cost < below:
                        best = _cheaper(best, place, low._replace(cost=cost))
                below = budget if best is None else _less_than(best)
        bounds = []
        for place, climb in enumerate(self._places):
            if least < below:
                bound, offer = climb.search(target, below)
                bounds.append(bound)
                best = _cheaper(best, place, offer)
                below = budget if best is None else _less_than(best)
        floor = max(known_least, least, min(bounds, default=least))
        if floor >= below:
            return floor, best
        # It took too long to be sure: something real, at a cost that nothing is below.
        real = best or at_hand
        if real is None:
            raise TooManyError
        return floor, Found(real.place, real.offer._replace(cost=floor))


def _append(steps: list[Found], found: Found) -> None:
    if steps and found.offer.cost <= steps[-1].offer.cost * (1 + SAME):
        steps.pop()  # a faster one at the same cost
    steps.append(found)


def _cheaper(best: Found | None, place: int, offer: Offer | None) -> Found | None:
    if offer is None or (best is not None and offer.cost >= _less_than(best)):
        return best
    return Found(place, offer)


def _less_than(best: Found) -> float:
    """Return what something better costs less than."""
    return best.offer.cost * (1 - SAME)
