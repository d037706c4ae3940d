"""Every peer for one problem."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from coral_solver.baselines.homogeneous import homogeneous, homogeneous_greedy

if TYPE_CHECKING:
    from collections.abc import Callable

    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem

BASELINES: dict[str, Callable[..., AllocationPlan]] = {
    "homogeneous": homogeneous,
    "homogeneous_greedy": partial(homogeneous_greedy, capped=False),
    "homogeneous_greedy_capped": partial(homogeneous_greedy, capped=True),
}
"""The peers by name; each function's documentation states its rule."""


def run_baselines(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> dict[str, AllocationPlan]:
    """Plan the problem with every peer.

    Compare rents, not costs, where something is in force: a peer pays the starting charge for
    what only Coral has running.

    Parameters
    ----------
    problem, source, options, clock
        As for ``allocate``.

    Returns
    -------
    dict of str to AllocationPlan
        By name of the peer; each has passed the checker.
    """
    return {
        name: plan(problem, source, options=options, clock=clock)
        for name, plan in BASELINES.items()
    }
