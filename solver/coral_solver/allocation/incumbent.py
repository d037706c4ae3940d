"""The best plan so far, whatever found it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.ranking import rank_decision

if TYPE_CHECKING:
    from coral_solver.allocation.pool import Choice
    from coral_solver.allocation.ranking import Rank

_ROUNDING = 1e-9


@dataclass(slots=True)
class LevelBounds:
    """What is proven about the levels.

    Attributes
    ----------
    bounds
        By name of a level; a level that is missing has no bound but the trivial one.
    solved
        Whether the solver gave at least one solution.
    """

    bounds: dict[str, float] = field(default_factory=dict)
    solved: bool = False


class Incumbent:
    """The best plan so far.

    Parameters
    ----------
    start
        A plan that fits, within the budget.

    Attributes
    ----------
    best
        The plan.
    rank
        Its standing.
    """

    def __init__(self, start: Choice) -> None:
        self.best = start
        self.rank = rank_of(start)

    def consider(self, candidate: Choice) -> None:
        """Remember a plan if it is the best so far, and the budget pays for it."""
        if not is_within_budget(candidate):
            return
        rank = rank_of(candidate)
        if rank.is_better_than(self.rank):
            self.best, self.rank = candidate, rank

    def prefer(self, candidate: Choice, *, least_usd_per_hour: float, gap: float) -> None:
        """Choose a plan that serves as well as the best one and costs no more than the gap.

        The gap counts from the bound where the best plan is proven, so that the chosen one is
        proven too.
        """
        if not is_within_budget(candidate):
            return
        rank = rank_of(candidate)
        if self.rank._replace(cost_usd_per_hour=rank.cost_usd_per_hour).is_better_than(rank):
            return
        least = least_usd_per_hour
        if self.rank.cost_usd_per_hour * (1.0 - gap) > least:
            least = self.rank.cost_usd_per_hour
        if rank.cost_usd_per_hour * (1.0 - gap) <= least:
            self.best, self.rank = candidate, rank


def is_within_budget(choice: Choice) -> bool:
    """Return whether the budget of the policy, if there is one, pays the rent of a plan."""
    budget = choice.space.problem.policy.budget_usd_per_hour
    if budget is None:
        return True
    model = PlanModel(choice.space)
    values = model.values(choice.decision)
    rent = sum(value * values[variable] for variable, value in model.rent.items())
    return bool(rent <= budget * (1.0 + _ROUNDING) + _ROUNDING)


def rank_of(choice: Choice) -> Rank:
    """Measure a plan at all levels."""
    return rank_decision(choice.space, PlanModel(choice.space), choice.decision)
