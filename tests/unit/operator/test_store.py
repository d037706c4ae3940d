"""The indexes are believed as far as they deserve it."""

from __future__ import annotations

import asyncio

import pytest
from fake_kube import FakeKube
from operator_builders import clock, node, pod

from coral_operator.kube.kinds import NODES
from coral_operator.observe.audit import Audit
from coral_operator.observe.store import WATCHED, Store
from coral_operator.observe.trim import trim_child, trim_custom, trim_node, trim_pod


class Indexed:
    """kopf's indexes as dictionaries: values are replaced only where they differ."""

    def __init__(self) -> None:
        self.nudges = 0
        self.clock = clock()
        self.store = Store(self.clock, self._nudge)
        self.indices = {watched.index_id: {} for watched in WATCHED}
        self.store.attach(self.indices)

    def _nudge(self) -> None:
        self.nudges += 1

    def event(self, body: dict, kind: str | None = "MODIFIED") -> None:
        kept, key = trim_node(body), ("", body["metadata"]["name"])
        values = self.indices["nodes_seen"].setdefault(key, [])
        if kind == "DELETED":
            self.indices["nodes_seen"].pop(key)
        elif kept not in values:
            values[:] = [v for v in values if v["metadata"]["uid"] != kept["metadata"]["uid"]]
            values.append(kept)
        self.store.notice("nodes_seen", key, kind)


@pytest.fixture
def indexed() -> Indexed:
    return Indexed()


def test_a_change_nudges_and_a_heartbeat_does_not(indexed):
    indexed.event(node("a"), None)
    assert indexed.nudges == 1
    beating = node("a")
    beating["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-11-22T12:00:00Z"
    indexed.event(beating)
    assert indexed.nudges == 1
    indexed.event(node("a", unschedulable=True))
    assert indexed.nudges == 2
    indexed.event(node("a"), "DELETED")
    assert indexed.nudges == 3


def test_nothing_is_believed_before_the_first_pulse(indexed):
    assert indexed.store.age_s is None
    indexed.store.pulse()
    indexed.clock.advance(7)
    assert indexed.store.age_s == 7


def test_a_second_list_of_known_objects_calls_for_an_audit(indexed):
    indexed.event(node("a"), None)
    assert not indexed.store.relisted
    indexed.event(node("a"), None)
    assert indexed.store.relisted


def test_of_two_objects_of_one_name_the_newer_counts(indexed):
    indexed.event(node("a"))
    newer = node("a", gpus=8)
    newer["metadata"]["uid"] = "another"
    indexed.event(newer)
    (found,) = indexed.store.objects("nodes_seen")
    assert found["metadata"]["uid"] == "another"


def test_an_audit_finds_what_went_while_the_stream_was_cut(indexed):
    kube = FakeKube()
    for name in ("a", "b"):
        indexed.event(node(name))
        kube.put(NODES, node(name))
    kube.objects.pop(("nodes", "", "b"))
    asyncio.run(Audit(indexed.store, kube).run())
    assert [o["metadata"]["name"] for o in indexed.store.objects("nodes_seen")] == ["a"]


def test_an_audit_believes_an_absence_only_the_second_time(indexed):
    """Between a list and the watch's next event an object may well be missing."""
    kube = FakeKube()
    kube.put(NODES, node("unseen"))
    audit = Audit(indexed.store, kube)
    asyncio.run(audit.run())
    assert audit.unseen == 0
    asyncio.run(audit.run())
    assert audit.unseen == 1
    indexed.event(node("unseen"))
    asyncio.run(audit.run())
    assert audit.unseen == 0


def test_a_pod_without_gpus_is_not_kept():
    plain = pod("p", "a", 1)
    plain["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}}
    assert trim_pod(plain) is None


def test_a_pod_keeps_sidecars_overhead_and_its_reasons_to_wait():
    full = pod("p", "a", 1)
    full["spec"]["overhead"] = {"nvidia.com/gpu": "1"}
    full["spec"]["initContainers"] = [
        {
            "name": "side",
            "restartPolicy": "Always",
            "resources": {"requests": {"nvidia.com/gpu": "1", "cpu": "2"}},
        }
    ]
    full["status"]["containerStatuses"] = [
        {"name": "main", "state": {"waiting": {"reason": "ErrImagePull"}}},
        {"name": "ok", "state": {"running": {}}},
    ]
    kept = trim_pod(full)
    assert kept is not None
    assert kept["spec"]["initContainers"] == [
        {
            "name": "side",
            "restartPolicy": "Always",
            "resources": {"requests": {"nvidia.com/gpu": "1"}},
        }
    ]
    assert kept["spec"]["overhead"] == {"nvidia.com/gpu": "1"}
    assert [c["name"] for c in kept["status"]["containerStatuses"]] == ["main"]


def test_what_field_managers_note_is_not_kept():
    body = {"metadata": {"name": "x", "managedFields": [1]}, "spec": {"a": 1}}
    assert trim_custom(body) == {"metadata": {"name": "x"}, "spec": {"a": 1}}


def test_a_child_keeps_its_kind_and_what_failed():
    body = {
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "uid": "u", "generation": 4},
        "spec": {"template": {"big": "pod"}},
        "status": {
            "conditions": [
                {"type": "Progressing", "status": "True"},
                {"type": "ReplicaFailure", "status": "True", "message": "m"},
            ]
        },
    }
    kept = trim_child(body)
    assert (kept["kind"], "spec" in kept) == ("Deployment", False)
    assert [c["type"] for c in kept["status"]["conditions"]] == ["ReplicaFailure"]
