"""What a service's status says in each situation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from operator_builders import (
    NOW,
    changed,
    inputs_of,
    instance,
    made_from,
    model,
    outcome,
    service,
    template,
)
from operator_builders import record as make_record

from coral_api.conditions import ConditionType, Reason, condition
from coral_operator.planning.inputs import Problem
from coral_operator.planning.records import Chain
from coral_operator.status.instances import InstanceReport, InstanceState
from coral_operator.status.service import ServiceFacts, service_status

READY = InstanceReport(InstanceState.READY, Reason.ALL_READY)
STARTING = InstanceReport(InstanceState.STARTING, Reason.STARTING)
FAILING = InstanceReport(InstanceState.FAILING, Reason.INSTANCES_FAILING, "it crashes")
ONE = instance("one", "a", of=template(capacity=1.5))


def status_of(manifest, record=None, *, now=NOW, **fields):
    (read,) = inputs_of(manifest)
    reports = fields.pop("reports", {i.name: READY for i in record.instances} if record else {})
    return service_status(
        ServiceFacts(service=read, record=record, reports=reports, **fields), now=now
    )


def verdicts(status) -> dict[str, tuple[str, str]]:
    return {c.type.value: (c.status.value, c.reason) for c in status.conditions}


def test_a_served_service_is_all_well():
    status = status_of(service(), made_from([service()], ONE))
    assert verdicts(status) == {
        "InputsReady": ("True", "InputsReady"),
        "Planned": ("True", "Planned"),
        "Applied": ("True", "Applied"),
        "Ready": ("True", "AllReady"),
        "Degraded": ("False", "AsExpected"),
    }
    assert (status.observed_generation, status.instances, status.ready_instances) == (1, 1, 1)
    (told,) = status.models
    assert (told.demand_requests_per_second, told.ready_requests_per_second) == (1.0, 1.5)


def test_before_the_first_plan_the_service_waits():
    found = verdicts(status_of(service()))
    assert found["Planned"] == ("False", "Planning")
    assert found["Ready"] == ("False", "Planning")


def test_a_changed_spec_is_not_planned_until_a_plan_knows_it():
    after = service("chat", model(demand=9.0), generation=2)
    found = verdicts(status_of(after, made_from([service()], ONE)))
    assert found["Planned"] == ("False", "Planning")
    assert found["Applied"] == ("False", "Planning")


def test_a_failed_plan_is_told_while_the_old_one_serves_on():
    after = service("chat", model(demand=9.0), generation=2)
    problem = Problem(Reason.WORKER_CRASHED, "it died; the last plan stays")
    status = status_of(after, made_from([service()], ONE), planning_problem=problem)
    found = verdicts(status)
    assert found["Planned"] == ("False", "WorkerCrashed")
    assert found["Degraded"] == ("True", "WorkerCrashed")
    assert found["Ready"] == ("True", "AllReady")


def test_instances_that_start_make_it_not_ready():
    record = made_from([service()], ONE)
    assert verdicts(status_of(service(), record, reports={"one": STARTING}))["Ready"] == (
        "False",
        "Starting",
    )


def test_failing_instances_degrade_it_with_their_message():
    record = made_from([service()], ONE)
    status = status_of(service(), record, reports={"one": FAILING})
    assert verdicts(status)["Ready"] == ("False", "InstancesFailing")
    assert verdicts(status)["Degraded"] == ("True", "InstancesFailing")
    degraded = condition(status.conditions, ConditionType.DEGRADED)
    assert degraded is not None
    assert degraded.message == "it crashes"


@pytest.mark.parametrize("reason", ["CapacityShort", "NoTemplate"])
def test_unmet_demand_degrades_it_with_the_plans_own_reason(reason):
    unmet = outcome(
        reason=reason, unmet_req_per_s=0.6, capacity_req_per_s=0.4, message="deny fewer GPUs"
    )
    first = made_from([service()], ONE)
    record = make_record([service()], ONE, hashes=first.hashes, outcomes=(unmet,))
    status = status_of(service(), record)
    assert verdicts(status)["Degraded"] == ("True", reason)
    assert status.models[0].unmet_requests_per_second == 0.6
    degraded = condition(status.conditions, ConditionType.DEGRADED)
    assert degraded is not None
    assert degraded.message == "phi-4: deny fewer GPUs"


def test_a_shadow_service_is_planned_and_not_carried_out():
    shadow = service(mode="Shadow")
    record = made_from([shadow], ONE, chain=Chain.SHADOW)
    status = status_of(shadow, record, reports={"one": STARTING}, replaced_usd_per_hour=5.0)
    found = verdicts(status)
    assert found["Planned"] == ("True", "Planned")
    assert found["Applied"] == ("False", "ShadowMode")
    assert found["Ready"] == ("False", "ShadowMode")
    assert found["Degraded"] == ("False", "AsExpected")
    assert (status.instances, status.ready_instances, status.replaced_usd_per_hour) == (1, 0, 5.0)


def test_a_paused_service_says_so_and_reports_what_runs():
    record = made_from([service()], ONE)
    status = status_of(service(paused=True, generation=2), record)
    found = verdicts(status)
    assert found["Planned"] == ("False", "Paused")
    assert found["Applied"] == ("Unknown", "Paused")
    assert found["Ready"] == ("True", "AllReady")


def test_a_spec_that_broke_says_what_and_reports_what_runs():
    record = made_from([service()], ONE)
    status = status_of(service("chat", {"name": "phi-4"}, generation=2), record)
    found = verdicts(status)
    assert found["InputsReady"] == ("False", "InvalidSpec")
    assert found["Planned"] == ("False", "InvalidSpec")
    assert found["Ready"] == ("True", "AllReady")
    assert [m.name for m in status.models] == ["phi-4"]


def test_an_unknown_model_is_told_at_the_model():
    two = service("chat", model("good"), model("bad", hub="nobody/knows"))
    good = instance("g", of=template("default/chat/good"))
    record = made_from([two], good)
    status = status_of(two, record)
    assert verdicts(status)["InputsReady"] == ("False", "SomeModelsInvalid")
    assert {m.name: m.reason for m in status.models} == {"good": None, "bad": "UnknownModel"}


def test_a_foreign_object_in_the_way_is_told():
    problem = Problem(Reason.APPLY_CONFLICT, "it is theirs")
    found = verdicts(status_of(service(), made_from([service()], ONE), apply_problem=problem))
    assert found["Applied"] == ("False", "ApplyConflict")
    assert found["Degraded"] == ("True", "ApplyConflict")


def test_a_cluster_without_gpus_is_told():
    problem = Problem(Reason.NO_GPU_NODES, "add one")
    found = verdicts(status_of(service(), inputs_problem=problem))
    assert found["InputsReady"] == ("False", "NoGpuNodes")
    assert found["Planned"] == ("False", "NoGpuNodes")


def test_a_service_that_is_being_deleted_says_so():
    gone = changed(service(), deletionTimestamp="2026-11-22T11:00:00Z")
    assert verdicts(status_of(gone, made_from([service()], ONE)))["Applied"] == (
        "False",
        "Deleting",
    )


def test_the_same_facts_later_give_the_same_status():
    """Else every step would write every status, and every write would make a step."""
    record = made_from([service()], ONE)
    first = status_of(service(), record)
    again = {**service(), "status": first.to_json()}
    assert status_of(again, record, now=NOW + timedelta(hours=1)) == first


def test_only_the_condition_that_turned_gets_a_new_time():
    record = made_from([service()], ONE)
    first = status_of(service(), record)
    later = NOW + timedelta(hours=1)
    second = status_of(
        {**service(), "status": first.to_json()}, record, now=later, reports={"one": STARTING}
    )
    times = {c.type.value: c.last_transition_time for c in second.conditions}
    assert times["Ready"] == later
    assert times["Planned"] == NOW


def test_a_status_that_somebody_broke_is_written_anew():
    broken = {**service(), "status": {"conditions": [{"type": 5}]}}
    assert len(status_of(broken, made_from([service()], ONE)).conditions) == 5
