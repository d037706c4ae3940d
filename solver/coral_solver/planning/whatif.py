"""What would happen if: a plan for the problem as it is, and one for the problem changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coral_solver.planning.changes import apply_changes
from coral_solver.planning.compare import compare_plans
from coral_solver.planning.difference import difference
from coral_solver.planning.facts import PlanFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coral_solver.domain.plan import AllocationPlan, PlanningProblem
    from coral_solver.planning.changes import Change
    from coral_solver.planning.compare import PlanComparison
    from coral_solver.planning.difference import Difference
    from coral_solver.planning.planner import Planner, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """A problem as it is and changed, both planned.

    Attributes
    ----------
    changes
        What was changed, in words.
    plan_before, plan_after
        The two plans.
    comparison
        The two side by side.
    """

    changes: tuple[str, ...]
    plan_before: AllocationPlan
    plan_after: AllocationPlan
    comparison: PlanComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One value of a sweep.

    Attributes
    ----------
    value
        The value, in the unit of what is swept.
    change
        What it changes, in words.
    plan
        What comes out.
    difference
        Against the problem as it is.
    """

    value: float
    change: str
    plan: PlanFacts
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A problem planned for several values of one number.

    Attributes
    ----------
    changes
        What is changed at every point, in words.
    before
        The plan for the problem as it is.
    points
        In the order of the values.
    """

    changes: tuple[str, ...]
    before: PlanFacts
    points: tuple[SweepPoint, ...]


def what_if(
    problem: PlanningProblem,
    changes: Sequence[Change],
    planner: Planner,
    *,
    progress: Progress | None = None,
) -> WhatIf:
    """Plan a problem as it is and changed, under the same rules.

    Parameters
    ----------
    problem
        The problem. What is in force is so for both plans.
    changes
        What to change, in order.
    planner
        Makes both plans; without baselines, which nobody looks at here.
    progress
        Called with the name of each step.

    Raises
    ------
    InvalidInputError
        If a change names nothing known or leads to a number that cannot mean anything. Nothing
        is planned then.
    """
    changed = apply_changes(problem, changes)
    before = planner.plan(problem, progress=_named("as it is", progress)).plan
    after = planner.plan(changed, progress=_named("changed", progress)).plan
    return WhatIf(
        changes=tuple(map(str, changes)),
        plan_before=before,
        plan_after=after,
        comparison=compare_plans(PlanFacts.of(before), PlanFacts.of(after)),
    )


def sweep(
    problem: PlanningProblem,
    changes: Sequence[Change],
    vary: Callable[[float], Change],
    values: Sequence[float],
    planner: Planner,
    *,
    progress: Progress | None = None,
) -> Sweep:
    """Plan a problem for several values of one number, under the same rules.

    Parameters
    ----------
    problem, changes, planner, progress
        As for ``what_if``; the changes hold at every point.
    vary
        Makes the change of one value; it is made after ``changes``.
    values
        The values, in order.

    Raises
    ------
    InvalidInputError
        As ``what_if`` does, with the faults of every point.
    """
    # Every point is checked before the first solve.
    points = [(value, vary(value)) for value in values]
    problems = [apply_changes(problem, [*changes, change]) for _, change in points]
    before = PlanFacts.of(planner.plan(problem, progress=_named("as it is", progress)).plan)
    found = []
    for number, ((value, change), changed) in enumerate(zip(points, problems, strict=True), 1):
        step = _named(f"point {number} of {len(points)} ({change})", progress)
        after = PlanFacts.of(planner.plan(changed, progress=step).plan)
        found.append(
            SweepPoint(
                value=value, change=str(change), plan=after, difference=difference(before, after)
            )
        )
    return Sweep(changes=tuple(map(str, changes)), before=before, points=tuple(found))


def without_switching(problem: PlanningProblem) -> PlanningProblem:
    """Return a problem in which starting an instance costs nothing: the steady state.

    Parameters
    ----------
    problem
        The problem.
    """
    return replace(problem, pools=tuple(replace(pool, start_time_s=0.0) for pool in problem.pools))


def _named(what: str, progress: Progress | None) -> Progress | None:
    if progress is None:
        return None
    return lambda step, share: progress(f"{what}: {step}", share)
