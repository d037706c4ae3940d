"""How good a decision is, level by level, so that two can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from coral_solver.allocation.decision import standing
from coral_solver.allocation.objective import (
    priority_classes,
    served_share,
    soft_shortfall,
    weighted_served_req_per_s,
)
from coral_solver.allocation.options import SHARE_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.allocation.decision import Decision
    from coral_solver.allocation.model import PlanModel


class Rank(NamedTuple):
    """A decision's standing.

    Attributes
    ----------
    shares
        Served share by model with a demand.
    shortfalls
        What the soft wishes miss, by model.
    levels
        Values of the levels before the cost, in order; more is better in each.
    cost_usd_per_hour
        Rent plus switching charge.
    """

    shares: dict[int, float]
    shortfalls: dict[int, float]
    levels: tuple[float, ...]
    cost_usd_per_hour: float

    def is_better_than(self, other: Rank) -> bool:
        """Compare level by level, and the cost last; values within the tolerance are equal."""
        tolerance = 2 * SHARE_TOLERANCE
        for mine, its in zip(self.levels, other.levels, strict=True):
            if abs(mine - its) > tolerance * max(abs(mine), abs(its)):
                return mine > its
        return self.cost_usd_per_hour < other.cost_usd_per_hour * (1.0 - tolerance)

    def meets_every_wish(self, placeable: Iterable[int]) -> bool:
        """Return whether all is served that anything can run for."""
        return all(
            self.shares.get(index, 1.0) >= 1.0 and self.shortfalls[index] == 0.0
            for index in placeable
        )


def rank_decision(space: SearchSpace, model: PlanModel, decision: Decision) -> Rank:
    """Measure a decision at all levels.

    Parameters
    ----------
    space, model
        What the decision is about.
    decision
        A decision that fits.
    """
    given = standing(space, decision)
    shares = {}
    shortfalls = {}
    for index, served in enumerate(space.problem.models):
        capacity = float(given.capacity_req_per_s[index])
        shortfalls[index] = soft_shortfall(served, capacity, float(given.replicas[index]))
        if served.demand_req_per_s > 0:
            shares[index] = min(1.0, served_share(served, capacity))
    classes = priority_classes(space.problem)
    levels: list[float] = []
    if space.problem.policy.budget_usd_per_hour is None:
        for group in classes:
            levels += sorted(shares[index] for index in group.models if index in shares)
    else:
        capacities = given.capacity_req_per_s.tolist()
        levels.append(weighted_served_req_per_s(space.problem.models, capacities))
    levels += [-sum(shortfalls[index] for index in group.models) for group in classes]
    values = model.values(decision)
    cost = sum(value * values[variable] for variable, value in model.cost.items())
    return Rank(shares, shortfalls, tuple(levels), float(cost))
