"""Peers that solve one integer program per model over replicas of a single GPU type.

Melange (arXiv 2404.14527) buckets the requests of one service by size, and chooses how many
instances of each GPU type to rent so that the buckets fit at the least cost. Its program knows no
limit on how many GPUs there are, and no other model. A model here has one workload, hence one
bucket: the program is a covering problem over replicas, with the capacities of our templates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.homogeneous_source import HomogeneousSource, homogeneous_problem
from coral_solver.baselines.nodes import FreeNodes
from coral_solver.baselines.sequential import plan_model_by_model
from coral_solver.domain.hardware import PoolNode, PoolScaling

if TYPE_CHECKING:
    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem

ENDLESS_NODES = 200
"""Nodes that every pool has where availability is ignored."""


def melange(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan with one integer program per model, each on the GPUs that the models before it left.

    The bounded form of Melange: replicas of one kind of node configuration, all of them (multi-GPU
    and multi-node replicas count as GPU types of their own); models by id, by class under
    ``Priority``. Prefill and decode are chosen together, which the published form does not know.

    Parameters
    ----------
    problem
        The problem. Mixed instances in force are not this peer's: it starts without them.
    source, options, clock
        As for ``allocate``.

    Returns
    -------
    AllocationPlan
        It has passed the checker, for ``homogeneous_problem(problem)``.
    """
    return plan_model_by_model(
        homogeneous_problem(problem), HomogeneousSource(source), options=options, clock=clock
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnboundedMelange:
    """What Melange asks for when it does not look at what there is.

    Attributes
    ----------
    plan
        Checked against the problem with ``ENDLESS_NODES`` nodes in every pool.
    homeless_slices
        Slices of the plan that find no room in the pools as they are, largest first onto the node
        that they fill best; 0: the plan can be placed.
    """

    plan: AllocationPlan
    homeless_slices: int


def melange_unbounded(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> UnboundedMelange:
    """Plan as published: every model alone, as if there were any number of GPUs of each kind.

    Parameters
    ----------
    problem
        The problem; nothing in force counts.
    source, options, clock
        As for ``allocate``.
    """
    endless = replace(
        problem,
        in_force=(),
        pools=tuple(
            replace(
                pool,
                nodes=tuple(
                    PoolNode(f"{pool.name}-{number:03d}", pool.key.gpus_per_node)
                    for number in range(ENDLESS_NODES)
                ),
                scaling=PoolScaling.FIXED,
                max_nodes=0,
            )
            for pool in problem.pools
        ),
    )
    plan = plan_model_by_model(endless, HomogeneousSource(source), options=options, clock=clock)
    whole_nodes_only = (options or AllocationOptions()).whole_nodes_only
    nodes = FreeNodes(problem.pools, whole_nodes_only=whole_nodes_only)
    wanted = sorted(
        (
            (config.gpu_count, pool)
            for instance in plan.instances
            for config, (pool, _) in zip(instance.template.configs, instance.slices, strict=True)
        ),
        reverse=True,
    )
    homeless = sum(nodes.take_slice(pool, size) is None for size, pool in wanted)
    return UnboundedMelange(plan=plan, homeless_slices=homeless)
