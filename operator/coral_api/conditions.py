"""Condition types, every reason that Coral reports, and how a condition is set."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from coral_api.base import ApiModel, Integer, Text

ReasonText = Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$", max_length=128)]
"""One CamelCase word."""


class ConditionType(StrEnum):
    """What a condition is about; listed in the order in which it is reported."""

    INPUTS_READY = "InputsReady"
    PLANNED = "Planned"
    APPLIED = "Applied"
    READY = "Ready"
    DEGRADED = "Degraded"

    @property
    def description(self) -> str:
        """What it says when its status is ``True``."""
        return _TYPE_TEXT[self]


_TYPE_TEXT = {
    ConditionType.INPUTS_READY: "Everything that a plan needs is known, valid and fresh.",
    ConditionType.PLANNED: "The current generation of the spec is part of the plan in force.",
    ConditionType.APPLIED: "The children in the cluster are those of the plan in force.",
    ConditionType.READY: "The running instances carry the whole demand.",
    ConditionType.DEGRADED: "Something is short or broken; the reason says what.",
}


class ConditionStatus(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition, an event, a model or a node is as it is.

    Each member has a ``description``: one line for the reference page.
    """

    description: str

    def __new__(cls, value: str, description: str = "") -> Reason:
        """Build a member from its text and its description."""
        # The default is for type checkers: Reason("Served") looks a member up.
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    # Inputs.
    INPUTS_READY = "InputsReady", "Every input is valid and fresh."
    INVALID_SPEC = "InvalidSpec", "The manifest does not validate; the message names each field."
    INVALID_INPUT = "InvalidInput", "A value cannot mean anything; the message names each one."
    INVALID_POLICY = "InvalidPolicy", "The PlanningPolicy does not validate; defaults are used."
    INVALID_POOL = "InvalidPool", "A GPUPool does not validate or cannot mean anything."
    INVALID_PROFILE = (
        "InvalidProfile",
        "A PerformanceProfile does not validate or cannot mean anything; it is not used.",
    )
    CONTRADICTORY_PROFILE = (
        "ContradictoryProfile",
        "Measured points cannot be true together; none of their PerformanceProfiles is used.",
    )
    UNKNOWN_NAME = "UnknownName", "A name that the catalogues do not know; near names are given."
    UNKNOWN_MODEL = "UnknownModel", "No catalogue entry for the model; set catalogModel."
    UNSUPPORTED_MODEL = "UnsupportedModel", "The architecture is one that Coral cannot represent."
    UNKNOWN_GPU_TYPE = "UnknownGpuType", "A GPU type that is not in the catalogue is named."
    UNKNOWN_REGION = "UnknownRegion", "A region without prices is named; near names are given."
    UNSUPPORTED_PRECISION = (
        "UnsupportedPrecision",
        "The engine cannot serve the published weights in the precision asked for.",
    )
    CONTEXT_TOO_LONG = "ContextTooLong", "Requests are longer than the model's context window."
    SOME_MODELS_INVALID = (
        "SomeModelsInvalid",
        "Some models of the service cannot be planned; the others are.",
    )
    INVALID_CATALOG = "InvalidCatalog", "Coral's own package data is broken; reinstall it."
    NO_GPU_NODES = "NoGpuNodes", "The cluster has no GPU node that Coral may use."
    STALE_INPUT = "StaleInput", "An input is older than its limit; the last plan stays."
    API_UNAVAILABLE = "ApiUnavailable", "The API server cannot be read; the last plan stays."

    # Nodes that may not be used, and oddities of those that may.
    NODE_REFUSED = "NodeRefused", "A GPU node may not be used; the message says why."
    CORDONED = "Cordoned", "The node is cordoned."
    NOT_READY = "NotReady", "The node's Ready condition is not True."
    TAINT_NOT_TOLERATED = (
        "TaintNotTolerated",
        "The node has a taint that no GPUPool lists under toleratedTaintKeys.",
    )
    MIG_ENABLED = "MigEnabled", "The node's GPUs are cut by MIG."
    TIME_SLICED = "TimeSliced", "The node's GPUs are shared by time-slicing."
    MIXED_GPUS = "MixedGpus", "The node has GPUs of more than one type."
    UNKNOWN_GPU_LABEL = "UnknownGpuLabel", "The node's labels do not say a GPU type that is known."
    UNKNOWN_LINK = "UnknownLink", "The link between the node's GPUs is not one that is known."
    NO_ALLOCATABLE_GPUS = "NoAllocatableGpus", "The node has GPU labels and no GPU to allocate."
    INVALID_MANIFEST = "InvalidManifest", "A field of the node or pod is not what Kubernetes has."
    NO_PRICE = "NoPrice", "The pool has no price; give one in a GPUPool."
    SEVERAL_POOLS = "SeveralPools", "More than one GPUPool speaks about the same nodes."
    SEVERAL_PRICES = "SeveralPrices", "Nodes of one pool have different prices."
    LABELS_DISAGREE = "LabelsDisagree", "Labels of a node say different things."
    FEWER_GPUS_THAN_CLAIMED = (
        "FewerGpusThanClaimed",
        "The node has fewer GPUs to allocate than its labels claim.",
    )

    # Planning.
    PLANNED = "Planned", "The plan in force was made from the current spec."
    PLANNING = "Planning", "A plan for the current spec is being made or waits for its turn."
    PAUSED = "Paused", "spec.paused is set: nothing is planned anew or changed."
    PLAN_CHANGED = "PlanChanged", "A new plan is in force; the message has the difference."
    PLAN_TIMED_OUT = "PlanTimedOut", "Planning did not end within its limit; the last plan stays."
    WORKER_CRASHED = "WorkerCrashed", "The planning process died; a new one is started."
    MIXED_TENSOR_PARALLEL = (
        "MixedTensorParallel",
        "A placement has stages of different tensor parallelism, which the engine cannot run.",
    )
    SOLVER_FAILED = "SolverFailed", "The solver crashed or gave no solution; the last plan stays."
    PLAN_REJECTED = "PlanRejected", "The independent check refused the plan; the last plan stays."
    INTERNAL_ERROR = "InternalError", "A fault in Coral; the operator's log has the details."
    CRDS_MISSING = "CrdsMissing", "The API server does not serve Coral's kinds; apply crds/."
    LOOP_STUCK = "LoopStuck", "The operator's loop has not ended a step in time; it is restarted."
    LEASE_LOST = "LeaseLost", "Another operator holds the Lease; this one stops."

    # What set off a plan.
    FIRST_PLAN = "FirstPlan", "No plan existed."
    SPEC_CHANGED = "SpecChanged", "A service, the policy, a pool or a profile was changed."
    CAPACITY_CHANGED = "CapacityChanged", "Nodes or free GPUs changed."
    SERVICE_REMOVED = "ServiceRemoved", "A service was deleted."

    # Carrying it out.
    APPLIED = "Applied", "The children in the cluster are those of the plan."
    APPLYING = "Applying", "Children are being created or removed."
    SHADOW_MODE = "ShadowMode", "spec.mode is Shadow: the plan is shown and not carried out."
    APPLY_FAILED = "ApplyFailed", "The API server refused a child; the message quotes it."
    APPLY_CONFLICT = "ApplyConflict", "An object with a child's name belongs to someone else."
    QUOTA_EXCEEDED = "QuotaExceeded", "The namespace's quota does not allow the planned pods."
    DELETING = "Deleting", "The service is being deleted; its instances drain."

    # Running.
    ALL_READY = "AllReady", "The ready instances carry the whole demand."
    STARTING = "Starting", "Instances are starting."
    INSTANCES_PENDING = "InstancesPending", "Pods wait for their node longer than expected."
    INSTANCES_FAILING = "InstancesFailing", "Pods fail or restart again and again."
    AS_EXPECTED = "AsExpected", "Nothing is short or broken."
    UNMET_DEMAND = "UnmetDemand", "The plan serves less than the demand; the message says where."

    # One model in the plan.
    SERVED = "Served", "The plan carries the model's whole demand."
    NO_DEMAND = "NoDemand", "The model's demand is 0."
    NO_TEMPLATE = "NoTemplate", "No placement on the GPUs on offer meets the model's targets."
    CAPACITY_SHORT = "CapacityShort", "GPUs are short: a part of the demand is not served."


