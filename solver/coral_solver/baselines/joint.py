"""A peer that sees all that Coral sees, and decides by a rule instead of a proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.allocation.allocate import allocate_greedily

if TYPE_CHECKING:
    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem


def greedy_joint(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan all models together, one instance after the other, over all templates, mixed ones too.

    The model with the least served share (under ``Priority`` of the highest class that lacks
    something) gets the instance with the most marginal value per USD among those that fit:
    capacity up to the rest of its target, in the phase that lags behind. Then again, until every
    target is met or nothing fits. What is in force stays; superfluous instances are dropped.

    Parameters
    ----------
    problem, source, options, clock
        As for ``allocate``.

    Returns
    -------
    AllocationPlan
        It has passed the checker. It proves nothing: its bounds are the trivial ones.
    """
    return allocate_greedily(
        problem, source, capped=True, worst_off_first=True, options=options, clock=clock
    )
