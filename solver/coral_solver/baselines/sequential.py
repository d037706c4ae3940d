"""One model after the other, each on what those before it left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.compose import compose_plan, refuse_budget
from coral_solver.baselines.nodes import pools_without
from coral_solver.domain.clock import WallClock
from coral_solver.domain.plan import ScarcityPolicy, SolveStatus

if TYPE_CHECKING:
    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem, ServingInstance
    from coral_solver.domain.workload import ServedModel


def in_turn(problem: PlanningProblem) -> list[ServedModel]:
    """Return the models in the order of their turns: by id, under ``Priority`` by class first."""
    by_priority = problem.policy.scarcity is ScarcityPolicy.PRIORITY
    return sorted(
        problem.models, key=lambda model: (-model.priority if by_priority else 0, model.id)
    )


def plan_model_by_model(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan each model exactly and alone, on the GPUs that the models before it left.

    Parameters
    ----------
    problem, source, options, clock
        As for ``allocate``. Each model gets an even share of the time that is left.

    Returns
    -------
    AllocationPlan
        It has passed the checker. Its status is ``FEASIBLE`` and its bounds are the trivial ones:
        each model's plan is proven for itself, nothing is for all of them together.

    Raises
    ------
    InvalidInputError
        If there is a budget: the rule does not say whose it is.
    """
    refuse_budget(problem)
    options = options or AllocationOptions()
    clock = clock or WallClock()
    started_s = clock.monotonic_s()
    instances: list[ServingInstance] = []
    unproven, without_template = [], set()
    models = in_turn(problem)
    for position, model in enumerate(models):
        left_s = started_s + options.time_limit_s - clock.monotonic_s()
        alone = replace(
            problem,
            models=(model,),
            pools=pools_without(problem.pools, instances),
            # Names of all models' instances are taken; those of other models cannot be kept.
            in_force=tuple({i.name: i for i in (*instances, *problem.in_force)}.values()),
        )
        limit = replace(options, time_limit_s=left_s / (len(models) - position))
        plan = allocate(alone, source, options=limit, clock=clock)
        instances += plan.instances
        if plan.status is not SolveStatus.OPTIMAL:
            unproven.append(model.id)
        if any(outcome.reason == "NoTemplate" for outcome in plan.outcomes):
            without_template.add(model.id)
    proven = f"all but {', '.join(unproven)}" if unproven else "each"
    return compose_plan(
        problem,
        instances,
        options=options,
        status=SolveStatus.FEASIBLE,
        bound_scope=f"nothing is proven for all models together; {proven} proven alone, in turn, "
        f"for {source.scope}",
        solve_s=clock.monotonic_s() - started_s,
        without_template=frozenset(without_template),
    )
