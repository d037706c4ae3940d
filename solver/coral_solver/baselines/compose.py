"""From the instances that a peer wants to run to a plan like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.allocation.check import check_plan
from coral_solver.allocation.decision import paired
from coral_solver.allocation.objective import (
    COST_LEVEL,
    priority_classes,
    reported_shares,
    served_share,
    soft_shortfall,
)
from coral_solver.baselines.nodes import opened_nodes
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import PoolScaling
from coral_solver.domain.plan import AllocationPlan, ModelOutcome, ObjectiveLevel, SolveStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.domain.plan import PlanningProblem, ServingInstance
    from coral_solver.domain.workload import ServedModel


def compose_plan(
    problem: PlanningProblem,
    instances: Iterable[ServingInstance],
    *,
    options: AllocationOptions,
    status: SolveStatus,
    bound_scope: str,
    solve_s: float,
    bounds: Mapping[str, float] | None = None,
    without_template: frozenset[str] = frozenset(),
) -> AllocationPlan:
    """Write the plan of a peer and have it checked.

    Parameters
    ----------
    problem
        The problem; models in any order.
    instances
        What runs, on nodes.
    options
        Rules that the plan is checked under.
    status, bound_scope, solve_s
        As in ``AllocationPlan``.
    bounds
        Proven bounds by level name; a level without one gets the trivial bound.
    without_template
        Ids of models that this peer has no template for; they run nothing.

    Returns
    -------
    AllocationPlan
        It has passed ``check_plan``.

    Raises
    ------
    PlanCheckError
        If the instances break a constraint: a fault of the peer.
    """
    running = tuple(sorted(instances, key=lambda instance: instance.name))
    amounts = {model.id: _amounts(problem, running, model, options) for model in problem.models}
    rent, charge = _cost(problem, running)
    outcomes = tuple(
        _outcome(model, running, amounts[model.id][0], without_template)
        for model in sorted(problem.models, key=lambda model: model.id)
    )
    levels = [
        *_levels(problem, amounts, without_template),
        (COST_LEVEL, "min", rent + charge),
    ]
    plan = AllocationPlan(
        status=status,
        instances=running,
        outcomes=outcomes,
        objective=tuple(
            _level(name, sense, value, (bounds or {}).get(name)) for name, sense, value in levels
        ),
        bound_scope=bound_scope,
        rent_usd_per_hour=rent,
        switching_usd_per_hour=charge,
        opened_nodes=opened_nodes(problem.pools, running),
        solve_s=solve_s,
    )
    check_plan(problem, plan, options=options)
    return plan


def refuse_budget(problem: PlanningProblem) -> None:
    """Refuse a problem with a budget, for peers whose rule knows none.

    Raises
    ------
    InvalidInputError
        If there is one.
    """
    if problem.policy.budget_usd_per_hour is not None:
        raise InvalidInputError(
            ["this peer's rule knows no budget: compare without one, or with other peers"]
        )


def _amounts(
    problem: PlanningProblem,
    running: Sequence[ServingInstance],
    model: ServedModel,
    options: AllocationOptions,
) -> tuple[float, float]:
    """Return the rate that the instances of a model carry and their number, phases paired."""
    factors = {pool.key: pool.site_factor for pool in problem.pools}
    mine = [instance for instance in running if instance.template.model_id == model.id]
    rates = [
        (
            i.template.phase,
            i.region,
            i.template.capacity_req_per_s * min(factors[key] for key, _ in i.slices),
        )
        for i in mine
    ]
    numbers = [(i.template.phase, i.region, 1.0) for i in mine]
    sum_regions = options.sum_regions
    return paired(rates, sum_regions=sum_regions), paired(numbers, sum_regions=sum_regions)


def _cost(problem: PlanningProblem, running: Sequence[ServingInstance]) -> tuple[float, float]:
    """Return rent and starting charge, in USD per hour."""
    pools = {pool.key: pool for pool in problem.pools}
    paid_whole = {
        (pool.key, node.name)
        for pool in problem.pools
        if pool.scaling is PoolScaling.ELASTIC
        for node in pool.nodes
        if node.free_gpus == pool.key.gpus_per_node
    }
    kept = {(i.name, i.template.id, i.slices) for i in problem.in_force}
    opened = opened_nodes(problem.pools, running)
    rent = sum(opened.get(pool.name, 0) * pool.node_usd_per_hour for pool in problem.pools)
    charge = 0.0
    for instance in running:
        for config, (key, node) in zip(instance.template.configs, instance.slices, strict=True):
            usd_per_hour = config.gpu_count * pools[key].gpu_usd_per_hour()
            if node is not None and (key, node) not in paid_whole:
                rent += usd_per_hour
            if (instance.name, instance.template.id, instance.slices) not in kept:
                charge += usd_per_hour * pools[key].start_time_s / problem.policy.payback_horizon_s
    return rent, charge


def _levels(
    problem: PlanningProblem,
    amounts: Mapping[str, tuple[float, float]],
    without_template: frozenset[str],
) -> list[tuple[str, str, float]]:
    """Return name, sense and value of the levels before the cost."""
    served = []
    wishes = []
    for group in priority_classes(problem):
        models = [problem.models[index] for index in group.models]
        shares = [
            min(1.0, served_share(model, amounts[model.id][0]))
            for model in models
            if model.demand_req_per_s > 0 and model.id not in without_template
        ]
        for position, value in enumerate(reported_shares(shares) or [1.0], start=1):
            served.append((group.served_level(position), "max", value))
        shortfall = sum(soft_shortfall(model, *amounts[model.id]) for model in models)
        wishes.append((group.wishes_level, "min", shortfall))
    return [*served, *wishes]


def _level(name: str, sense: str, value: float, bound: float | None) -> ObjectiveLevel:
    if sense == "max":
        bound = max(1.0 if bound is None else bound, value)
    else:
        bound = min(0.0 if bound is None else bound, value)
    gap = abs(value - bound) / max(abs(value), abs(bound), 1e-9)
    return ObjectiveLevel(level=name, sense=sense, value=value, bound=bound, gap=gap)


def _outcome(
    model: ServedModel,
    running: Sequence[ServingInstance],
    capacity_req_per_s: float,
    without_template: frozenset[str],
) -> ModelOutcome:
    demand = model.demand_req_per_s
    unmet = 0.0
    if demand <= 0:
        reason, message = "NoDemand", "no demand"
    elif served_share(model, capacity_req_per_s) >= 1.0:
        reason = "Served"
        message = f"{capacity_req_per_s:.4g} req/s planned for a demand of {demand:.4g} req/s"
    else:
        unmet = demand - capacity_req_per_s
        is_short = model.id not in without_template
        reason = "CapacityShort" if is_short else "NoTemplate"
        message = f"this peer serves {capacity_req_per_s:.4g} of {demand:.4g} req/s"
    return ModelOutcome(
        model_id=model.id,
        demand_req_per_s=demand,
        capacity_req_per_s=capacity_req_per_s,
        unmet_req_per_s=unmet,
        usd_per_hour=sum(i.usd_per_hour for i in running if i.template.model_id == model.id),
        reason=reason,
        message=message,
    )
