"""How far an instance is, from its Deployments and its pods' complaints."""

from __future__ import annotations

from datetime import timedelta

import pytest
from operator_builders import NOW, deployment, instance, pod, template

from coral_api.conditions import Reason
from coral_operator.children import labels
from coral_operator.status.instances import (
    InstanceReport,
    InstanceState,
    LiveChildren,
    instance_report,
    ready_capacity_req_per_s,
)
from coral_solver.domain.workload import Phase

ONE = instance("one", "a")
TWO_STAGES = instance("two", "a", "b", of=template(stages=2))


def report(of, deployments=(), pods=()) -> InstanceReport:
    return instance_report(of, LiveChildren.arrange(deployments, pods), now=NOW)


def own_pod(of, **status: object) -> dict:
    found = pod("p", "a", 1, **{labels.INSTANCE: of.name})
    return {**found, "status": {**found["status"], **status}}


def test_an_available_deployment_serves():
    assert report(ONE, [deployment(ONE)]).state is InstanceState.READY


def test_an_instance_without_deployment_is_starting():
    assert report(ONE).state is InstanceState.STARTING


def test_an_instance_serves_only_when_every_stage_does():
    assert report(TWO_STAGES, [deployment(TWO_STAGES, 0)]).state is InstanceState.STARTING
    both = [deployment(TWO_STAGES, stage) for stage in (0, 1)]
    assert report(TWO_STAGES, both).state is InstanceState.READY


@pytest.mark.parametrize(
    "status",
    [{"availableReplicas": 0}, {"updatedReplicas": 0}, {"observedGeneration": 0}],
    ids=["not available", "the old form still runs", "the change was not seen yet"],
)
def test_a_deployment_that_is_not_up_to_date_does_not_serve(status):
    assert report(ONE, [deployment(ONE, **status)]).state is InstanceState.STARTING


def test_a_pod_in_a_crash_loop_is_a_failure_with_its_own_words():
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}
    broken = own_pod(ONE, containerStatuses=[{"state": {"waiting": waiting}}])
    found = report(ONE, [deployment(ONE, availableReplicas=0)], [broken])
    assert (found.state, found.reason) == (InstanceState.FAILING, Reason.INSTANCES_FAILING)
    assert "back-off 5m0s" in found.message


def test_a_container_that_is_being_made_is_no_failure():
    waiting = {"reason": "ContainerCreating"}
    starting = own_pod(ONE, containerStatuses=[{"state": {"waiting": waiting}}])
    assert report(ONE, [], [starting]).state is InstanceState.STARTING


@pytest.mark.parametrize(("seconds", "state"), [(59, "STARTING"), (61, "PENDING")])
def test_a_pod_without_a_node_is_reported_after_a_minute(seconds, state):
    since = (NOW - timedelta(seconds=seconds)).isoformat()
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/3 nodes are available",
        "lastTransitionTime": since,
    }
    assert report(ONE, [], [own_pod(ONE, conditions=[condition])]).state.name == state


def test_an_exceeded_quota_is_told_as_such():
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": 'pods "x" is forbidden: exceeded quota: gpus, requested: nvidia.com/gpu=1',
    }
    found = report(ONE, [deployment(ONE, availableReplicas=0, conditions=[condition])])
    assert (found.state, found.reason) == (InstanceState.FAILING, Reason.QUOTA_EXCEEDED)


def test_a_complaint_of_an_old_pod_does_not_matter_while_the_instance_serves():
    waiting = {"reason": "CrashLoopBackOff"}
    broken = own_pod(ONE, containerStatuses=[{"state": {"waiting": waiting}}])
    assert report(ONE, [deployment(ONE)], [broken]).state is InstanceState.READY


def test_ready_capacity_pairs_prefill_and_decode_inside_a_region():
    def of(name, phase, region, rate, state=InstanceState.READY):
        made = instance(name, of=template(phase=phase, capacity=rate), region=region)
        return made, InstanceReport(state, Reason.ALL_READY)

    pairs = [
        of("w", Phase.WHOLE, "x", 1.0),
        of("p", Phase.PREFILL, "x", 5.0),
        of("d", Phase.DECODE, "x", 3.0),
        of("q", Phase.PREFILL, "y", 7.0),
        of("s", Phase.WHOLE, "x", 100.0, InstanceState.STARTING),
    ]
    reports = {made.name: state for made, state in pairs}
    # 1 whole + min(5, 3) in x + min(7, 0) in y; what starts carries nothing.
    assert ready_capacity_req_per_s([made for made, _ in pairs], reports) == 4.0
