"""Read back what ``coral plan -o json`` wrote; refuse what is something else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

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
from coral_solver.report.document import DOCUMENT_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coral_solver.domain.hardware import GpuPool

MOST_FAULTS = 5
"""Faults of a file that are named; a foreign file would have dozens."""


_Amount = Annotated[FiniteFloat, Field(ge=0)]


class _Record(BaseModel):
    """Keys may be added within a version: what is not known is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=False)


class _Level(_Record):
    level: str
    sense: str
    value: FiniteFloat
    bound: float | None = None
    gap: float | None = None


class _Slice(_Record):
    pool: str
    node: str | None
    gpu: str
    gpus: int = Field(ge=1)


class _Engine(_Record):
    max_model_len_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization: float


class _Instance(_Record):
    name: str
    model: str
    phase: str
    template: str
    pool: str
    nodes: tuple[str | None, ...]
    gpu: str
    gpus: int = Field(ge=1)
    capacity_req_per_s: _Amount
    usd_per_hour: _Amount
    region: str = ""
    slices: tuple[_Slice, ...] = ()
    tensor_parallel: int | None = None
    layers_per_stage: tuple[int, ...] = ()
    engine: _Engine | None = None
    ttft_s: float = 0.0
    tpot_s: float = 0.0
    prediction_source: str = ""
    error_share: float | None = None


class _Model(_Record):
    model: str
    demand_req_per_s: _Amount
    capacity_req_per_s: _Amount
    unmet_req_per_s: _Amount
    usd_per_hour: _Amount
    reason: str


class _Plan(_Record):
    version: int
    status: str
    cost_usd_per_hour: FiniteFloat
    rent_usd_per_hour: FiniteFloat
    switching_usd_per_hour: FiniteFloat
    objective: tuple[_Level, ...]
    bound_scope: str = ""
    instances: tuple[_Instance, ...]
    models: tuple[_Model, ...]
    opened_nodes: dict[str, int] = Field(default_factory=dict)


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
        raise InvalidInputError(_some(faults, where))
    return tuple(found)


def _plan(document: Mapping[str, Any], where: str) -> _Plan:
    version = document.get("version")
    if version is None or "instances" not in document:
        raise InvalidInputError(
            [f"{where}: this is no plan: `coral plan ... -o json` writes one, as does the operator"]
        )
    if version != DOCUMENT_VERSION:
        raise InvalidInputError(
            [
                f"{where}: a plan of version {version!r}, and this Coral reads version "
                f"{DOCUMENT_VERSION}: make it again with `coral plan -o json`"
            ]
        )
    try:
        return _Plan.model_validate(document)
    except ValidationError as error:
        faults = [
            f"{where}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise InvalidInputError(_some(faults, where)) from error


def _some(faults: list[str], where: str) -> list[str]:
    more = len(faults) - MOST_FAULTS
    return [*faults[:MOST_FAULTS], *([f"{where}: {more} more faults"] if more > 0 else [])]


def _template(instance: _Instance, pools: Mapping[str, GpuPool]) -> ServingTemplate | None:
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


def _facts(plan: _Plan) -> PlanFacts:
    return PlanFacts(
        status=plan.status,
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


def _instance(instance: _Instance) -> InstanceFacts:
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


def _level(level: _Level) -> ObjectiveLevel:
    # Without a bound nothing is proven: the trivial one of each sense.
    bound = level.bound
    if bound is None or not math.isfinite(bound):
        bound = 1.0 if level.sense == "max" else 0.0
    return ObjectiveLevel(
        level=level.level,
        sense=level.sense,
        value=level.value,
        bound=bound,
        gap=level.gap if level.gap is not None else 1.0,
    )
