"""Between the planner's answer and the ServingPlan that holds it; instances come back exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from coral_api.base import ObjectMeta
from coral_api.convert import spec_hash
from coral_api.servingplan import (
    PlanDiff,
    PlannedConfig,
    PlannedEngine,
    PlannedInstance,
    PlannedMargin,
    PlannedModel,
    PlannedObjective,
    PlannedPeer,
    PlannedPool,
    PlannedPrediction,
    PlannedService,
    PlannedSlice,
    PlannedStage,
    PlannedTemplate,
    ServingPlan,
    ServingPlanSpec,
)
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import NodeConfig, PoolKey
from coral_solver.domain.plan import NodeSlice, ServingInstance
from coral_solver.domain.template import (
    EngineSettings,
    Prediction,
    ServingTemplate,
    StagePlacement,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coral_api.multillmservice import MultiLLMService
    from coral_api.servingplan import PlanTrigger
    from coral_solver.domain.plan import (
        AllocationPlan,
        ModelOutcome,
        ObjectiveLevel,
        PeerOutcome,
        PlanMargin,
    )


def serving_plan(
    name: str,
    plan: AllocationPlan,
    *,
    services: Sequence[MultiLLMService],
    trigger: PlanTrigger,
    baselines: Mapping[str, PeerOutcome],
    margin: PlanMargin | None = None,
    previous: ServingPlan | None = None,
) -> ServingPlan:
    """Write a plan down.

    Parameters
    ----------
    name
        Name of the object.
    plan
        The planner's answer, checked.
    services
        What it was made from.
    trigger
        Why it was made.
    baselines
        What other ways to plan would do with the same problem, by name.
    margin
        What the policy's margin costs; None where it asks for none.
    previous
        The plan before, for the difference.

    Returns
    -------
    ServingPlan
        Without status; ``instances_from`` gives the instances back exactly.
    """
    names = _Names()
    instances = tuple(_planned_instance(instance, names) for instance in plan.instances)
    return ServingPlan(
        metadata=ObjectMeta(name=name),
        spec=ServingPlanSpec(
            trigger=trigger,
            services=tuple(
                _planned_service(service)
                for service in sorted(services, key=lambda s: (s.namespace, s.metadata.name))
            ),
            status=plan.status,
            solve_seconds=plan.solve_s,
            rent_usd_per_hour=plan.rent_usd_per_hour,
            switching_usd_per_hour=plan.switching_usd_per_hour,
            objective=tuple(_planned_objective(level) for level in plan.objective),
            bound_scope=plan.bound_scope,
            outcomes=tuple(_planned_model(outcome) for outcome in plan.outcomes),
            pools=tuple(_planned_pool(pool, text) for pool, text in names.pools.items()),
            templates=tuple(
                _planned_template(template, text) for text, template in names.templates.items()
            ),
            instances=instances,
            opened_nodes=dict(plan.opened_nodes),
            baselines={name: _planned_peer(peer) for name, peer in baselines.items()},
            margin=_planned_margin(margin) if margin is not None else None,
            diff=_difference(plan, previous),
        ),
    )


def instances_from(plan: ServingPlan) -> tuple[ServingInstance, ...]:
    """Return the instances of a plan in the planner's terms.

    Parameters
    ----------
    plan
        As ``serving_plan`` made it, or as it was read from the API server.

    Returns
    -------
    tuple of ServingInstance
        Equal to those that the plan was made from.

    Raises
    ------
    InvalidInputError
        If an instance names a pool or a template that the plan does not have: somebody has
        edited it.
    """
    pools = {
        pool.name: PoolKey(pool.gpu, pool.gpus_per_node, pool.link, pool.region, pool.kind)
        for pool in plan.spec.pools
    }
    templates = {template.name: _template(template) for template in plan.spec.templates}
    named = [(i.name, "template", i.template) for i in plan.spec.instances]
    named += [(i.name, "pool", piece.pool) for i in plan.spec.instances for piece in i.slices]
    known = {("template", name) for name in templates} | {("pool", name) for name in pools}
    problems = [
        f"ServingPlan {plan.metadata.name}: instance {instance} names the {kind} {name!r}, which"
        " the plan does not have; delete the plan and a new one is made"
        for instance, kind, name in named
        if (kind, name) not in known
    ]
    if problems:
        raise InvalidInputError(problems)
    return tuple(
        ServingInstance(
            name=instance.name,
            template=templates[instance.template],
            region=instance.region,
            slices=tuple(NodeSlice(pools[piece.pool], piece.node) for piece in instance.slices),
            usd_per_hour=instance.usd_per_hour,
        )
        for instance in plan.spec.instances
    )


class _Names:
    """Names of the pools and the templates that the instances share inside one plan."""

    def __init__(self) -> None:
        self.pools: dict[PoolKey, str] = {}
        self.templates: dict[str, ServingTemplate] = {}

    def of_pool(self, pool: PoolKey) -> str:
        return self.pools.setdefault(pool, str(pool))

    def of_template(self, template: ServingTemplate) -> str:
        # An instance in force may carry an older prediction for the same template.
        name, number = template.id, 1
        while self.templates.setdefault(name, template) != template:
            number += 1
            name = f"{template.id}.{number}"
        return name


def _planned_service(service: MultiLLMService) -> PlannedService:
    return PlannedService(
        namespace=service.namespace,
        name=service.metadata.name,
        uid=service.metadata.uid or "",
        generation=service.metadata.generation or 0,
        hash=spec_hash(service),
        mode=service.spec.mode,
    )


def _planned_instance(instance: ServingInstance, names: _Names) -> PlannedInstance:
    return PlannedInstance(
        name=instance.name,
        template=names.of_template(instance.template),
        region=instance.region,
        slices=tuple(
            PlannedSlice(pool=names.of_pool(piece.pool), node=piece.node)
            for piece in instance.slices
        ),
        usd_per_hour=instance.usd_per_hour,
    )


def _planned_pool(pool: PoolKey, name: str) -> PlannedPool:
    return PlannedPool(
        name=name,
        gpu=pool.gpu,
        gpus_per_node=pool.gpus_per_node,
        link=pool.link,
        region=pool.region,
        kind=pool.kind,
    )


def _planned_template(template: ServingTemplate, name: str) -> PlannedTemplate:
    engine, prediction = template.engine, template.prediction
    return PlannedTemplate(
        name=name,
        model_id=template.model_id,
        phase=template.phase,
        stages=tuple(
            PlannedStage(
                layers=stage.layers,
                configs=tuple(
                    PlannedConfig(gpu=c.gpu, gpu_count=c.gpu_count, link=c.link)
                    for c in stage.configs
                ),
            )
            for stage in template.stages
        ),
        engine=None
        if engine is None
        else PlannedEngine(
            tensor_parallel=engine.tensor_parallel,
            pipeline_parallel=engine.pipeline_parallel,
            layers_per_stage=engine.layers_per_stage,
            max_model_len_tokens=engine.max_model_len_tokens,
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            gpu_memory_utilization=engine.gpu_memory_utilization,
        ),
        prediction=PlannedPrediction(
            capacity_requests_per_second=prediction.capacity_req_per_s,
            ttft_seconds=prediction.ttft_s,
            tpot_seconds=prediction.tpot_s,
            batch_per_stage=prediction.batch_per_stage,
            source=prediction.source,
            error_share=prediction.error_share,
        ),
        made_for=template.made_for,
    )


def _template(planned: PlannedTemplate) -> ServingTemplate:
    engine, prediction = planned.engine, planned.prediction
    return ServingTemplate(
        model_id=planned.model_id,
        phase=planned.phase,
        stages=tuple(
            StagePlacement(
                stage.layers,
                tuple(NodeConfig(c.gpu, c.gpu_count, c.link) for c in stage.configs),
            )
            for stage in planned.stages
        ),
        engine=None
        if engine is None
        else EngineSettings(
            tensor_parallel=engine.tensor_parallel,
            pipeline_parallel=engine.pipeline_parallel,
            layers_per_stage=engine.layers_per_stage,
            max_model_len_tokens=engine.max_model_len_tokens,
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            gpu_memory_utilization=engine.gpu_memory_utilization,
        ),
        prediction=Prediction(
            capacity_req_per_s=prediction.capacity_requests_per_second,
            ttft_s=prediction.ttft_seconds,
            tpot_s=prediction.tpot_seconds,
            batch_per_stage=prediction.batch_per_stage,
            source=prediction.source,
            error_share=prediction.error_share,
        ),
        made_for=planned.made_for,
    )


def _planned_margin(margin: PlanMargin) -> PlannedMargin:
    return PlannedMargin(robustness=margin.robustness, without=_planned_peer(margin.without))


def _planned_peer(peer: PeerOutcome) -> PlannedPeer:
    return PlannedPeer(
        rent_usd_per_hour=peer.rent_usd_per_hour,
        unmet_requests_per_second=peer.unmet_req_per_s,
        least_served_share=peer.least_served_share,
    )


def _planned_model(outcome: ModelOutcome) -> PlannedModel:
    return PlannedModel(
        model_id=outcome.model_id,
        demand_requests_per_second=outcome.demand_req_per_s,
        capacity_requests_per_second=outcome.capacity_req_per_s,
        unmet_requests_per_second=outcome.unmet_req_per_s,
        usd_per_hour=outcome.usd_per_hour,
        reason=outcome.reason,
        message=outcome.message,
    )


def _planned_objective(level: ObjectiveLevel) -> PlannedObjective:
    # JSON has no infinity: a level that stopped before its first bound has none.
    return PlannedObjective(
        level=level.level,
        sense="max" if level.sense == "max" else "min",
        value=level.value,
        bound=level.bound if math.isfinite(level.bound) else None,
        gap=level.gap if math.isfinite(level.gap) else None,
    )


def _difference(plan: AllocationPlan, previous: ServingPlan | None) -> PlanDiff:
    """Compare by what runs and where; an instance that moves is both removed and added."""
    after = {_identity(instance) for instance in plan.instances}
    before = {_identity(i) for i in instances_from(previous)} if previous is not None else set()
    return PlanDiff(
        previous_plan=previous.metadata.name if previous is not None else None,
        added=tuple(sorted(name for name, _, _ in after - before)),
        removed=tuple(sorted(name for name, _, _ in before - after)),
        kept=tuple(sorted(name for name, _, _ in after & before)),
        usd_per_hour_before=previous.spec.rent_usd_per_hour if previous is not None else None,
        usd_per_hour_after=plan.rent_usd_per_hour,
    )


def _identity(instance: ServingInstance) -> tuple[str, str, tuple[NodeSlice, ...]]:
    return instance.name, instance.template.id, instance.slices
