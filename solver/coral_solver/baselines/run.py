"""Every peer for one problem."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.homogeneous import homogeneous, homogeneous_greedy
from coral_solver.domain.clock import WallClock

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """Plan the problem with every peer, all of them within one time limit.

    Compare rents, not costs, where something is in force: a peer pays the starting charge for
    what only Coral has running.

    Parameters
    ----------
    problem, source, clock
        As for ``allocate``.
    options
        As for ``allocate``, but the time limit is for the peers together. A peer that it cuts
        short says so in its status.

    Returns
    -------
    dict of str to AllocationPlan
        By name of the peer; each has passed the checker.
    """
    options = options or AllocationOptions()
    clock = clock or WallClock()
    deadline_s = clock.monotonic_s() + options.time_limit_s
    plans = {}
    for name, plan in BASELINES.items():
        left = replace(options, time_limit_s=deadline_s - clock.monotonic_s())
        plans[name] = plan(problem, source, options=left, clock=clock)
    return plans
