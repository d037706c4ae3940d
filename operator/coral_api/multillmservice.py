"""MultiLLMService: several models of one team, with their targets and their demand."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from coral_api.base import (
    ApiModel,
    Boolean,
    CelRule,
    CrdInfo,
    DnsLabel,
    DnsSubdomain,
    GpuTypeName,
    Integer,
    KubernetesResource,
    Number,
    ObjectMeta,
    PrinterColumn,
    Text,
)
from coral_api.conditions import Conditions, ReasonText, ResourceStatus
from coral_api.engine import EngineSpec, PodTemplate
from coral_api.selectors import LabelSelector
from coral_api.sources import ModelSource
from coral_solver.domain.hardware import Precision
from coral_solver.domain.workload import ServingMode

MAX_MODELS = 64
"""Models of one service; a bound keeps the cost of the CRD's rules small."""

MAX_REQUESTS_PER_SECOND = 1_000_000.0
"""No model is asked for more often; a larger demand is a slip of the pen."""

ServiceName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=61)]
"""Name of a service; a dash and the name of a model follow it in the name of a Service."""


class OperatingMode(StrEnum):
    """Whether a plan is carried out."""

    SHADOW = "Shadow"
    ACTIVE = "Active"


class SloSpec(ApiModel):
    """Latency targets of a model."""

    ttft_milliseconds: Number = Field(
        ge=1.0,
        le=600_000.0,
        description="Target for the time to the first token, queueing included.",
    )
    tpot_milliseconds: Number = Field(
        ge=1.0,
        le=60_000.0,
        description="Target for the time per output token after the first.",
    )
    attainment: Number = Field(
        0.95,
        ge=0.5,
        le=0.999,
        description="Share of the requests that must meet both targets.",
    )


class LengthQuantile(ApiModel):
    """One point of a length distribution."""

    q: Number = Field(ge=0.0, le=1.0, description="Quantile, for example 0.95.")
    tokens: Number = Field(
        ge=1.0, le=10_000_000.0, description="This share of the requests is at most so long."
    )


