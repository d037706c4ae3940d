"""Statuses are written where they differ, events where something changed, metrics as documented."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fake_kube import FakeKube
from operator_builders import NOW, clock, inputs_of, instance, made_from, service
from prometheus_client import generate_latest

from coral_api.conditions import Condition, ConditionStatus, ConditionType, Reason
from coral_api.multillmservice import MultiLLMServiceStatus
from coral_operator.kube.errors import KubeError
from coral_operator.kube.kinds import EVENTS, MULTI_LLM_SERVICES, NODES
from coral_operator.planning.records import Chain
from coral_operator.status import metrics
from coral_operator.status.events import Event, EventWriter, condition_events
from coral_operator.status.metrics import METRICS, Metrics, reference_page
from coral_operator.status.samples import plan_samples, service_samples
from coral_operator.status.writer import StatusWriter

ROOT = Path(__file__).parents[3]


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


def test_a_status_is_written_once_although_the_watch_lags(kube):
    stale = kube.put(MULTI_LLM_SERVICES, service())
    writer = StatusWriter(kube)
    status = MultiLLMServiceStatus(observed_generation=1)
    assert asyncio.run(writer.write(MULTI_LLM_SERVICES, writer.current(stale), status))
    assert not asyncio.run(writer.write(MULTI_LLM_SERVICES, writer.current(stale), status))
    assert kube.requests == [("status", "chat")]


def test_a_status_that_somebody_else_changed_is_put_right_after_forgetting(kube):
    kube.put(MULTI_LLM_SERVICES, service())
    writer = StatusWriter(kube)
    status = MultiLLMServiceStatus(observed_generation=1)
    found = kube.objects["multillmservices", "default", "chat"]
    asyncio.run(writer.write(MULTI_LLM_SERVICES, writer.current(found), status))
    edited = {**found, "status": {"observedGeneration": 99}}
    assert not asyncio.run(writer.write(MULTI_LLM_SERVICES, writer.current(edited), status))
    writer.forget()
    assert asyncio.run(writer.write(MULTI_LLM_SERVICES, writer.current(edited), status))


def test_a_status_that_is_refused_is_tried_again(kube):
    found = kube.put(MULTI_LLM_SERVICES, service())
    writer = StatusWriter(kube)
    kube.faults["status", "chat"] = KubeError("no", status=422)
    assert not asyncio.run(
        writer.write(MULTI_LLM_SERVICES, found, MultiLLMServiceStatus(observed_generation=1))
    )
    assert writer.current(found) == found


def of(kind: ConditionType, status: str, reason: Reason) -> Condition:
    return Condition(
        type=kind, status=ConditionStatus(status), reason=reason.value, last_transition_time=NOW
    )


def test_a_condition_is_told_when_it_turns_bad_and_not_again():
    bad = of(ConditionType.DEGRADED, "True", Reason.CAPACITY_SHORT)
    good = of(ConditionType.DEGRADED, "False", Reason.AS_EXPECTED)
    worse = of(ConditionType.DEGRADED, "True", Reason.NO_TEMPLATE)

    def told(before, after):
        return [e.reason for e in condition_events(NODES, {}, before, after)]

    assert told([], [bad]) == ["CapacityShort"]
    assert told([bad], [bad]) == []
    assert told([bad], [worse]) == ["NoTemplate"]
    assert told([bad], [good]) == []
    assert told([], [of(ConditionType.READY, "False", Reason.STARTING)]) == []


def test_an_event_about_a_node_lives_in_the_default_namespace(kube):
    event = Event(NODES, {"metadata": {"name": "a", "uid": "u"}}, "NodeRefused", "x" * 5000, True)
    asyncio.run(EventWriter(kube, clock(), "me").tell([event]))
    ((_, namespace, _),) = kube.objects
    (body,) = kube.objects.values()
    assert (namespace, body["type"], len(body["message"])) == ("default", "Warning", 1024)
    assert body["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Node",
        "name": "a",
        "uid": "u",
    }


def test_an_event_that_cannot_be_written_stops_nothing(kube):
    kube.faults["create", EVENTS.plural] = KubeError("quota", status=403)
    event = Event(NODES, {"metadata": {"name": "a"}}, "NodeRefused", "x", is_warning=True)
    asyncio.run(EventWriter(kube, clock(), "me").tell([event, event]))
    assert len(kube.requests) == 2


def test_the_page_about_metrics_is_that_of_the_code():
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert page == reference_page()


def test_every_metric_is_declared_once_and_scraped_under_its_name():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    declared = [m for name, m in vars(metrics).items() if isinstance(m, metrics.Metric)]
    assert set(declared) == set(METRICS)
    text = generate_latest(Metrics().registry).decode()
    assert all(f"# HELP {name}" in text for name in names)


def test_gauges_of_things_that_are_gone_go_and_counters_stay():
    held = Metrics()
    held.publish({metrics.POOL_NODES: {("x",): 1.0}})
    held.count(metrics.ERRORS, "StaleInput")
    held.count(metrics.ERRORS, "StaleInput", by=2)
    held.publish({})
    assert held.registry.get_sample_value("coral_pool_nodes", {"pool": "x"}) is None
    assert held.registry.get_sample_value("coral_errors_total", {"reason": "StaleInput"}) == 3


def test_samples_carry_the_labels_that_are_declared():
    record = made_from([service()], instance("i"))
    (read,) = inputs_of(service())
    status = MultiLLMServiceStatus.model_validate(
        {"models": [{"name": "phi-4", "demandRequestsPerSecond": 2.0}]}
    )
    samples = plan_samples({Chain.ACTIVE: record, Chain.SHADOW: None}, now=NOW)
    samples |= service_samples([(read, status)])
    for metric, values in samples.items():
        assert all(len(labels) == len(metric.labels) for labels in values)
    assert samples[metrics.DEMAND] == {("default", "chat", "phi-4", "Active"): 2.0}
    assert samples[metrics.PLAN_COST] == {("Active",): 1.0}
