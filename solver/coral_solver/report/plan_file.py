"""Read back what ``coral plan -o json`` wrote; refuse what is something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import NodeConfig
from coral_solver.domain.plan import NodeSlice, ObjectiveLevel, ServingInstance
from coral_solver.domain.template import (
    EngineSettings,
    Prediction,
    ServingTemplate,
    StagePlacement,
)
from coral_solver.domain.workload import Phase
from coral_solver.planning.facts import WITHOUT_TEMPLATE, InstanceFacts, PlanFacts
from coral_solver.report.plan_schema import first_faults, plan_record, version_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.report.plan_schema import InstanceRecord, LevelRecord, PlanRecord


def plan_from_document(document: Mapping[str, Any], where: str) -> PlanFacts:
    """Return the plan that a document of ``coral plan -o json`` holds.

    Parameters
    ----------
    document
        As it was read from JSON or YAML.
    where
        What to call it in a message, for example its path.

    Raises
    ------
    InvalidInputError
        If it is another document, one of a version that is not known, or lacks what a plan has.
    """
    return _facts(_plan(document, where))


def instances_from_document(
    document: Mapping[str, Any], where: str, pools: Sequence[GpuPool]
) -> tuple[ServingInstance, ...]:
    """Return the instances of a document in the planner's terms, to plan from there.

    Parameters
    ----------
    document, where
        As for ``plan_from_document``.
    pools
        Pools on offer: an instance on a pool that is none of them cannot stay and is left out.

    Returns
    -------
    tuple of ServingInstance
        Their predictions count only where the planner's templates have the same placement with
        the same engine settings: a file does not say for which targets they were made.

    Raises
    ------
    InvalidInputError
        If the document is no plan, or one from which instances cannot be rebuilt.
    """
    by_name = {pool.name: pool for pool in pools}
    found, faults = [], []
    for instance in _plan(document, where).instances:
        if any(piece.pool not in by_name for piece in instance.slices):
            continue
        template = _template(instance, by_name)
        if template is None or template.id != instance.template:
            faults.append(
                f"{where}: instance {instance.name} cannot be rebuilt from the file: it is older "
                "than this Coral, edited, or of the paper space; make the plan again, or leave it "
                "out"
            )
            continue
        found.append(
            ServingInstance(
                name=instance.name,
                template=template,
                region=instance.region,
                slices=tuple(
                    NodeSlice(by_name[piece.pool].key, piece.node) for piece in instance.slices
                ),
                usd_per_hour=instance.usd_per_hour,
            )
        )
    if faults:
        raise InvalidInputError(first_faults(faults, where))
    return tuple(found)


def report_document(
    document: Mapping[str, Any], where: str, problem: PlanningProblem
) -> dict[str, Any]:
    """Return a document as a report reads it: every key is there, and it is for these inputs.

    Parameters
    ----------
    document, where
        As for ``plan_from_document``.
    problem
        What it should be a plan for.

    Returns
    -------
    dict
        As ``plan_document`` makes it.

    Raises
    ------
    InvalidInputError
        If the document is no plan, or one for other models or pools; with every problem.
    """
    faults = version_faults(document, where)
    plan = plan_record(document, where)
    faults += [
        f"{where}: is not a plan for these files: {text}" for text in _foreign(plan, problem)
    ]
    if any(not instance.slices for instance in plan.instances) or any(
        peer.rent_usd_per_hour is None for peer in plan.baselines.values()
    ):
        faults.append(f"{where}: is older than this Coral: make it again with `coral plan -o json`")
    if faults:
        raise InvalidInputError(faults)
    return plan.model_dump(mode="json")


def _foreign(plan: PlanRecord, problem: PlanningProblem) -> Iterator[str]:
    """Yield which models and pools a plan and a problem do not share."""
    planned = {model.model for model in plan.models}
    wanted = {model.id for model in problem.models}
    runs = {instance.model for instance in plan.instances}
    used = {piece.pool for instance in plan.instances for piece in instance.slices}
    pools = {pool.name for pool in problem.pools}
    for name in sorted(wanted - planned):
        yield f"it has no model {name!r}"
    for name in sorted((planned | runs) - wanted):
        yield f"the files have no model {name!r}"
    for name in sorted(used - pools):
        yield f"there is no pool {name!r}"


def _plan(document: Mapping[str, Any], where: str) -> PlanRecord:
    faults = version_faults(document, where)
    if faults:
        raise InvalidInputError(faults)
    return plan_record(document, where)


def _template(instance: InstanceRecord, pools: Mapping[str, GpuPool]) -> ServingTemplate | None:
    """Rebuild a template of the ``vllm`` space: one slice a stage. None if it is none."""
    engine, layers = instance.engine, instance.layers_per_stage
    if engine is None or instance.tensor_parallel is None or not layers:
        return None
    if len(layers) != len(instance.slices) or instance.phase not in Phase.__members__:
        return None
    return ServingTemplate(
        model_id=instance.model,
        phase=Phase(instance.phase),
        stages=tuple(
            StagePlacement(count, (NodeConfig(piece.gpu, piece.gpus, pools[piece.pool].key.link),))
            for count, piece in zip(layers, instance.slices, strict=True)
        ),
        prediction=Prediction(
            capacity_req_per_s=instance.capacity_req_per_s,
            ttft_s=instance.ttft_s,
            tpot_s=instance.tpot_s,
            batch_per_stage=0.0,
            source=instance.prediction_source,
            error_share=instance.error_share,
        ),
        made_for="",
        engine=EngineSettings(
            tensor_parallel=instance.tensor_parallel,
            pipeline_parallel=len(layers),
            layers_per_stage=layers,
            max_model_len_tokens=engine.max_model_len_tokens,
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            gpu_memory_utilization=engine.gpu_memory_utilization,
        ),
    )


def _facts(plan: PlanRecord) -> PlanFacts:
    return PlanFacts(
        status=str(plan.status),
        cost_usd_per_hour=plan.cost_usd_per_hour,
        rent_usd_per_hour=plan.rent_usd_per_hour,
        switching_usd_per_hour=plan.switching_usd_per_hour,
        demand_req_per_s={model.model: model.demand_req_per_s for model in plan.models},
        capacity_req_per_s={model.model: model.capacity_req_per_s for model in plan.models},
        unmet_req_per_s={model.model: model.unmet_req_per_s for model in plan.models},
        usd_per_hour={model.model: model.usd_per_hour for model in plan.models},
        models_without_template=frozenset(
            model.model for model in plan.models if model.reason == WITHOUT_TEMPLATE
        ),
        instances=tuple(_instance(instance) for instance in plan.instances),
        opened_nodes=plan.opened_nodes,
        objective=tuple(_level(level) for level in plan.objective),
        bound_scope=plan.bound_scope,
    )


def _instance(instance: InstanceRecord) -> InstanceFacts:
    pools = tuple(instance.pool.split("+"))
    by_pool: dict[str, int] = {}
    for piece in instance.slices:
        by_pool[piece.pool] = by_pool.get(piece.pool, 0) + piece.gpus
    if not by_pool and len(pools) == 1:
        by_pool = {pools[0]: instance.gpus}  # older files have no slices
    return InstanceFacts(
        name=instance.name,
        model=instance.model,
        phase=instance.phase,
        template=instance.template,
        gpu=instance.gpu,
        gpus=instance.gpus,
        pools=pools,
        nodes=instance.nodes,
        gpus_by_pool=by_pool,
        capacity_req_per_s=instance.capacity_req_per_s,
        usd_per_hour=instance.usd_per_hour,
    )


def _level(level: LevelRecord) -> ObjectiveLevel:
    # Without a bound nothing is proven: the trivial one of each sense.
    trivial = 1.0 if level.sense == "max" else 0.0
    return ObjectiveLevel(
        level=level.level,
        sense=level.sense,
        value=level.value,
        bound=level.bound if level.bound is not None else trivial,
        gap=level.gap if level.gap is not None else 1.0,
    )
