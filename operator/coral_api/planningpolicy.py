"""PlanningPolicy: what concerns the models of all services together."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from coral_api.base import (
    ApiModel,
    CelRule,
    CrdInfo,
    DnsLabel,
    Integer,
    KubernetesResource,
    Number,
    PrinterColumn,
)
from coral_solver.domain.plan import ScarcityPolicy

POLICY_NAME = "default"
"""The one name that a PlanningPolicy may have."""


class PriorityCeiling(ApiModel):
    """The highest priority that services of one namespace may claim."""

    namespace: DnsLabel = Field(description="The namespace.")
    maximum: Integer = Field(ge=0, le=1000, description="A model's larger priority is cut to this.")


class PlanningPolicySpec(ApiModel):
    """How to plan."""

    scarcity: ScarcityPolicy = Field(
        ScarcityPolicy.PROPORTIONAL,
        description="Who is served when GPUs are short. Proportional: every model the same share"
        " of its demand, as far as possible. Priority: class by class.",
    )
    payback_horizon_seconds: Number = Field(
        3600.0,
        ge=60.0,
        le=2_592_000.0,
        description="Time over which the one-off cost of starting an instance is spread: the"
        " longer, the more readily a cheaper plan replaces the one in force.",
    )
    robustness: Number = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Margin against wrong predictions. 0: plan with the predictions. 1: plan with"
        " the lower end of their error bars. In between: with that share of the bar.",
    )
    budget_usd_per_hour: Number | None = Field(
        None,
        ge=0.0,
        le=1e9,
        description="Most rent of all instances of Active services together; the same for Shadow"
        " services. If not everything can be served for it, as much demand as possible is, each"
        " model's requests weighted by 1 + its priority; scarcity has no say then.",
    )
    minimum_interval_seconds: Number = Field(
        30.0,
        ge=0.0,
        le=86_400.0,
        description="Least time between two plans; a change of a spec does not wait for it.",
    )
    solve_time_limit_seconds: Number = Field(
        20.0,
        ge=1.0,
        le=600.0,
        description="Bound on the time of one solve; the best plan found by then is taken.",
    )
    priority_ceilings: tuple[PriorityCeiling, ...] = Field(
        (),
        max_length=256,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["namespace"],
        },
        description="Ceilings on the priority that a namespace's services may claim.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [ceiling.namespace for ceiling in self.priority_ceilings]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"priorityCeilings: duplicate namespaces: {', '.join(twice)}")
        return self

    def priority_of(self, namespace: str, priority: int) -> int:
        """Return a priority that a namespace claims, cut to its ceiling."""
        return min(
            [priority, *(c.maximum for c in self.priority_ceilings if c.namespace == namespace)]
        )


class PlanningPolicy(KubernetesResource):
    """How to plan for the whole cluster; optional, one, named ``default``."""

    crd: ClassVar[CrdInfo] = CrdInfo(
        kind="PlanningPolicy",
        plural="planningpolicies",
        singular="planningpolicy",
        short_names=("planpol",),
        scope="Cluster",
        columns=(
            PrinterColumn("Scarcity", "string", ".spec.scarcity", "Who is served when short"),
            PrinterColumn(
                "Payback", "number", ".spec.paybackHorizonSeconds", "Payback horizon in seconds"
            ),
            PrinterColumn("Robustness", "number", ".spec.robustness", "Margin, 0 to 1"),
            PrinterColumn(
                "Interval",
                "number",
                ".spec.minimumIntervalSeconds",
                "Least seconds between two plans",
            ),
            PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation"),
        ),
    )
    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            f"self.metadata.name == '{POLICY_NAME}'",
            f"metadata.name must be {POLICY_NAME}: there is one policy for the cluster",
        ),
    )

    kind: Literal["PlanningPolicy"] = Field(
        "PlanningPolicy", description="Kind of the object; always PlanningPolicy."
    )
    spec: PlanningPolicySpec = Field(default_factory=PlanningPolicySpec, description="How to plan.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.metadata.name != POLICY_NAME:
            raise ValueError(self.cel_rules[0].message)
        return self
