"""Put a planning problem together: what is planned anew, what is held as it is, on which GPUs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_api.convert import ModelRef, policy_from, spec_hash
from coral_operator.planning.hashing import digest
from coral_operator.planning.inputs import ServiceRef
from coral_operator.planning.records import Chain, Hashes
from coral_solver.domain.hardware import PoolNode, PoolScaling
from coral_solver.domain.plan import ModelOutcome, PlanningProblem
from coral_solver.domain.profile import points_of_models

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coral_api.gpupool import GPUPool
    from coral_api.multillmservice import MultiLLMService
    from coral_api.planningpolicy import PlanningPolicySpec
    from coral_api.servingplan import PlannedService
    from coral_operator.planning.inputs import ServiceInput
    from coral_operator.planning.records import PlanRecord
    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import AllocationPlan, PlanMargin, ServingInstance
    from coral_solver.domain.profile import MeasuredPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainInputs:
    """All that the next plan of a chain is made from.

    Attributes
    ----------
    chain
        Active or Shadow.
    problem
        What is planned anew.
    services
        Services that are planned anew, sorted.
    held_services
        Services that keep what the plan in force gives them: paused ones, and ones whose spec does
        not validate.
    held
        Instances that are carried over: those of held services, and those of models that have
        become invalid in a service that is planned.
    held_outcomes
        What the plan in force says of the models of held instances.
    lost
        Instances of the plan in force that have lost their node.
    hashes
        Digests of all this.
    """

    chain: Chain
    problem: PlanningProblem
    services: tuple[MultiLLMService, ...] = ()
    held_services: tuple[PlannedService, ...] = ()
    held: tuple[ServingInstance, ...] = ()
    held_outcomes: tuple[ModelOutcome, ...] = ()
    lost: tuple[str, ...] = ()
    hashes: Hashes

    @property
    def is_empty(self) -> bool:
        """Whether the chain has nothing to plan and nothing to hold."""
        return not self.services and not self.held_services


def chain_inputs(
    chain: Chain,
    services: Sequence[ServiceInput],
    *,
    policy: PlanningPolicySpec,
    gpu_pools: Sequence[GPUPool],
    profiles: Iterable[MeasuredPoint],
    pools: Sequence[GpuPool],
    current: PlanRecord | None,
    reserved: Iterable[ServingInstance] = (),
) -> ChainInputs:
    """Put together what the next plan of a chain is made from.

    Parameters
    ----------
    chain
        Active or Shadow.
    services
        Every service of the operator's scope.
    policy, gpu_pools
        What people wrote about the cluster.
    profiles
        Measured points; those of models that are not planned are left out.
    pools
        GPUs that Coral may use, those of its own pods included.
    current
        The plan of the chain that is in force.
    reserved
        Instances of the other chain, whose GPUs are taken.
    """
    planned, held_refs = _sort_services(chain, services, current)
    models = sorted((m for s in planned for m in s.models), key=lambda m: m.id)
    held_models = {
        str(ModelRef(*s.ref, problem.model)) for s in planned for problem in s.model_problems
    }
    in_force, held = [], []
    for instance in current.instances if current is not None else ():
        ref = ModelRef.parse(instance.template.model_id)
        if ServiceRef(ref.namespace, ref.service) in held_refs or str(ref) in held_models:
            held.append(instance)
        else:
            in_force.append(instance)
    free = without(pools, [*held, *reserved])
    planned_ids = {m.id for m in models}
    wanted = [i for i in in_force if i.template.model_id in planned_ids]
    problem = PlanningProblem(
        models=tuple(models),
        pools=free,
        policy=policy_from(policy),
        # Those that have lost their node too: no new instance may get the name of one, or its
        # Deployment would wait for a pod that the dead node cannot end.
        in_force=tuple(wanted),
        profiles=points_of_models(profiles, models),
    )
    held_ids = {i.template.model_id for i in held}
    return ChainInputs(
        chain=chain,
        problem=problem,
        services=tuple(s.service for s in planned if s.service is not None),
        held_services=tuple(
            s
            for s in (current.plan.spec.services if current is not None else ())
            if ServiceRef(s.namespace, s.name) in held_refs
        ),
        held=tuple(held),
        held_outcomes=_held_outcomes(current, held_refs, held_ids),
        lost=tuple(i.name for i in wanted if not stands(i, free)),
        hashes=Hashes(
            spec=digest(
                [(s.ref, s.uid, spec_hash(s.service)) for s in planned if s.service is not None],
                sorted(held_refs),
                policy.to_json(),
                [(p.metadata.name, p.spec.to_json()) for p in gpu_pools],
                problem.profiles,
            ),
            inputs=digest(models, problem.pools, problem.policy, problem.profiles),
        ),
    )


def _sort_services(
    chain: Chain, services: Sequence[ServiceInput], current: PlanRecord | None
) -> tuple[list[ServiceInput], set[ServiceRef]]:
    """Return the services to plan anew, and those to hold as the plan in force has them."""
    planned, held = [], set()
    for service in services:
        if service.is_deleting:
            continue
        if service.service is None or service.is_paused:
            known = current.planned_service(service.ref) if current is not None else None
            if known is not None and known.uid == service.uid:
                held.add(service.ref)
        elif service.mode is chain.mode:
            planned.append(service)
    return planned, held


def _held_outcomes(
    current: PlanRecord | None, held_refs: set[ServiceRef], held_ids: set[str]
) -> tuple[ModelOutcome, ...]:
    outcomes = []
    for known in current.plan.spec.outcomes if current is not None else ():
        ref = ModelRef.parse(known.model_id)
        if ServiceRef(ref.namespace, ref.service) in held_refs or known.model_id in held_ids:
            outcomes.append(
                ModelOutcome(
                    model_id=known.model_id,
                    demand_req_per_s=known.demand_requests_per_second,
                    capacity_req_per_s=known.capacity_requests_per_second,
                    unmet_req_per_s=known.unmet_requests_per_second,
                    usd_per_hour=known.usd_per_hour,
                    reason=known.reason,
                    message=known.message,
                )
            )
    return tuple(outcomes)


def stands(instance: ServingInstance, pools: Iterable[GpuPool]) -> bool:
    """Return whether every node of an instance still exists and may be used.

    A slice that an elastic pool was to open a node for stands as long as the pool exists.
    """
    nodes = {pool.key: {node.name for node in pool.nodes} for pool in pools}
    return all(
        piece.pool in nodes and (piece.node is None or piece.node in nodes[piece.pool])
        for piece in instance.slices
    )


def without(pools: Iterable[GpuPool], instances: Iterable[ServingInstance]) -> tuple[GpuPool, ...]:
    """Return the pools, sorted, less the GPUs that some instances take.

    A slice without a node takes one node from its elastic pool's ceiling.
    """
    taken: Counter[str] = Counter()
    opened: Counter[object] = Counter()
    for instance in instances:
        configs = [c for stage in instance.template.stages for c in stage.configs]
        for piece, config in zip(instance.slices, configs, strict=True):
            if piece.node is None:
                opened[piece.pool] += 1
            else:
                taken[piece.node] += config.gpu_count
    left = []
    for pool in pools:
        nodes = tuple(
            PoolNode(node.name, max(0, node.free_gpus - taken[node.name])) for node in pool.nodes
        )
        max_nodes = pool.max_nodes
        if pool.scaling is PoolScaling.ELASTIC:
            max_nodes = max(len(nodes), max_nodes - opened[pool.key])
        left.append(dataclasses.replace(pool, nodes=nodes, max_nodes=max_nodes))
    return tuple(sorted(left, key=lambda p: p.key))


def with_held(plan: AllocationPlan, inputs: ChainInputs) -> AllocationPlan:
    """Return a plan together with what was held out of its problem."""
    if not inputs.held and not inputs.held_outcomes:
        return plan
    planned = {outcome.model_id for outcome in plan.outcomes}
    outcomes = [*plan.outcomes, *(o for o in inputs.held_outcomes if o.model_id not in planned)]
    return dataclasses.replace(
        plan,
        instances=tuple(sorted((*plan.instances, *inputs.held), key=lambda i: i.name)),
        outcomes=tuple(sorted(outcomes, key=lambda o: o.model_id)),
        bound_scope=f"{plan.bound_scope}; {len(inputs.held)} held instances are not part of it",
        rent_usd_per_hour=plan.rent_usd_per_hour + sum(i.usd_per_hour for i in inputs.held),
    )


def margin_with_held(margin: PlanMargin | None, inputs: ChainInputs) -> PlanMargin | None:
    """Return what a margin costs beside a plan ``with_held``: held instances cost either way."""
    if margin is None:
        return None
    held_usd_per_hour = sum(i.usd_per_hour for i in inputs.held)
    rent = margin.without.rent_usd_per_hour + held_usd_per_hour
    return margin._replace(without=dataclasses.replace(margin.without, rent_usd_per_hour=rent))
