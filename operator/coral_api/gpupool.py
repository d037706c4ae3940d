"""GPUPool: what node labels do not say about some GPU nodes."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from coral_api.base import (
    ApiModel,
    CelRule,
    CrdInfo,
    GpuTypeName,
    Integer,
    KubernetesResource,
    LabelKey,
    LabelValue,
    Number,
    PrinterColumn,
    Text,
)
from coral_api.conditions import Conditions, ReasonText, ResourceStatus
from coral_solver.domain.hardware import CapacityKind, Link, PoolScaling

MAX_NODES = 10_000
"""Most nodes of one pool."""


class ScalingSpec(ApiModel):
    """Whether the pool can open nodes."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "(self.type == 'Elastic') == has(self.maxNodes)",
            "maxNodes must be given for Elastic, and only for it",
        ),
    )

    type: PoolScaling = Field(
        PoolScaling.FIXED,
        description="Fixed: only the nodes that exist. Elastic: the cluster autoscaler opens"
        " further ones for pending pods; whole nodes are then paid.",
    )
    max_nodes: Integer | None = Field(
        None,
        ge=1,
        le=MAX_NODES,
        description="Ceiling on the nodes of an Elastic pool, those that exist included.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.type is PoolScaling.ELASTIC) != (self.max_nodes is not None):
            raise ValueError(self.cel_rules[0].message)
        return self


class PricingSpec(ApiModel):
    """Price of a whole node by how it is bought; absent: from the price catalogue."""

    on_demand_usd_per_hour: Number | None = Field(
        None, ge=0.0, le=100_000.0, description="Price of an on-demand node, in USD per hour."
    )
    spot_usd_per_hour: Number | None = Field(
        None, ge=0.0, le=100_000.0, description="Price of a spot node, in USD per hour."
    )
    reserved_usd_per_hour: Number | None = Field(
        None, ge=0.0, le=100_000.0, description="Price of a reserved node, in USD per hour."
    )

    def of(self, kind: CapacityKind) -> float | None:
        """Return the price of a node of a capacity kind, or None."""
        return {
            CapacityKind.ON_DEMAND: self.on_demand_usd_per_hour,
            CapacityKind.SPOT: self.spot_usd_per_hour,
            CapacityKind.RESERVED: self.reserved_usd_per_hour,
        }[kind]


class NodeSelector(ApiModel):
    """Selects nodes by labels that must be equal."""

    match_labels: dict[LabelKey, LabelValue] = Field(
        min_length=1, max_length=16, description="Labels that a node of the pool has."
    )


class GPUPoolSpec(ApiModel):
    """Which nodes are meant, and what is known of them."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.scaling.type != 'Elastic' || has(self.gpuType) && has(self.gpusPerNode)"
            " && has(self.region)",
            "an Elastic pool needs gpuType, gpusPerNode and region: it may have no node yet",
        ),
    )

    node_selector: NodeSelector = Field(description="Selects the nodes of the pool.")
    gpu_type: GpuTypeName | None = Field(
        None,
        description="GPU type of the catalogue, for example L4; absent: from the node's labels.",
    )
    gpus_per_node: Integer | None = Field(
        None, ge=1, le=64, description="GPUs of one node; absent: from the node's capacity."
    )
    link: Link | None = Field(
        None, description="Link between a node's GPUs; absent: the usual one of the GPU type."
    )
    region: LabelValue | None = Field(
        None, min_length=1, description="Region; absent: from topology.kubernetes.io/region."
    )
    capacity_kind: CapacityKind | None = Field(
        None, description="How the nodes are bought; absent: from the node's labels."
    )
    scaling: ScalingSpec = Field(
        default_factory=ScalingSpec, description="Whether the pool can open nodes."
    )
    pricing: PricingSpec = Field(default_factory=PricingSpec, description="Prices per whole node.")
    start_time_seconds: Number | None = Field(
        None,
        ge=0.0,
        le=86_400.0,
        description="Time from asking for an instance until it serves, charged when one starts;"
        " absent: 300.",
    )
    site_factor: Number = Field(
        1.0,
        ge=0.05,
        le=2.0,
        description="Measured over predicted speed on these nodes; 1 means as predicted.",
    )
    tolerated_taint_keys: tuple[LabelKey, ...] = Field(
        (),
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Taints that do not keep Coral off these nodes; its pods tolerate them.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scaling.type is PoolScaling.ELASTIC and None in (
            self.gpu_type,
            self.gpus_per_node,
            self.region,
        ):
            raise ValueError(self.cel_rules[0].message)
        if len(set(self.tolerated_taint_keys)) != len(self.tolerated_taint_keys):
            raise ValueError("toleratedTaintKeys: a key is given twice")
        return self


class RefusedNodeStatus(ApiModel):
    """A node of the pool that cannot be used, and why."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=253, description="Name of the node.")
    reason: ReasonText = Field(description="One word, for example Cordoned.")
    message: Text = Field("", description="One sentence; says what to change.")


class GPUPoolStatus(ResourceStatus):
    """What the operator found."""

    conditions: Conditions = Field((), description="InputsReady and Degraded.")
    nodes: Integer = Field(0, description="Usable nodes.")
    free_gpus: Integer = Field(0, description="GPUs that Coral may use.")
    refused_nodes: tuple[RefusedNodeStatus, ...] = Field(
        (), max_length=100, description="Nodes that cannot be used; the first hundred by name."
    )


class GPUPool(KubernetesResource):
    """Price, scaling and further facts about some GPU nodes; optional."""

    crd: ClassVar[CrdInfo] = CrdInfo(
        kind="GPUPool",
        plural="gpupools",
        singular="gpupool",
        short_names=("gpool",),
        scope="Cluster",
        columns=(
            PrinterColumn("GPU", "string", ".spec.gpuType", "GPU type, where it is set"),
            PrinterColumn("Region", "string", ".spec.region", "Region, where it is set"),
            PrinterColumn("Scaling", "string", ".spec.scaling.type", "Fixed or Elastic"),
            PrinterColumn("Nodes", "integer", ".status.nodes", "Usable nodes"),
            PrinterColumn("Free", "integer", ".status.freeGpus", "GPUs that Coral may use"),
            PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation"),
            PrinterColumn(
                "On-demand",
                "number",
                ".spec.pricing.onDemandUsdPerHour",
                "Price of an on-demand node in USD per hour",
                1,
            ),
            PrinterColumn(
                "Spot",
                "number",
                ".spec.pricing.spotUsdPerHour",
                "Price of a spot node in USD per hour",
                1,
            ),
        ),
    )

    kind: Literal["GPUPool"] = Field("GPUPool", description="Kind of the object; always GPUPool.")
    spec: GPUPoolSpec = Field(description="Which nodes are meant, and what is known of them.")
    status: GPUPoolStatus = Field(
        default_factory=GPUPoolStatus, description="What the operator found."
    )
