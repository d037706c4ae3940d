"""Work out the statuses of GPUPools, PerformanceProfiles and of the ServingPlans in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from coral_api.conditions import ConditionStatus, ConditionType, Reason, set_condition
from coral_api.gpupool import GPUPoolStatus, RefusedNodeStatus
from coral_api.performanceprofile import PerformanceProfileStatus
from coral_api.servingplan import ServingPlanStatus
from coral_operator.planning.records import Chain
from coral_operator.status.instances import InstanceState
from coral_solver.domain.profile import points_of_models

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from coral_api.conditions import Condition
    from coral_operator.kube.client import Manifest
    from coral_operator.observe.cluster import ClusterView
    from coral_operator.planning.inputs import Problem
    from coral_operator.planning.records import PlanRecord
    from coral_operator.status.instances import InstanceReport
    from coral_solver.domain.profile import MeasuredPoint
    from coral_solver.domain.workload import ServedModel

MAX_REFUSED = 100
"""Refused nodes that a GPUPool's status has room for."""

MAX_NAMED = 10
"""Models that a message names."""


def gpu_pool_status(
    manifest: Manifest, view: ClusterView, problem: Problem | None, *, now: datetime
) -> GPUPoolStatus:
    """Return the status of a GPUPool.

    Parameters
    ----------
    manifest
        The GPUPool.
    view
        What was found.
    problem
        Why the GPUPool is not used, if it is not.
    now
        Time of the conditions that change.
    """
    name = manifest["metadata"]["name"]
    mine = {node for node, speaker in view.discovery.overrides.items() if speaker == name}
    usable = [n for p in view.discovery.pools for n in p.nodes if n.name in mine]
    refused = [r for r in view.discovery.refused if r.name in mine]
    conditions = _earlier(GPUPoolStatus, manifest)
    if problem is not None:
        inputs = (ConditionStatus.FALSE, problem.reason, problem.message)
    else:
        inputs = (ConditionStatus.TRUE, Reason.INPUTS_READY, "the GPUPool is used")
    if refused:
        text = f"{len(refused)} of {len(mine)} nodes cannot be used; see status.refusedNodes"
        degraded = (ConditionStatus.TRUE, Reason.NODE_REFUSED, text)
    else:
        degraded = (ConditionStatus.FALSE, Reason.AS_EXPECTED, "every node can be used")
    for kind, verdict in (
        (ConditionType.INPUTS_READY, inputs),
        (ConditionType.DEGRADED, degraded),
    ):
        conditions = set_condition(
            conditions,
            kind,
            *verdict,
            now=now,
            observed_generation=manifest["metadata"].get("generation"),
        )
    return GPUPoolStatus(
        observed_generation=manifest["metadata"].get("generation"),
        conditions=conditions,
        nodes=len(usable),
        free_gpus=sum(n.free_gpus for n in usable),
        refused_nodes=tuple(
            RefusedNodeStatus(name=r.name, reason=r.reason, message=r.message)
            for r in refused[:MAX_REFUSED]
        ),
    )


def profile_status(
    manifest: Manifest,
    points: Sequence[MeasuredPoint],
    models: Iterable[ServedModel],
    problem: Problem | None,
    *,
    now: datetime,
) -> PerformanceProfileStatus:
    """Return the status of a PerformanceProfile.

    Parameters
    ----------
    manifest
        The PerformanceProfile.
    points
        Its points that are used.
    models
        Models of all services that can be planned.
    problem
        Why the profile is not used, if it is not.
    now
        Time of the conditions that change.
    """
    corrected = [model.id for model in models if points_of_models(points, [model])]
    if problem is not None:
        verdict = (ConditionStatus.FALSE, problem.reason, problem.message)
    elif corrected:
        text = f"the predictions of {', '.join(corrected[:MAX_NAMED])} are corrected"
        verdict = (ConditionStatus.TRUE, Reason.INPUTS_READY, text)
    else:
        text = "the profile is valid; no service has its model in its precision"
        verdict = (ConditionStatus.TRUE, Reason.INPUTS_READY, text)
    generation = manifest["metadata"].get("generation")
    return PerformanceProfileStatus(
        observed_generation=generation,
        conditions=set_condition(
            _earlier(PerformanceProfileStatus, manifest),
            ConditionType.INPUTS_READY,
            *verdict,
            now=now,
            observed_generation=generation,
        ),
        points=len(points),
        models=len(corrected),
    )


def plan_status(
    manifest: Manifest,
    record: PlanRecord,
    reports: Mapping[str, InstanceReport],
    *,
    is_applied: bool,
    now: datetime,
) -> ServingPlanStatus:
    """Return the status of a plan in force.

    Parameters
    ----------
    manifest, record
        The ServingPlan.
    reports
        How far each of its instances is, by name.
    is_applied
        Whether the children are those of the plan.
    now
        Time of the conditions that change.
    """
    states = [reports[instance.name].state for instance in record.instances]
    ready = states.count(InstanceState.READY)
    if record.chain is Chain.SHADOW:
        ready = 0
        shown = (ConditionStatus.FALSE, Reason.SHADOW_MODE, "the plan is shown only")
        applied, is_ready = shown, shown
    else:
        applied = (
            (ConditionStatus.TRUE, Reason.APPLIED, "the children are those of the plan")
            if is_applied
            else (ConditionStatus.FALSE, Reason.APPLYING, "see the conditions of the services")
        )
        is_ready = (
            (ConditionStatus.TRUE, Reason.ALL_READY, "every instance serves")
            if ready == len(states)
            else (ConditionStatus.FALSE, Reason.STARTING, f"{ready} of {len(states)} serve")
        )
    conditions = _earlier(ServingPlanStatus, manifest)
    for kind, verdict in ((ConditionType.APPLIED, applied), (ConditionType.READY, is_ready)):
        conditions = set_condition(conditions, kind, *verdict, now=now, observed_generation=1)
    return ServingPlanStatus(observed_generation=1, conditions=conditions, ready_instances=ready)


def _earlier(
    model: type[GPUPoolStatus] | type[PerformanceProfileStatus] | type[ServingPlanStatus],
    manifest: Manifest,
) -> tuple[Condition, ...]:
    """Return the conditions that the object has; none if somebody has broken its status."""
    try:
        return model.model_validate(manifest.get("status") or {}).conditions
    except ValidationError:
        return ()
