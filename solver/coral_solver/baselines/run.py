"""Every peer for one problem."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.cauchy import cauchy, cauchy_greedy
from coral_solver.baselines.homogeneous import homogeneous, homogeneous_greedy
from coral_solver.baselines.joint import greedy_joint
from coral_solver.baselines.melange import melange
from coral_solver.domain.clock import WallClock
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.workload import ServingMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem

BASELINES: dict[str, Callable[..., AllocationPlan]] = {
    "homogeneous": homogeneous,
    "homogeneous_greedy": partial(homogeneous_greedy, capped=False),
    "homogeneous_greedy_capped": partial(homogeneous_greedy, capped=True),
    "greedy_joint": greedy_joint,
    "melange": melange,
}
"""The peers of every problem by name; each function's documentation states its rule."""

PHASE_BASELINES: dict[str, Callable[..., AllocationPlan]] = {
    "cauchy": cauchy,
    "cauchy_greedy": partial(cauchy_greedy, capped=False),
    "cauchy_greedy_capped": partial(cauchy_greedy, capped=True),
}
"""The peers that combine phases: for problems with a model that may be served disaggregated."""

WITHOUT_BUDGET = ("melange", "cauchy_greedy", "cauchy_greedy_capped")
"""Peers whose rule knows no budget: not for problems that have one."""

MOST_TEMPLATES_BY_RULE = 50_000
"""``greedy_joint`` looks at every template one by one: with more it would outlast the plan."""


def run_baselines(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> dict[str, AllocationPlan]:
    """Plan the problem with every peer that applies to it, all of them within one time limit.

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
        By name of the peer; each has passed the checker. ``PHASE_BASELINES`` are among them only
        where some model allows disaggregated serving: without, they do as the homogeneous peers.
        ``greedy_joint`` is left out beyond ``MOST_TEMPLATES_BY_RULE`` templates, and
        ``WITHOUT_BUDGET`` where there is a budget.
    """
    options = options or AllocationOptions()
    clock = clock or WallClock()
    deadline_s = clock.monotonic_s() + options.time_limit_s
    peers = dict(BASELINES)
    if any(model.serving is not ServingMode.AGGREGATED for model in problem.models):
        peers |= PHASE_BASELINES
    configs = configs_on_offer(problem.pools, whole_nodes_only=options.whole_nodes_only)
    num_templates = sum(len(source.templates(model, configs)) for model in problem.models)
    if num_templates > MOST_TEMPLATES_BY_RULE:
        del peers["greedy_joint"]
    if problem.policy.budget_usd_per_hour is not None:
        peers = {name: plan for name, plan in peers.items() if name not in WITHOUT_BUDGET}
    plans = {}
    for name, plan in peers.items():
        left = replace(options, time_limit_s=deadline_s - clock.monotonic_s())
        plans[name] = plan(problem, source, options=left, clock=clock)
    return plans
