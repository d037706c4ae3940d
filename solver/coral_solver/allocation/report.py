"""From instances on nodes to the plan that people and programs read."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from coral_solver.allocation.decision import paired
from coral_solver.allocation.objective import (
    BUDGET_LEVEL,
    COST_LEVEL,
    priority_classes,
    reported_shares,
    served_share,
    soft_shortfall,
    weighted_served_req_per_s,
)
from coral_solver.allocation.options import SHARE_TOLERANCE
from coral_solver.domain.plan import AllocationPlan, ModelOutcome, ObjectiveLevel, SolveStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from coral_solver.allocation.assignment import Assignment
    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.domain.hardware import PoolKey
    from coral_solver.domain.plan import ServingInstance
    from coral_solver.domain.workload import Phase

_MOST_POOLS_NAMED = 3


def build_plan(
    space: SearchSpace,
    assignment: Assignment,
    *,
    bounds: Mapping[str, float],
    status: SolveStatus,
    bound_scope: str,
    solve_s: float,
) -> AllocationPlan:
    """Write the plan: outcomes with their reasons, rent and charge, levels with their bounds.

    Parameters
    ----------
    space
        What the plan was chosen from.
    assignment
        Instances on nodes.
    bounds
        Proven bounds by level name; a level without one gets the trivial bound.
    status
        How the search ended. ``OPTIMAL`` becomes ``FEASIBLE`` if a gap stays open.
    bound_scope
        What the bounds hold for, in words.
    solve_s
        Time of the whole stage.
    """
    running: dict[str, list[ServingInstance]] = defaultdict(list)
    for instance in assignment.instances:
        running[instance.template.model_id].append(instance)
    factors = {pool.key: pool.site_factor for pool in space.problem.pools}
    capacities, replicas = [], []
    for model in space.problem.models:
        instances = running[model.id]
        capacities.append(_paired(space, ((i, _capacity(i, factors)) for i in instances)))
        replicas.append(_paired(space, ((i, 1.0) for i in instances)))

    rent, charge = _cost(space, assignment)
    objective = []
    with_budget = space.problem.policy.budget_usd_per_hour is not None
    if with_budget:
        value = weighted_served_req_per_s(space.problem.models, capacities)
        wanted = [
            model.demand_req_per_s if _takes_part(space, index) else 0.0
            for index, model in enumerate(space.problem.models)
        ]
        everything = weighted_served_req_per_s(space.problem.models, wanted)
        objective.append(_level(BUDGET_LEVEL, "max", value, bounds.get(BUDGET_LEVEL, everything)))
    for group in () if with_budget else priority_classes(space.problem):
        shares = [
            served_share(space.problem.models[index], capacities[index])
            for index in group.models
            if space.problem.models[index].demand_req_per_s > 0 and _takes_part(space, index)
        ]
        for position, value in enumerate(reported_shares(shares) or [1.0], start=1):
            name = group.served_level(position)
            value = min(1.0, value)
            objective.append(_level(name, "max", value, bounds.get(name, 1.0)))
    for group in priority_classes(space.problem):
        value = sum(
            soft_shortfall(space.problem.models[index], capacities[index], replicas[index])
            for index in group.models
        )
        name = group.wishes_level
        objective.append(_level(name, "min", value, bounds.get(name, 0.0)))
    objective.append(_level(COST_LEVEL, "min", rent + charge, bounds.get(COST_LEVEL, 0.0)))

    if status is SolveStatus.OPTIMAL and any(
        level.gap > space.options.relative_gap + SHARE_TOLERANCE for level in objective
    ):
        status = SolveStatus.FEASIBLE
    return AllocationPlan(
        status=status,
        instances=assignment.instances,
        outcomes=tuple(
            _outcome(space, assignment, index, capacities[index], replicas[index])
            for index in range(len(space.problem.models))
        ),
        objective=tuple(objective),
        bound_scope=bound_scope,
        rent_usd_per_hour=rent,
        switching_usd_per_hour=charge,
        opened_nodes=assignment.opened_nodes,
        solve_s=solve_s,
    )


def _takes_part(space: SearchSpace, index: int) -> bool:
    """Return whether the model counts in the served levels: it has something to be served with."""
    return space.known[index].can_serve or index in space.placeable


def _capacity(instance: ServingInstance, factors: Mapping[PoolKey, float]) -> float:
    """Return what an instance carries: the slowest site of its slices slows all of it."""
    factor = min(factors[pool] for pool, _ in instance.slices)
    return instance.template.capacity_req_per_s * factor


def _paired(space: SearchSpace, amounts: Iterable[tuple[ServingInstance, float]]) -> float:
    entries: list[tuple[Phase, str, float]] = [
        (instance.template.phase, instance.region, amount) for instance, amount in amounts
    ]
    return paired(entries, sum_regions=space.options.sum_regions)


def _cost(space: SearchSpace, assignment: Assignment) -> tuple[float, float]:
    """Return rent and starting charge, in USD per hour."""
    whole_nodes = {
        (supply.pool.key, node.name)
        for supply in space.supplies
        if supply.elastic
        for node in supply.nodes
    }
    pools = {pool.key: pool for pool in space.problem.pools}
    rent = sum(
        count * pool.node_usd_per_hour
        for pool in space.problem.pools
        if (count := assignment.opened_nodes.get(pool.name, 0))
    )
    charge = 0.0
    for instance in assignment.instances:
        for config, (key, node) in zip(instance.template.configs, instance.slices, strict=True):
            usd_per_hour = config.gpu_count * pools[key].gpu_usd_per_hour()
            if node is not None and (key, node) not in whole_nodes:
                rent += usd_per_hour
            if instance.name not in assignment.kept_names:
                horizon_s = space.problem.policy.payback_horizon_s
                charge += usd_per_hour * pools[key].start_time_s / horizon_s
    return rent, charge


def _level(name: str, sense: str, value: float, bound: float) -> ObjectiveLevel:
    # A value may pass its bound by the solver's tolerance; it is the value that was reached.
    bound = max(bound, value) if sense == "max" else min(max(bound, 0.0), value)
    gap = abs(value - bound) / max(abs(value), abs(bound), 1e-9)
    return ObjectiveLevel(level=name, sense=sense, value=value, bound=bound, gap=gap)


def _outcome(
    space: SearchSpace,
    assignment: Assignment,
    index: int,
    capacity_req_per_s: float,
    replicas: float,
) -> ModelOutcome:
    """Say in a sentence what the plan does for one model, and what to change where it is short."""
    model = space.problem.models[index]
    demand = model.demand_req_per_s
    unmet = 0.0
    short = []
    if model.min_replicas > replicas:
        short.append(f"{replicas:.0f} of {model.min_replicas} wanted replicas run")
    if demand <= 0:
        reason, message = "NoDemand", "no demand"
        if short:
            short.append(_what_is_short(space, assignment, index))
        elif model.min_replicas > 0:
            message += f"; what runs is for minReplicas ({model.min_replicas})"
    elif served_share(model, capacity_req_per_s) >= 1.0:
        reason = "Served"
        message = f"{capacity_req_per_s:.4g} req/s planned for a demand of {demand:.4g} req/s"
        if soft_shortfall(model, capacity_req_per_s, replicas) > 0 and not short:
            short.append(f"the headroom of {model.headroom:.0%} is not reached")
    else:
        unmet = demand - capacity_req_per_s
        if _takes_part(space, index):
            reason = "CapacityShort"
            message = f"{capacity_req_per_s:.4g} of {demand:.4g} req/s can be served"
            short.insert(0, _what_is_short(space, assignment, index))
        else:
            reason, message = "NoTemplate", _without_template(space, index)
    return ModelOutcome(
        model_id=model.id,
        demand_req_per_s=demand,
        capacity_req_per_s=capacity_req_per_s,
        unmet_req_per_s=unmet,
        usd_per_hour=sum(
            instance.usd_per_hour
            for instance in assignment.instances
            if instance.template.model_id == model.id
        ),
        reason=reason,
        message="; ".join([message, *short]),
    )


def _without_template(space: SearchSpace, index: int) -> str:
    model = space.problem.models[index]
    gpus = sorted({pool.key.gpu for pool in space.problem.pools})
    if not gpus:
        return "there is no GPU pool: add GPU nodes"
    allowed = [gpu for gpu in gpus if model.may_use(gpu)]
    if not allowed:
        return (
            f"none of the GPU types on offer ({', '.join(gpus)}) is allowed: allow one of them, "
            "or add nodes of a type that is"
        )
    return (
        f"no placement on {', '.join(allowed)} holds {model.arch.name} in {model.precision} and "
        f"meets its targets (TTFT {model.slo.ttft_s * 1000:.0f} ms, TPOT "
        f"{model.slo.tpot_s * 1000:.0f} ms): relax them, allow more GPU types, or add nodes with "
        "larger or faster GPUs"
    )


def _what_is_short(space: SearchSpace, assignment: Assignment, index: int) -> str:
    """Say what is left of the pools that the model could use, beside what one more copy takes."""
    known = space.known[index]
    if not known.can_serve:
        return _without_template(space, index)
    left = {pool.name: 0 for pool in space.problem.pools if pool.key.gpu in known.gpus}
    most = dict.fromkeys(left, 0)
    for supply, free_gpus, on_one_node in zip(
        space.supplies, assignment.free_gpus, assignment.most_on_one_node, strict=True
    ):
        name = supply.pool.name
        if name in left:
            left[name] += free_gpus
            most[name] = max(most[name], on_one_node)
    if any(left.values()):
        what = "GPUs left in the pools it could use"
        named = [
            f"{name}: {left[name]} (at most {most[name]} on one node)"
            for name in sorted(left, key=lambda name: (-left[name], name))
            if left[name]
        ]
    else:
        what = "no GPU is left in the pools it could use"
        named = sorted(left)
    if len(named) > _MOST_POOLS_NAMED:
        more = len(named) - _MOST_POOLS_NAMED
        named[_MOST_POOLS_NAMED:] = [f"{more} more pool{'s' if more > 1 else ''}"]
    return (
        f"{what} ({', '.join(named)}); one more copy takes at least {known.least}: add nodes, "
        "allow more GPU types, or ask for less"
    )
