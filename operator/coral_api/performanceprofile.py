"""PerformanceProfile: measured points of one deployment, which outrank the predictions."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from coral_api.base import (
    ApiModel,
    Boolean,
    CelRule,
    CrdInfo,
    GpuTypeName,
    Integer,
    KubernetesResource,
    Number,
    PrinterColumn,
    Text,
)
from coral_api.conditions import Conditions, ResourceStatus
from coral_solver.domain.hardware import Precision

MAX_POINTS = 256
"""Most points of one profile: a sweep over rates and lengths has some ten."""


class MeasuredPointSpec(ApiModel):
    """One benchmark run: its load, and what it measured."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.allAtOnce ? !has(self.concurrency) && !has(self.requestsPerSecond)"
            " : has(self.concurrency) || has(self.requestsPerSecond)",
            "the load is concurrency, requestsPerSecond or both, or else allAtOnce: true",
        ),
        CelRule(
            "has(self.ttftMilliseconds) || has(self.tpotMilliseconds)"
            " || has(self.outputTokensPerSecond)",
            "give ttftMilliseconds, tpotMilliseconds or outputTokensPerSecond",
        ),
    )

    input_tokens: Number = Field(
        gt=0.0, le=10_000_000.0, description="Mean input tokens of a request."
    )
    output_tokens: Number = Field(
        gt=0.0, le=10_000_000.0, description="Mean output tokens of a request."
    )
    concurrency: Integer | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Clients that each send the next request when the last one is answered.",
    )
    requests_per_second: Number | None = Field(
        None, gt=0.0, le=1_000_000.0, description="Rate of arrivals, where the run had one."
    )
    all_at_once: Boolean = Field(False, description="All requests were sent at once.")
    requests: Integer | None = Field(
        None, ge=1, le=1_000_000_000, description="Requests of the run that were answered."
    )
    ttft_milliseconds: Number | None = Field(
        None, gt=0.0, le=3_600_000.0, description="Mean time to the first token."
    )
    tpot_milliseconds: Number | None = Field(
        None, gt=0.0, le=3_600_000.0, description="Mean time per output token after the first."
    )
    output_tokens_per_second: Number | None = Field(
        None,
        gt=0.0,
        le=1_000_000_000.0,
        description="Output tokens per second of the whole deployment.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        has_load = self.concurrency is not None or self.requests_per_second is not None
        if self.all_at_once == has_load:
            raise ValueError(self.cel_rules[0].message)
        measured = (self.ttft_milliseconds, self.tpot_milliseconds, self.output_tokens_per_second)
        if measured == (None, None, None):
            raise ValueError(self.cel_rules[1].message)
        return self


class PerformanceProfileSpec(ApiModel):
    """What was measured."""

    model: str = Field(
        min_length=1,
        max_length=253,
        description="Model: a name of the catalogue or a hub id, for example Qwen/Qwen3-32B.",
    )
    precision: Precision | None = Field(
        None, description="Format in which the weights were served; absent: as published."
    )
    gpu_type: GpuTypeName = Field(description="GPU type of the catalogue, for example H100-80GB.")
    tensor_parallel: Integer = Field(1, ge=1, le=64, description="Tensor-parallel size.")
    pipeline_parallel: Integer = Field(1, ge=1, le=64, description="Pipeline-parallel size.")
    source: Text = Field(
        "", description="Where the figures come from: tool, file, date, engine version."
    )
    points: tuple[MeasuredPointSpec, ...] = Field(
        min_length=1, max_length=MAX_POINTS, description="Measured points."
    )


class PerformanceProfileStatus(ResourceStatus):
    """Whether the profile is used."""

    conditions: Conditions = Field((), description="InputsReady.")
    points: Integer = Field(0, description="Points that are used.")
    models: Integer = Field(0, description="Models of services whose predictions it corrects.")


class PerformanceProfile(KubernetesResource):
    """Measured points of one deployment, which outrank the performance model; optional."""

    crd: ClassVar[CrdInfo] = CrdInfo(
        kind="PerformanceProfile",
        plural="performanceprofiles",
        singular="performanceprofile",
        short_names=("perfprofile",),
        scope="Cluster",
        columns=(
            PrinterColumn("Model", "string", ".spec.model", "Model that was measured"),
            PrinterColumn("GPU", "string", ".spec.gpuType", "GPU type"),
            PrinterColumn("TP", "integer", ".spec.tensorParallel", "Tensor-parallel size"),
            PrinterColumn("PP", "integer", ".spec.pipelineParallel", "Pipeline-parallel size"),
            PrinterColumn("Points", "integer", ".status.points", "Points that are used"),
            PrinterColumn("Models", "integer", ".status.models", "Models that it corrects"),
            PrinterColumn(
                "Used",
                "string",
                '.status.conditions[?(@.type=="InputsReady")].status',
                "Whether the profile is used",
            ),
            PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation"),
            PrinterColumn("Source", "string", ".spec.source", "Where the figures come from", 1),
        ),
    )

    kind: Literal["PerformanceProfile"] = Field(
        "PerformanceProfile", description="Kind of the object; always PerformanceProfile."
    )
    spec: PerformanceProfileSpec = Field(description="What was measured.")
    status: PerformanceProfileStatus = Field(
        default_factory=PerformanceProfileStatus, description="Whether the profile is used."
    )