_ORDER = {kind: index for index, kind in enumerate(ConditionType)}


class Condition(ApiModel):
    """One condition of a resource, as Kubernetes conventions have it."""

    model_config = ConfigDict(extra="ignore")

    type: ConditionType = Field(description="What the condition is about.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: Integer | None = Field(
        None, ge=0, description="Generation of the spec that the condition speaks about."
    )
    last_transition_time: datetime = Field(
        description="When the status last changed; other changes do not move it."
    )
    # Text, not Reason: a condition that a newer version wrote must still be readable.
    reason: ReasonText = Field(
        description="One word; every one is explained in docs/reference/conditions.md."
    )
    message: Text = Field("", description="One sentence for people; says what to change.")


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]
"""Conditions of one resource, each type once."""


class ResourceStatus(ApiModel):
    """What every status has; a kind says which conditions it reports."""

    # A key that a newer version wrote must not make the object unreadable.
    model_config = ConfigDict(extra="ignore")

    observed_generation: Integer | None = Field(
        None, description="Generation of the spec that this status speaks about."
    )
    conditions: Conditions = Field((), description="Conditions of the resource.")


def set_condition(
    conditions: tuple[Condition, ...],
    kind: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: str,
    *,
    now: datetime,
    observed_generation: int | None = None,
) -> tuple[Condition, ...]:
    """Return the conditions with one set; the given ones are not changed.

    Parameters
    ----------
    conditions
        Conditions so far.
    kind, status, reason, message
        The condition to set.
    now
        Time of the transition, if it is one; cut to whole seconds, as Kubernetes stores them.
    observed_generation
        Generation of the spec that the condition speaks about.

    Returns
    -------
    tuple of Condition
        In the order of ``ConditionType``. ``last_transition_time`` moves only where the status
        differs from the one before, so that setting the same thing twice changes nothing.
    """
    before = next((c for c in conditions if c.type is kind), None)
    moved = before is None or before.status is not status
    new = Condition(
        type=kind,
        status=status,
        observed_generation=observed_generation,
        last_transition_time=now.replace(microsecond=0)
        if before is None or moved
        else before.last_transition_time,
        reason=reason,
        message=message,
    )
    rest = [c for c in conditions if c.type is not kind]
    return tuple(sorted([*rest, new], key=lambda c: _ORDER[c.type]))


def condition(conditions: tuple[Condition, ...], kind: ConditionType) -> Condition | None:
    """Return the condition of a type, or None."""
    return next((c for c in conditions if c.type is kind), None)
