"""How far two plans differ, and whether the difference is more than what the solver left open."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from coral_solver.allocation.objective import BUDGET_LEVEL, COST_LEVEL
from coral_solver.domain.plan import ObjectiveLevel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coral_solver.planning.facts import PlanFacts

SERVED_PREFIX = "served_share"
"""What the names of the levels of served demand begin with."""

NO_TEMPLATE = "NoTemplate"
"""Stands for a level where a model can be served by nothing on offer in one of the plans."""

SHARE_STEP = 1e-5
"""Shares, and sums of shares, closer than this are equal: ten times the solver's tolerance."""

COST_STEP = 1e-6
"""Costs closer than this share of the larger one are equal."""


SAME_SHARE = 2e-4
"""Costs that are proven closer than this share are the same: the gaps of two solves, 1e-4 each."""


class Effect(StrEnum):
    """What a change does, by the first level of the objective at which the plans differ.

    ``SAME`` is a proof as well: the best plans differ by less than ``SAME_SHARE`` of the cost.
    ``NO_DIFFERENCE_PROVEN`` says that the gaps of the solves are wider than what was found.
    """

    SERVES_MORE = "ServesMore"
    SERVES_LESS = "ServesLess"
    MEETS_MORE_WISHES = "MeetsMoreWishes"
    MEETS_FEWER_WISHES = "MeetsFewerWishes"
    CHEAPER = "Cheaper"
    DEARER = "Dearer"
    SAME = "Same"
    NO_DIFFERENCE_PROVEN = "NoDifferenceProven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One plan against another: after minus before.

    Attributes
    ----------
    effect
        What is proven. The levels of the objective are compared in their order, and the first
        one that differs decides; wishes are headroom and ``min_replicas``.
    level
        Name of the level that decides; None where none does.
    cost_usd_per_hour, rent_usd_per_hour
        Of the plans that were found.
    least_usd_per_hour, most_usd_per_hour
        The difference between the two cheapest plans that there are lies between these, by the
        bounds of both solves, as far as both plans serve the same.
    unmet_req_per_s
        Raw demand that is not served, all models together.
    unmet_by_model
        The same by model; only models for which it changes.
    """

    effect: Effect
    level: str | None
    cost_usd_per_hour: float
    rent_usd_per_hour: float
    least_usd_per_hour: float
    most_usd_per_hour: float
    unmet_req_per_s: float
    unmet_by_model: Mapping[str, float]

    @property
    def is_proven(self) -> bool:
        """Whether there is a difference, and it is more than the gaps of the two solves."""
        return self.effect not in (Effect.SAME, Effect.NO_DIFFERENCE_PROVEN)


def difference(before: PlanFacts, after: PlanFacts) -> Difference:
    """Compare two plans level by level.

    Parameters
    ----------
    before, after
        Plans of two problems under the same rules.

    Returns
    -------
    Difference
        Its effect is proven: no plan within the bounds of the level that decides would turn it
        round, given what both plans reach at the levels before, which is the same.
    """
    effect, level = _effect(before, after)
    cost = _cost_interval(before, after)
    unmet = {
        model: after.unmet_req_per_s.get(model, 0.0) - before.unmet_req_per_s.get(model, 0.0)
        for model in sorted({*before.unmet_req_per_s, *after.unmet_req_per_s})
    }
    return Difference(
        effect=effect,
        level=level,
        cost_usd_per_hour=after.cost_usd_per_hour - before.cost_usd_per_hour,
        rent_usd_per_hour=after.rent_usd_per_hour - before.rent_usd_per_hour,
        least_usd_per_hour=cost[0],
        most_usd_per_hour=cost[1],
        unmet_req_per_s=sum(unmet.values()),
        unmet_by_model={model: value for model, value in unmet.items() if abs(value) > SHARE_STEP},
    )


def _effect(before: PlanFacts, after: PlanFacts) -> tuple[Effect, str | None]:
    # A model without any template takes no part in the levels: as a fact, it needs no proof.
    lost = len(after.models_without_template) - len(before.models_without_template)
    if lost:
        return (Effect.SERVES_LESS if lost > 0 else Effect.SERVES_MORE), NO_TEMPLATE
    names = _names(before.objective, after.objective)
    budgets = [
        BUDGET_LEVEL in {level.level for level in plan.objective} for plan in (before, after)
    ]
    if budgets[0] != budgets[1]:
        # Served by two rules: the levels do not compare, what is served does, as a fact.
        less = sum(after.unmet_req_per_s.values()) - sum(before.unmet_req_per_s.values())
        if abs(less) > SHARE_STEP:
            return (Effect.SERVES_LESS if less > 0 else Effect.SERVES_MORE), BUDGET_LEVEL
        names = [name for name in names if not _is_served(name)]
    for name in names:
        first, second = _level(before, name), _level(after, name)
        low, high = _interval(first, second)
        step = _step(name, before)
        if low > step:
            return _better(name), name
        if high < -step:
            return _worse(name), name
        if name != COST_LEVEL and abs(second.value - first.value) > step:
            return Effect.NO_DIFFERENCE_PROVEN, None
    least, most = _cost_interval(before, after)
    same = SAME_SHARE * max(before.cost_usd_per_hour, after.cost_usd_per_hour) + COST_STEP
    return (Effect.SAME if -same <= least and most <= same else Effect.NO_DIFFERENCE_PROVEN), None


def _names(before: Sequence[ObjectiveLevel], after: Sequence[ObjectiveLevel]) -> list[str]:
    """Return the names of both, in an order that agrees with both."""
    names = [level.level for level in before]
    place = 0
    for level in after:
        if level.level in names:
            place = names.index(level.level) + 1
        else:
            names.insert(place, level.level)
            place += 1
    return names


def _level(plan: PlanFacts, name: str) -> ObjectiveLevel:
    """Return a level; one that is not reported is met in full."""
    for level in plan.objective:
        if level.level == name:
            return level
    full = 1.0 if _is_served(name) else 0.0
    sense = "max" if _is_served(name) else "min"
    return ObjectiveLevel(level=name, sense=sense, value=full, bound=full, gap=0.0)


def _interval(before: ObjectiveLevel, after: ObjectiveLevel) -> tuple[float, float]:
    """Return between what the gain from before to after lies; positive is better."""
    if before.sense == "max":
        return after.value - before.bound, after.bound - before.value
    return before.bound - after.value, before.value - after.bound


def _cost_interval(before: PlanFacts, after: PlanFacts) -> tuple[float, float]:
    low, high = _interval(_level(before, COST_LEVEL), _level(after, COST_LEVEL))
    return -high, -low


def _is_served(name: str) -> bool:
    return name.startswith(SERVED_PREFIX) or name == BUDGET_LEVEL


def _step(name: str, before: PlanFacts) -> float:
    if name == COST_LEVEL:
        return COST_STEP * max(1.0, before.cost_usd_per_hour)
    return SHARE_STEP


def _better(name: str) -> Effect:
    if name == COST_LEVEL:
        return Effect.CHEAPER
    return Effect.SERVES_MORE if _is_served(name) else Effect.MEETS_MORE_WISHES


def _worse(name: str) -> Effect:
    if name == COST_LEVEL:
        return Effect.DEARER
    return Effect.SERVES_LESS if _is_served(name) else Effect.MEETS_FEWER_WISHES