class LengthSpec(ApiModel):
    """Length of inputs or of outputs: a mean, or quantiles."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule("has(self.mean) != has(self.quantiles)", "give either mean or quantiles"),
        CelRule(
            "!has(self.quantiles) || self.quantiles.map(x, x.q).isSorted()"
            " && self.quantiles.all(x, self.quantiles.exists_one(y, y.q == x.q))",
            "quantiles must be ascending in q, each q once",
        ),
        CelRule(
            "!has(self.quantiles) || self.quantiles.map(x, x.tokens).isSorted()",
            "quantiles must not fall in tokens",
        ),
    )

    mean: Number | None = Field(
        None,
        ge=1.0,
        le=10_000_000.0,
        description="Mean length in tokens; a log-normal spread is assumed around it.",
    )
    quantiles: tuple[LengthQuantile, ...] | None = Field(
        None,
        min_length=2,
        max_length=32,
        description="Length by quantile, ascending; linear between them, constant outside.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        one, ascending, not_falling = (rule.message for rule in self.cel_rules)
        if (self.mean is None) == (self.quantiles is None):
            raise ValueError(one)
        points = self.quantiles or ()
        pairs = list(pairwise(points))
        if any(a.q >= b.q for a, b in pairs):
            raise ValueError(ascending)
        if any(a.tokens > b.tokens for a, b in pairs):
            raise ValueError(not_falling)
        return self


class WorkloadSpec(ApiModel):
    """What the requests of a model look like."""

    input_tokens: LengthSpec = Field(description="Length of the inputs, in tokens.")
    output_tokens: LengthSpec = Field(description="Length of the outputs, in tokens.")
    burstiness: Number = Field(
        1.0,
        ge=0.0,
        le=1000.0,
        description="Squared coefficient of variation of the times between arrivals: 1 is"
        " Poisson, 0 is evenly spaced, more is burstier.",
    )


class DemandSpec(ApiModel):
    """How much of a model is asked for."""

    requests_per_second: Number = Field(
        ge=0.0,
        le=MAX_REQUESTS_PER_SECOND,
        description="Mean rate to serve. 0 is legal: the model then gets minReplicas.",
    )
    headroom: Number = Field(
        0.0,
        ge=0.0,
        le=10.0,
        description="Share of the demand to plan on top of it, for example 0.2. It comes after"
        " every model's demand itself.",
    )


class GpuTypes(ApiModel):
    """Which GPU types a model may run on."""

    allow: tuple[GpuTypeName, ...] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="GPU types of the catalogue, for example L4; absent: every type.",
    )
    deny: tuple[GpuTypeName, ...] = Field(
        (), max_length=64, description="GPU types that the model must not run on."
    )


class ModelSpec(ApiModel):
    """One model of a service."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.source.huggingFace) || has(self.catalogModel)",
            "a source other than huggingFace needs catalogModel: the architecture is unknown",
        ),
    )

    name: DnsLabel = Field(
        description="Name of the model in this service; clients ask for it by this name."
    )
    source: ModelSource = Field(description="Where the weights come from.")
    catalog_model: str | None = Field(
        None,
        min_length=1,
        max_length=253,
        description="Entry of the model catalogue (a name such as qwen3-32b, or a hub id) whose"
        " architecture the weights have; needed where the source does not say it, for example"
        " for a fine-tuned model.",
    )
    revision: str | None = Field(
        None,
        min_length=1,
        max_length=253,
        description="Branch, tag or commit on the hub; absent: the default branch.",
    )
    precision: Precision | None = Field(
        None,
        description="Number format in which the weights are served; absent: as published.",
    )
    slo: SloSpec = Field(description="Latency targets.")
    workload: WorkloadSpec = Field(description="What the requests look like.")
    demand: DemandSpec = Field(description="How much is asked for.")
    priority: Integer = Field(
        0,
        ge=0,
        le=1000,
        description="Higher is served first under the Priority scarcity policy; without effect"
        " under Proportional, the default. The PlanningPolicy may set a ceiling per namespace.",
    )
    min_replicas: Integer = Field(
        0,
        ge=0,
        le=1000,
        description="Instances wanted even without demand. Soft, like headroom.",
    )
    serving: ServingMode = Field(
        ServingMode.AGGREGATED,
        description="Aggregated: prefill and decode in one engine. Disaggregated: in separate"
        " ones. Auto: whatever is cheaper, a mix included.",
    )
    max_model_len_tokens: Integer | None = Field(
        None,
        ge=16,
        le=10_000_000,
        description="Longest request to accept, input plus output; absent: from the workload.",
    )
    gpu_types: GpuTypes = Field(
        default_factory=GpuTypes, description="Which GPU types may be used."
    )
    engine: EngineSpec = Field(default_factory=EngineSpec, description="The engine's image.")
    pod_template: PodTemplate = Field(
        default_factory=PodTemplate, description="What the model's pods get besides the engine."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source.hugging_face is None and self.catalog_model is None:
            raise ValueError(self.cel_rules[0].message)
        return self


class MultiLLMServiceSpec(ApiModel):
    """What a team wants to have served."""

    mode: OperatingMode = Field(
        OperatingMode.SHADOW,
        description="Shadow: only show the plan. Active: carry it out. Shadow services never"
        " take GPUs from Active ones.",
    )
    paused: Boolean = Field(
        False, description="Keep what runs as it is: no new plan is made or carried out."
    )
    replaces: LabelSelector | None = Field(
        None,
        description="Pods of today's deployments in the same namespace that Coral would replace:"
        " a plan in Shadow mode counts their GPUs as free and shows their cost.",
    )
    models: tuple[ModelSpec, ...] = Field(
        min_length=1,
        max_length=MAX_MODELS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The models to serve.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [model.name for model in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"models: duplicate names: {', '.join(twice)}")
        return self


class ModelStatus(ApiModel):
    """How one model is planned and running."""

    model_config = ConfigDict(extra="ignore")

    name: DnsLabel = Field(description="Name of the model.")
    demand_requests_per_second: Number = Field(0.0, description="Demand that was planned for.")
    planned_requests_per_second: Number = Field(0.0, description="Capacity in the plan.")
    ready_requests_per_second: Number = Field(0.0, description="Capacity of ready instances.")
    unmet_requests_per_second: Number = Field(
        0.0, description="Demand that the plan does not serve."
    )
    instances: Integer = Field(0, description="Instances in the plan.")
    ready_instances: Integer = Field(0, description="Instances that serve.")
    usd_per_hour: Number = Field(0.0, description="Rent of the model's instances.")
    reason: ReasonText | None = Field(None, description="One word on the model's plan.")
    message: Text = Field("", description="One sentence; says what to change if anything.")


class MultiLLMServiceStatus(ResourceStatus):
    """What the operator reports."""

    conditions: Conditions = Field(
        (), description="InputsReady, Planned, Applied, Ready, Degraded."
    )
    plan_ref: DnsSubdomain | None = Field(
        None, description="Name of the ServingPlan that the service is part of."
    )
    models: tuple[ModelStatus, ...] = Field(
        (),
        max_length=MAX_MODELS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Each model's plan and state.",
    )
    instances: Integer = Field(0, description="Instances in the plan, all models.")
    ready_instances: Integer = Field(0, description="Instances that serve, all models.")
    usd_per_hour: Number = Field(0.0, description="Rent of all instances of the service.")
    replaced_usd_per_hour: Number | None = Field(
        None, description="What the pods selected by replaces cost today."
    )


class ServiceMeta(ObjectMeta):
    """Metadata of a MultiLLMService; the name begins the names of Kubernetes Services."""

    name: ServiceName = Field(
        description="Name of the service: lower-case letters, digits and dashes, a letter first."
    )


class MultiLLMService(KubernetesResource):
    """Several models of one team, planned together with all others of the cluster."""

    crd: ClassVar[CrdInfo] = CrdInfo(
        kind="MultiLLMService",
        plural="multillmservices",
        singular="multillmservice",
        short_names=("mls",),
        scope="Namespaced",
        columns=(
            PrinterColumn("Mode", "string", ".spec.mode", "Shadow or Active"),
            PrinterColumn(
                "Planned",
                "string",
                '.status.conditions[?(@.type=="Planned")].status',
                "Whether the plan in force knows the current spec",
            ),
            PrinterColumn(
                "Ready",
                "string",
                '.status.conditions[?(@.type=="Ready")].status',
                "Whether the running instances carry the demand",
            ),
            PrinterColumn("Instances", "integer", ".status.instances", "Instances in the plan"),
            PrinterColumn("Serving", "integer", ".status.readyInstances", "Instances that serve"),
            PrinterColumn("USD/h", "number", ".status.usdPerHour", "Rent of all instances"),
            PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation"),
            PrinterColumn("Plan", "string", ".status.planRef", "The ServingPlan in force", 1),
            PrinterColumn(
                "Replaced USD/h",
                "number",
                ".status.replacedUsdPerHour",
                "Cost of today's deployments that it would replace",
                1,
            ),
        ),
    )
    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.spec.models.all(m, size(self.metadata.name) + size(m.name) < 63)",
            "the names of the service and of each model, joined by a dash, must have 63"
            " characters at most: they name a Kubernetes Service",
        ),
    )

    kind: Literal["MultiLLMService"] = Field(
        "MultiLLMService", description="Kind of the object; always MultiLLMService."
    )
    metadata: ServiceMeta = Field(description="Standard object metadata.")
    spec: MultiLLMServiceSpec = Field(description="What is wanted.")
    status: MultiLLMServiceStatus = Field(
        default_factory=MultiLLMServiceStatus, description="What the operator reports."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        name = self.metadata.name
        if any(len(name) + len(model.name) >= 63 for model in self.spec.models):
            raise ValueError(self.cel_rules[0].message)
        return self

    @property
    def namespace(self) -> str:
        """Namespace of the service; ``default`` where a file does not say."""
        return self.metadata.namespace or "default"
