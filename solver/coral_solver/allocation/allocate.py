"""Stage 2: how many instances of which template run where."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coral_solver.allocation.assignment import assign
from coral_solver.allocation.check import check_plan
from coral_solver.allocation.columns import build_space, target_req_per_s
from coral_solver.allocation.coupling import Coupling
from coral_solver.allocation.greedy import greedy_decision, kept_decision
from coral_solver.allocation.ground import build_ground
from coral_solver.allocation.levels import solve_levels
from coral_solver.allocation.master import Relaxation
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.pool import ColumnPool
from coral_solver.allocation.pricing_problem import Need, PricingProblem
from coral_solver.allocation.report import build_plan
from coral_solver.allocation.trim import trimmed
from coral_solver.domain.clock import WallClock
from coral_solver.domain.errors import SolverError
from coral_solver.domain.plan import SolveStatus
from coral_solver.domain.validate import validate_problem

__all__ = ["AllocationOptions", "allocate", "allocate_greedily"]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem


def allocate(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
    progress: Callable[[str], None] | None = None,
) -> AllocationPlan:
    """Decide jointly for all models which instances run on which nodes.

    The levels of the objective are solved one after the other: the served share of each model by
    the scarcity policy, then headroom and replicas, then rent plus switching charge. There is
    always an answer; what it does not serve is in its outcomes, with the reason.

    Parameters
    ----------
    problem
        Models, pools, policy and what is in force; in any order.
    source
        Where templates come from.
    options
        Limits and rules; the defaults if None.
    clock
        For the time limit and ``solve_s``; the machine's clock if None.
    progress
        Called with a few words when a solve begins.

    Returns
    -------
    AllocationPlan
        It has passed ``check_plan``. Its status is ``NO_SOLUTION`` or ``ERROR`` where the solver
        gave nothing and a rule made the plan.

    Raises
    ------
    InvalidInputError
        If the problem cannot mean anything (NaN, a negative demand, a name given twice).
    PlanCheckError
        If the plan breaks a constraint: a fault of this package.
    """
    options = options or AllocationOptions()
    clock = clock or WallClock()
    started_s = clock.monotonic_s()
    relaxation = _relaxation(problem, source, options)
    pool = ColumnPool(relaxation.ground)
    pool.add_cheapest(relaxation)
    space = pool.space()
    rule = trimmed(space, greedy_decision(space, capped=True, worst_off_first=True))
    bounds: Mapping[str, float] = {}
    try:
        best, found = solve_levels(
            relaxation,
            pool,
            stay=trimmed(space, kept_decision(space)),
            rule=rule,
            space=space,
            clock=clock,
            deadline_s=started_s + options.time_limit_s,
            progress=progress or (lambda _: None),
        )
        assignment = assign(best.space, trimmed(*best))
        space = best.space
        bounds = found.bounds
        status = SolveStatus.OPTIMAL if found.solved else SolveStatus.NO_SOLUTION
        scope = space.scope
    except SolverError as error:
        assignment = assign(space, rule)
        status = SolveStatus.ERROR
        scope = f"nothing is proven: {error}"
    plan = build_plan(
        space,
        assignment,
        bounds=bounds,
        status=status,
        bound_scope=scope,
        solve_s=clock.monotonic_s() - started_s,
    )
    check_plan(problem, plan, options=options)
    return plan


def allocate_greedily(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    capped: bool,
    worst_off_first: bool,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Decide by a rule instead of a solve; for baselines.

    Parameters
    ----------
    problem, source, options, clock
        As for ``allocate``.
    capped, worst_off_first
        The rule, see ``greedy_decision``.

    Returns
    -------
    AllocationPlan
        It has passed ``check_plan``; its bounds are the trivial ones.
    """
    options = options or AllocationOptions()
    clock = clock or WallClock()
    started_s = clock.monotonic_s()
    validate_problem(problem)
    space = build_space(_sorted(problem), source, options)
    decision = greedy_decision(space, capped=capped, worst_off_first=worst_off_first)
    plan = build_plan(
        space,
        assign(space, trimmed(space, decision)),
        bounds={},
        status=SolveStatus.FEASIBLE,
        bound_scope="nothing is proven: a rule made the plan",
        solve_s=clock.monotonic_s() - started_s,
    )
    check_plan(problem, plan, options=options)
    return plan


def _relaxation(
    problem: PlanningProblem, source: TemplateSource, options: AllocationOptions
) -> Relaxation:
    validate_problem(problem)
    ground = build_ground(_sorted(problem), source, options)
    needs = {
        index: Need(target_req_per_s(model), model.min_replicas)
        for index, model in enumerate(ground.problem.models)
    }
    return Relaxation(ground, PricingProblem(ground, needs), Coupling(ground))


def _sorted(problem: PlanningProblem) -> PlanningProblem:
    """Return the same problem in one order, so that the plan does not depend on the caller's."""
    return replace(
        problem,
        models=tuple(sorted(problem.models, key=lambda model: model.id)),
        pools=tuple(
            replace(pool, nodes=tuple(sorted(pool.nodes)))
            for pool in sorted(problem.pools, key=lambda pool: pool.key)
        ),
        in_force=tuple(sorted(problem.in_force, key=lambda instance: instance.name)),
    )
