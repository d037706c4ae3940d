"""Refuse input that cannot mean anything, before any number of it is used."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import PoolScaling
from coral_solver.domain.profile import profile_faults

if TYPE_CHECKING:
    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.workload import ModelArch, ServedModel

MAX_DEMAND_REQ_PER_S = 1e6
"""A larger demand is taken for a slip of the unit: no public service reports as much."""

MAX_NODE_USD_PER_HOUR = 1e5
MAX_LATENCY_S = 3600.0

_POSITIVE = (
    "layers",
    "hidden_size",
    "attention_heads",
    "kv_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "max_context_tokens",
)


def validate_problem(problem: PlanningProblem) -> None:
    """Check every number and every id of a problem.

    Parameters
    ----------
    problem
        The problem as its caller built it.

    Raises
    ------
    InvalidInputError
        With every fault that was found, each saying where it is and what is allowed.
    """
    faults: list[str] = []
    for model_id, count in Counter(model.id for model in problem.models).items():
        if count > 1:
            faults.append(f"model {model_id}: the id is used {count} times; ids must be unique")
    for name, count in Counter(pool.name for pool in problem.pools).items():
        if count > 1:
            faults.append(f"pool {name}: given {count} times; merge the nodes into one pool")
    for name, count in Counter(instance.name for instance in problem.in_force).items():
        if count > 1:
            faults.append(
                f"instance in force {name}: the name is used {count} times; names must be unique"
            )
    for model in problem.models:
        faults.extend(f"model {model.id}: {fault}" for fault in _model_faults(model))
    for pool in problem.pools:
        faults.extend(f"pool {pool.name}: {fault}" for fault in _pool_faults(pool))
    faults.extend(_shared_node_faults(problem))
    if not _within(problem.policy.payback_horizon_s, 1.0, math.inf):
        faults.append("policy: payback_horizon_s must be at least 1 s")
    if not _within(problem.policy.robustness, 0.0, 1.0):
        faults.append(f"policy: robustness {problem.policy.robustness} must lie in [0, 1]")
    budget = problem.policy.budget_usd_per_hour
    if budget is not None and not _within(budget, 0.0, math.inf):
        faults.append(f"policy: budget_usd_per_hour {budget} must be a number and not negative")
    faults.extend(profile_faults(problem.profiles))
    if faults:
        raise InvalidInputError(faults)


def _within(value: float, low: float, high: float) -> bool:
    return math.isfinite(value) and low <= value <= high


def _model_faults(model: ServedModel) -> list[str]:
    faults = _arch_faults(model.arch)
    if not _within(model.demand_req_per_s, 0.0, MAX_DEMAND_REQ_PER_S):
        faults.append(
            f"demand {model.demand_req_per_s} req/s must lie in [0, {MAX_DEMAND_REQ_PER_S:g}]"
        )
    if not _within(model.headroom, 0.0, 10.0):
        faults.append(f"headroom {model.headroom} must lie in [0, 10]")
    if not 0 <= model.min_replicas <= 1000:
        faults.append(f"min_replicas {model.min_replicas} must lie in [0, 1000]")
    for name, value in (("ttft_s", model.slo.ttft_s), ("tpot_s", model.slo.tpot_s)):
        if not _within(value, 1e-6, MAX_LATENCY_S):
            faults.append(f"{name} {value} must be positive and at most {MAX_LATENCY_S:g} s")
    if not _within(model.slo.attainment, 0.5, 0.999):
        faults.append(f"attainment {model.slo.attainment} must lie in [0.5, 0.999]")
    for name, lengths in (
        ("input_tokens", model.workload.input_tokens),
        ("output_tokens", model.workload.output_tokens),
    ):
        if not all(_within(x, 1e-3, 1e7) for x in (lengths.mean_tokens, *lengths.points_tokens)):
            faults.append(f"{name} must be positive and at most 1e7 tokens")
    if not _within(model.workload.burstiness, 0.0, 1000.0):
        faults.append(f"burstiness {model.workload.burstiness} must lie in [0, 1000]")
    return faults


def _arch_faults(arch: ModelArch) -> list[str]:
    """Return what no transformer has; the catalogue holds its own models to the same."""
    faults = [
        f"{name} of {arch.name} is {getattr(arch, name)}: it must be positive"
        for name in _POSITIVE
        if not getattr(arch, name) > 0
    ]
    if arch.attention_heads > 0 and arch.kv_heads > 0 and arch.attention_heads % arch.kv_heads:
        faults.append(
            f"kv_heads of {arch.name}: {arch.kv_heads} must divide the {arch.attention_heads} "
            "attention heads"
        )
    experts = (arch.experts, arch.experts_per_token, arch.moe_intermediate_size)
    if any(experts) and not (min(experts) > 0 and arch.experts_per_token <= arch.experts):
        faults.append(
            f"experts of {arch.name}: experts, experts_per_token and moe_intermediate_size are "
            f"{experts}; all must be 0 or positive, and a token visits no more than there are"
        )
    sliding = (arch.sliding_window_tokens, arch.sliding_layers)
    if any(sliding) and not (min(sliding) > 0 and arch.sliding_layers <= arch.layers):
        faults.append(
            f"sliding windows of {arch.name}: sliding_window_tokens and sliding_layers are "
            f"{sliding}; both must be 0 or positive, with at most {arch.layers} layers"
        )
    return faults


def _shared_node_faults(problem: PlanningProblem) -> list[str]:
    """Return the nodes that several pools of a region list: their GPUs would be taken twice."""
    pools = defaultdict(list)
    for pool in problem.pools:
        for node in {node.name for node in pool.nodes}:
            pools[pool.key.region, node].append(pool.name)
    return [
        f"node {node}: listed by the pools {' and '.join(sorted(names))}; a node belongs to one"
        for (_, node), names in sorted(pools.items())
        if len(set(names)) > 1
    ]


def _pool_faults(pool: GpuPool) -> list[str]:
    faults = []
    if not _within(pool.node_usd_per_hour, 0.0, MAX_NODE_USD_PER_HOUR):
        faults.append(
            f"price {pool.node_usd_per_hour} USD/h per node must lie in "
            f"[0, {MAX_NODE_USD_PER_HOUR:g}]"
        )
    if not 1 <= pool.key.gpus_per_node <= 1024:
        faults.append(f"{pool.key.gpus_per_node} GPUs per node must lie in [1, 1024]")
    if not _within(pool.start_time_s, 0.0, 86400.0):
        faults.append(f"start_time_s {pool.start_time_s} must lie in [0, 86400]")
    if not _within(pool.site_factor, 0.05, 20.0):
        faults.append(f"site_factor {pool.site_factor} must lie in [0.05, 20]")
    if pool.scaling is PoolScaling.FIXED and pool.max_nodes:
        faults.append("max_nodes is for elastic pools only")
    if not 0 <= pool.max_nodes <= 100_000:
        faults.append(f"max_nodes {pool.max_nodes} must lie in [0, 100000]")
    names = Counter(node.name for node in pool.nodes)
    faults.extend(f"node {name} is listed {n} times" for name, n in names.items() if n > 1)
    faults.extend(
        f"node {node.name}: {node.free_gpus} free GPUs of {pool.key.gpus_per_node}"
        for node in pool.nodes
        if not 0 <= node.free_gpus <= pool.key.gpus_per_node
    )
    return faults
