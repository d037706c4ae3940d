"""Find out how far each planned instance is: from its Deployments, and its pods' complaints."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from coral_api.conditions import Reason
from coral_api.convert import ModelRef
from coral_operator.children import labels
from coral_operator.children.names import deployment_name, instance_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coral_operator.kube.client import Manifest
    from coral_solver.domain.plan import ServingInstance

PENDING_LIMIT = timedelta(seconds=60)
"""A pod that no node takes for longer is reported: the plan chose its node because it was free."""

_FAILURES = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons of waiting containers that do not pass by themselves (kubelet, container states)."""


class InstanceState(IntEnum):
    """How far an instance is; worse last."""

    READY = 0
    STARTING = 1
    PENDING = 2
    FAILING = 3


class InstanceReport(NamedTuple):
    """How far an instance is, and what keeps it from being further."""

    state: InstanceState
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChildren:
    """Deployments and pods of ours, arranged to be found.

    Attributes
    ----------
    deployments
        By namespace and name.
    pods
        By namespace and instance label.
    """

    deployments: Mapping[tuple[str, str], Manifest] = field(default_factory=dict)
    pods: Mapping[tuple[str, str], Sequence[Manifest]] = field(default_factory=dict)

    @classmethod
    def arrange(cls, deployments: Iterable[Manifest], pods: Iterable[Manifest]) -> LiveChildren:
        """Arrange what the watches have."""
        by_instance: dict[tuple[str, str], list[Manifest]] = {}
        for pod in pods:
            label = (pod["metadata"].get("labels") or {}).get(labels.INSTANCE)
            if label is not None:
                by_instance.setdefault((pod["metadata"]["namespace"], label), []).append(pod)
        return cls(
            deployments={
                (d["metadata"]["namespace"], d["metadata"]["name"]): d for d in deployments
            },
            pods=by_instance,
        )


def instance_report(
    instance: ServingInstance, live: LiveChildren, *, now: datetime
) -> InstanceReport:
    """Return how far an instance is; its worst stage counts."""
    namespace = ModelRef.parse(instance.template.model_id).namespace
    stages = [
        _stage_report(live.deployments.get((namespace, deployment_name(instance.name, stage))))
        for stage in range(len(instance.template.stages))
    ]
    worst = max(stages)
    if worst.state is InstanceState.READY:
        return worst
    complaints = [
        report
        for pod in live.pods.get((namespace, instance_label(instance.name)), ())
        if (report := _pod_report(pod, now)) is not None
    ]
    return max([worst, *complaints], key=lambda report: report.state)


def _stage_report(deployment: Manifest | None) -> InstanceReport:
    if deployment is None:
        return InstanceReport(InstanceState.STARTING, Reason.STARTING)
    metadata, status = deployment["metadata"], deployment["status"]
    for condition in status["conditions"]:
        if condition["status"] == "True":
            message = str(condition.get("message", ""))
            is_quota = "exceeded quota" in message
            reason = Reason.QUOTA_EXCEEDED if is_quota else Reason.INSTANCES_FAILING
            return InstanceReport(InstanceState.FAILING, reason, message)
    is_current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    serves = min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0)) >= 1
    if is_current and serves and not metadata.get("deletionTimestamp"):
        return InstanceReport(InstanceState.READY, Reason.ALL_READY)
    return InstanceReport(InstanceState.STARTING, Reason.STARTING)


def _pod_report(pod: Manifest, now: datetime) -> InstanceReport | None:
    metadata, status = pod["metadata"], pod["status"]
    if metadata.get("deletionTimestamp"):
        return None
    for container in status["containerStatuses"]:
        waiting = container["state"]["waiting"]
        if waiting.get("reason") in _FAILURES:
            message = f"pod {metadata['name']}: {waiting['reason']}: {waiting.get('message', '')}"
            return InstanceReport(InstanceState.FAILING, Reason.INSTANCES_FAILING, message)
    for condition in status["conditions"]:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            since = parse_time(condition.get("lastTransitionTime"))
            if since is not None and now - since > PENDING_LIMIT:
                message = f"pod {metadata['name']}: {condition.get('message', 'not scheduled')}"
                return InstanceReport(InstanceState.PENDING, Reason.INSTANCES_PENDING, message)
    return None


def parse_time(text: str | None) -> datetime | None:
    """Read a Kubernetes time stamp; None stays None."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def ready_capacity_req_per_s(
    instances: Iterable[ServingInstance], reports: Mapping[str, InstanceReport]
) -> float:
    """Return the rate that the ready instances of one model carry together.

    Prefill and decode pair inside a region, as in the plan (docs/model.md, "Demand").
    """
    whole = 0.0
    prefill: dict[str, float] = {}
    decode: dict[str, float] = {}
    for instance in instances:
        if reports[instance.name].state is InstanceState.READY:
            rate = instance.template.capacity_req_per_s
            match instance.template.phase.value:
                case "WHOLE":
                    whole += rate
                case "PREFILL":
                    prefill[instance.region] = prefill.get(instance.region, 0.0) + rate
                case _:
                    decode[instance.region] = decode.get(instance.region, 0.0) + rate
    return whole + sum(min(rate, decode.get(region, 0.0)) for region, rate in prefill.items())
