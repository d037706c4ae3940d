"""ServingPlan: the joint decision for all services, as the operator writes it down."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from coral_api.base import (
    ApiModel,
    CrdInfo,
    DnsLabel,
    DnsSubdomain,
    GpuTypeName,
    Integer,
    KubernetesResource,
    Number,
    PrinterColumn,
    Text,
)
from coral_api.conditions import Conditions, ReasonText, ResourceStatus
from coral_api.multillmservice import OperatingMode
from coral_solver.domain.hardware import CapacityKind, Link
from coral_solver.domain.plan import SolveStatus
from coral_solver.domain.workload import Phase

MAX_INSTANCES = 4096
"""Instances of one plan; a plan of that size has about 1 MB, and etcd takes 1.5 MB."""

Identifier = Annotated[str, Field(min_length=1, max_length=512)]
"""A name inside the plan: of an instance, a template, a pool, a model."""


class PlannedService(ApiModel):
    """A service that the plan was made from, exactly as it was."""

    namespace: DnsLabel = Field(description="Namespace of the service.")
    name: DnsSubdomain = Field(description="Name of the service.")
    uid: str = Field("", max_length=64, description="Identity of the service.")
    generation: Integer = Field(0, ge=0, description="Generation of its spec.")
    hash: str = Field("", max_length=64, description="Digest of its spec.")
    mode: OperatingMode = Field(description="Shadow or Active.")


class PlannedPool(ApiModel):
    """A GPU pool that instances of the plan lie in."""

    name: Identifier = Field(description="Name of the pool in this plan.")
    gpu: GpuTypeName = Field(description="GPU type.")
    gpus_per_node: Integer = Field(ge=1, description="GPUs of one node.")
    link: Link = Field(description="Link between the GPUs of a node.")
    region: str = Field(max_length=253, description="Region.")
    kind: CapacityKind = Field(description="How the nodes are bought.")


class PlannedConfig(ApiModel):
    """A node configuration: some GPUs of one type inside one node."""

    gpu: GpuTypeName = Field(description="GPU type.")
    gpu_count: Integer = Field(ge=1, description="Number of GPUs.")
    link: Link = Field(description="Link between the GPUs.")


class PlannedStage(ApiModel):
    """One pipeline stage of a template."""

    layers: Integer = Field(ge=1, description="Consecutive layers that the stage holds.")
    configs: tuple[PlannedConfig, ...] = Field(
        min_length=1, max_length=64, description="Node configurations that hold them."
    )


class PlannedEngine(ApiModel):
    """Settings that the engine runs with; the prediction assumes them."""

    tensor_parallel: Integer = Field(ge=1, description="Tensor parallelism.")
    pipeline_parallel: Integer = Field(ge=1, description="Pipeline parallelism.")
    layers_per_stage: tuple[Integer, ...] = Field(
        min_length=1, max_length=64, description="Layers of each stage, first to last."
    )
    max_model_len_tokens: Integer = Field(ge=1, description="Longest request.")
    max_num_seqs: Integer = Field(ge=1, description="Most requests that run at once.")
    max_num_batched_tokens: Integer = Field(ge=1, description="Token budget of one step.")
    gpu_memory_utilization: Number = Field(
        gt=0.0, le=1.0, description="Share of the GPU's memory that the engine may take."
    )


class PlannedPrediction(ApiModel):
    """What the performance model expects of an instance."""

    capacity_requests_per_second: Number = Field(description="Largest rate within the targets.")
    ttft_seconds: Number = Field(description="Time to the first token at that rate.")
    tpot_seconds: Number = Field(description="Time per output token at that rate.")
    batch_per_stage: Number = Field(description="Joint micro-batch of the stages.")
    source: str = Field(max_length=512, description="What the prediction rests on.")
    error_share: Number | None = Field(
        None, description="Half width of the error bar as a share; absent: unknown."
    )


class PlannedTemplate(ApiModel):
    """A serving template that instances of the plan run."""

    name: Identifier = Field(description="Name of the template in this plan.")
    model_id: Identifier = Field(description="namespace/service/model.")
    phase: Phase = Field(description="PREFILL, DECODE or WHOLE.")
    stages: tuple[PlannedStage, ...] = Field(
        min_length=1, max_length=64, description="Pipeline stages, first to last."
    )
    engine: PlannedEngine | None = Field(
        None, description="Engine settings; absent where no engine can run the placement."
    )
    prediction: PlannedPrediction = Field(description="Capacity and latencies.")
    made_for: str = Field(
        "",
        max_length=64,
        description=(
            "Digest of the model, targets and traffic that the prediction was made for; absent: "
            "not known."
        ),
    )


class PlannedSlice(ApiModel):
    """Where one node configuration of an instance runs."""

    pool: Identifier = Field(description="Name of the pool in this plan.")
    node: str | None = Field(
        None, max_length=253, description="Node; absent where one is to be opened."
    )


class PlannedInstance(ApiModel):
    """One running copy of a template."""

    name: Identifier = Field(description="Name; the Kubernetes children carry it.")
    template: Identifier = Field(description="Name of the template in this plan.")
    region: str = Field(max_length=253, description="Region of all slices.")
    slices: tuple[PlannedSlice, ...] = Field(
        min_length=1,
        max_length=64,
        description="One per node configuration, stage by stage in the template's order.",
    )
    usd_per_hour: Number = Field(description="Rent of the slices.")


class PlannedModel(ApiModel):
    """What the plan does for one model."""

    model_id: Identifier = Field(description="namespace/service/model.")
    demand_requests_per_second: Number = Field(description="Raw demand.")
    capacity_requests_per_second: Number = Field(description="What the instances carry.")
    unmet_requests_per_second: Number = Field(description="Raw demand not served.")
    usd_per_hour: Number = Field(description="Rent of the model's instances.")
    reason: ReasonText = Field(description="Served, NoDemand, NoTemplate or CapacityShort.")
    message: Text = Field("", description="One sentence; says what to change if anything.")


class PlannedObjective(ApiModel):
    """One level of the objective, as solved."""

    level: str = Field(max_length=128, description="Name of the level.")
    sense: Literal["min", "max"] = Field(description="min or max.")
    value: Number = Field(description="Value of the plan.")
    bound: Number | None = Field(
        None, description="No plan in the scope is better than this; absent: no bound known."
    )
    gap: Number | None = Field(None, description="Relative gap; absent: no bound known.")


class PlannedPeer(ApiModel):
    """Another way to plan the same input."""

    rent_usd_per_hour: Number = Field(ge=0.0, description="Rent of its instances.")
    unmet_requests_per_second: Number = Field(
        ge=0.0, description="Raw demand of all models that it does not serve."
    )
    least_served_share: Number = Field(
        ge=0.0, le=1.0, description="Smallest share of its demand that any model gets."
    )


class PlannedMargin(ApiModel):
    """What the margin of the policy costs."""

    robustness: Number = Field(
        gt=0.0, le=1.0, description="Share of the lower half of the error bars that is planned for."
    )
    without: PlannedPeer = Field(description="The plan for the same input without a margin.")


class PlanDiff(ApiModel):
    """What changes against the plan before."""

    previous_plan: DnsSubdomain | None = Field(
        None, description="The plan before; absent for the first one."
    )
    added: tuple[Identifier, ...] = Field(
        (), max_length=MAX_INSTANCES, description="Instances to start."
    )
    removed: tuple[Identifier, ...] = Field(
        (), max_length=MAX_INSTANCES, description="Instances to stop."
    )
    kept: tuple[Identifier, ...] = Field(
        (), max_length=MAX_INSTANCES, description="Instances that go on."
    )
    usd_per_hour_before: Number | None = Field(None, description="Rent of the plan before.")
    usd_per_hour_after: Number = Field(description="Rent of this plan.")


class PlanTrigger(ApiModel):
    """Why a plan was made."""

    reason: ReasonText = Field(description="One word, for example SpecChanged.")
    message: Text = Field("", description="One sentence.")


class ServingPlanSpec(ApiModel):
    """The joint decision."""

    trigger: PlanTrigger = Field(description="Why the plan was made.")
    services: tuple[PlannedService, ...] = Field(
        (), max_length=1024, description="Services that it was made from."
    )
    status: SolveStatus = Field(description="How the solve ended.")
    solve_seconds: Number = Field(description="Time of the allocation's solve.")
    rent_usd_per_hour: Number = Field(
        description="Rent of all instances; whole opened nodes in Elastic pools."
    )
    switching_usd_per_hour: Number = Field(
        description="Starting charge spread over the payback horizon."
    )
    objective: tuple[PlannedObjective, ...] = Field(
        (), max_length=64, description="Levels of the objective in the order of their solves."
    )
    bound_scope: Text = Field("", description="Which templates the bounds hold for.")
    outcomes: tuple[PlannedModel, ...] = Field(
        (), max_length=4096, description="What the plan does for each model."
    )
    pools: tuple[PlannedPool, ...] = Field(
        (), max_length=1024, description="Pools that instances lie in."
    )
    templates: tuple[PlannedTemplate, ...] = Field(
        (), max_length=MAX_INSTANCES, description="Templates that instances run."
    )
    instances: tuple[PlannedInstance, ...] = Field(
        (), max_length=MAX_INSTANCES, description="What runs, by name."
    )
    opened_nodes: dict[Identifier, Integer] = Field(
        default_factory=dict, max_length=1024, description="Paid nodes of Elastic pools by pool."
    )
    baselines: dict[Identifier, PlannedPeer] = Field(
        default_factory=dict,
        max_length=32,
        description="What other ways to plan would do with the same input, by name.",
    )
    margin: PlannedMargin | None = Field(
        None,
        description="What the plan would be without the policy's margin; absent without one.",
    )
    diff: PlanDiff = Field(description="What changes against the plan before.")


class ServingPlanStatus(ResourceStatus):
    """How far the plan is carried out."""

    conditions: Conditions = Field((), description="Applied and Ready.")
    ready_instances: Integer = Field(0, description="Instances that serve.")


class ServingPlan(KubernetesResource):
    """The joint decision for all services; written by the operator, not by people."""

    crd: ClassVar[CrdInfo] = CrdInfo(
        kind="ServingPlan",
        plural="servingplans",
        singular="servingplan",
        short_names=("splan",),
        scope="Cluster",
        columns=(
            PrinterColumn("Status", "string", ".spec.status", "How the solve ended"),
            PrinterColumn("USD/h", "number", ".spec.rentUsdPerHour", "Rent of all instances"),
            PrinterColumn("Ready", "integer", ".status.readyInstances", "Instances that serve"),
            PrinterColumn("Trigger", "string", ".spec.trigger.reason", "Why it was made"),
            PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation"),
            PrinterColumn(
                "Homogeneous",
                "number",
                ".spec.baselines.homogeneous.rentUsdPerHour",
                "Rent of the homogeneous baseline in USD per hour",
                1,
            ),
            PrinterColumn("Solve s", "number", ".spec.solveSeconds", "Time of the solve", 1),
        ),
    )

    kind: Literal["ServingPlan"] = Field(
        "ServingPlan", description="Kind of the object; always ServingPlan."
    )
    spec: ServingPlanSpec = Field(description="The joint decision.")
    status: ServingPlanStatus = Field(
        default_factory=ServingPlanStatus, description="How far it is carried out."
    )
