"""Refuses input that cannot mean anything, with every problem found."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import PoolScaling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.domain.plan import PlanningProblem

_MOST_REQ_PER_S = 1e9  # more than all the traffic of the internet: a unit went wrong


def validate(problem: PlanningProblem, options: AllocationOptions) -> None:
    """Check a problem before anything is built from it.

    Raises
    ------
    InvalidInputError
        With one entry in ``problems`` for everything that is wrong.
    """
    problems = [
        *_repeated("model id", (model.id for model in problem.models)),
        *_repeated("pool", (pool.name for pool in problem.pools)),
        *_repeated("instance in force", (instance.name for instance in problem.in_force)),
        *_model_problems(problem),
        *_pool_problems(problem),
    ]
    if not problem.policy.payback_horizon_s > 0:
        problems.append(
            f"the payback horizon is {problem.policy.payback_horizon_s} s: make it positive"
        )
    if not 0 <= options.relative_gap < 1:
        problems.append(f"the relative gap is {options.relative_gap}: choose one in [0, 1)")
    if math.isnan(options.time_limit_s):
        problems.append("the time limit is not a number")
    if problems:
        raise InvalidInputError(problems)


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in sorted(Counter(names).items()):
        if count > 1:
            yield f"{what} {name!r} is given {count} times: name each once"


def _model_problems(problem: PlanningProblem) -> Iterator[str]:
    for model in problem.models:
        if not 0 <= model.demand_req_per_s <= _MOST_REQ_PER_S:
            yield (
                f"model {model.id!r}: a demand of {model.demand_req_per_s} req/s is not between "
                f"0 and {_MOST_REQ_PER_S:g}"
            )
        if not 0 <= model.headroom <= 100:
            yield f"model {model.id!r}: a headroom of {model.headroom} is not between 0 and 100"
        if model.min_replicas < 0:
            yield f"model {model.id!r}: {model.min_replicas} replicas are fewer than none"


def _pool_problems(problem: PlanningProblem) -> Iterator[str]:
    for pool in problem.pools:
        where = f"pool {pool.name!r}"
        if not (math.isfinite(pool.node_usd_per_hour) and pool.node_usd_per_hour >= 0):
            yield f"{where}: a price of {pool.node_usd_per_hour} USD per hour is no price"
        if not (math.isfinite(pool.start_time_s) and pool.start_time_s >= 0):
            yield f"{where}: a start time of {pool.start_time_s} s is no duration"
        if not (math.isfinite(pool.site_factor) and pool.site_factor > 0):
            yield f"{where}: a site factor of {pool.site_factor} is not positive"
        if pool.key.gpus_per_node < 1:
            yield f"{where}: a node without GPUs cannot serve"
        if pool.max_nodes < 0 or (pool.scaling is PoolScaling.FIXED and pool.max_nodes > 0):
            yield f"{where}: {pool.max_nodes} openable nodes do not go with {pool.scaling} scaling"
        yield from _repeated(f"{where}: node", (node.name for node in pool.nodes))
        for node in pool.nodes:
            if not 0 <= node.free_gpus <= pool.key.gpus_per_node:
                yield (
                    f"{where}: node {node.name!r} has {node.free_gpus} free GPUs of "
                    f"{pool.key.gpus_per_node}"
                )
