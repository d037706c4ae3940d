"""The checker's part on the objective: every level again, from what the plan carries and costs."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.allocation.options import SHARE_TOLERANCE
from coral_solver.domain.plan import ScarcityPolicy, SolveStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from coral_solver.domain.plan import AllocationPlan, ObjectiveLevel, PlanningProblem
    from coral_solver.domain.workload import ServedModel

TOLERANCE = 1e-6  # relative; the sums are of a few hundred terms


class Recount(NamedTuple):
    """What the instances of a plan come to, counted by the checker.

    ``capacity_req_per_s`` and ``replicas`` are by model id; ``cost_usd_per_hour`` is rent plus
    switching charge.
    """

    capacity_req_per_s: Mapping[str, float]
    replicas: Mapping[str, float]
    cost_usd_per_hour: float


def objective_violations(
    problem: PlanningProblem, plan: AllocationPlan, recount: Recount, *, relative_gap: float
) -> Iterator[str]:
    """Yield what is wrong about the levels of a plan: names, values, bounds, gaps, the status.

    Parameters
    ----------
    problem, plan
        As for ``check_plan``.
    recount
        What the plan comes to.
    relative_gap
        A level counts as proven at this gap.
    """
    expected = _expected_levels(problem, plan, recount)
    stated = [level.level for level in plan.objective]
    if stated != [name for name, _, _ in expected]:
        yield f"levels are {stated}, not {[name for name, _, _ in expected]}"
        return
    for level, (name, sense, value) in zip(plan.objective, expected, strict=True):
        for text in _level_violations(level, sense, value):
            yield f"level {name}: {text}"
    if plan.status is SolveStatus.OPTIMAL:
        for level in plan.objective:
            if not level.gap <= relative_gap + TOLERANCE:
                yield f"the plan is called optimal with a gap of {level.gap} at {level.level}"


def _expected_levels(
    problem: PlanningProblem, plan: AllocationPlan, recount: Recount
) -> list[tuple[str, str, float]]:
    """Recompute name, sense and value of every level."""
    reasons = {outcome.model_id: outcome.reason for outcome in plan.outcomes}
    classes: dict[int, list[ServedModel]] = defaultdict(list)
    by_priority = problem.policy.scarcity is ScarcityPolicy.PRIORITY
    for model in problem.models:
        classes[model.priority if by_priority else 0].append(model)
    if not by_priority:
        classes.setdefault(0, [])  # one class even without models
    served: list[tuple[str, str, float]] = []
    wishes: list[tuple[str, str, float]] = []
    for priority in sorted(classes, reverse=True):
        ending = f"_p{priority}" if by_priority else ""
        shares = []
        shortfall = 0.0
        for model in classes[priority]:
            capacity, demand = recount.capacity_req_per_s[model.id], model.demand_req_per_s
            if demand > 0 and reasons.get(model.id) != "NoTemplate":
                share = min(1.0, capacity / demand)
                shares.append(1.0 if share >= 1.0 - SHARE_TOLERANCE else share)
            missing = 0.0
            if demand > 0 and model.headroom > 0:
                missing += max(0.0, 1.0 - capacity / (demand * (1.0 + model.headroom)))
            if model.min_replicas > 0:
                missing += max(0.0, 1.0 - recount.replicas[model.id] / model.min_replicas)
            shortfall += missing if missing > SHARE_TOLERANCE else 0.0
        shares.sort()
        while len(shares) > 1 and shares[-2] >= 1.0:
            shares.pop()  # one full share tells that all after it are full
        for position, share in enumerate(shares or [1.0], start=1):
            number = f"_{position}" if position > 1 else ""
            served.append((f"served_share{ending}{number}", "max", share))
        wishes.append((f"soft_shortfall{ending}", "min", shortfall))
    if problem.policy.budget_usd_per_hour is not None:
        value = math.fsum(_weighted_served(model, recount) for model in problem.models)
        served = [("weighted_served_req_per_s", "max", value)]
    return [*served, *wishes, ("cost_usd_per_hour", "min", recount.cost_usd_per_hour)]


def _weighted_served(model: ServedModel, recount: Recount) -> float:
    """Return what a model adds to the level that a budget limits."""
    demand = model.demand_req_per_s
    served = min(recount.capacity_req_per_s[model.id], demand)
    if served >= demand * (1.0 - SHARE_TOLERANCE):
        served = demand
    return (1 + model.priority) * served


def _level_violations(level: ObjectiveLevel, sense: str, value: float) -> Iterator[str]:
    if level.sense != sense:
        yield f"sense {level.sense} is not {sense}"
    if not close(level.value, value):
        yield f"value {level.value} is not {value}"
    worse = level.value - level.bound if sense == "max" else level.bound - level.value
    if not worse <= 0:
        yield f"bound {level.bound} is on the wrong side of value {level.value}"
    gap = abs(level.value - level.bound) / max(abs(level.value), abs(level.bound), 1e-9)
    if not (math.isfinite(level.bound) and close(level.gap, gap)):
        yield f"gap {level.gap} does not follow from {level.value} and {level.bound}"


def close(stated: float, true: float) -> bool:
    """Return whether two numbers agree; a number that is not finite agrees with nothing."""
    finite = math.isfinite(stated) and math.isfinite(true)
    return finite and abs(stated - true) <= TOLERANCE * max(1.0, abs(true))
