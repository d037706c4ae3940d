"""Children are written when they must be, and nothing foreign is touched."""

from __future__ import annotations

import asyncio

import pytest
from fake_kube import FakeKube
from operator_builders import clock, deployment, instance, service

from coral_api.conditions import Reason
from coral_operator.children.identity import child_key
from coral_operator.kube.errors import KubeError, KubeUnavailableError
from coral_operator.kube.kinds import DEPLOYMENTS, MULTI_LLM_SERVICES
from coral_operator.planning.inputs import ServiceRef
from coral_operator.rollout.apply import VISIBLE_WITHIN_S, Applier

CHAT = ServiceRef("default", "chat")
KNOWN = frozenset({CHAT})


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def time():
    return clock()


@pytest.fixture
def applier(kube, time) -> Applier:
    return Applier(kube, time)


def run(applier, wanted, live=(), superfluous=(), known=KNOWN):
    by_key = {child_key(manifest): manifest for manifest in wanted}
    return asyncio.run(applier.run(by_key, live, superfluous, known))


def child(name: str = "i") -> dict:
    return deployment(instance(name))


def test_a_missing_child_is_made_without_force(applier, kube):
    report = run(applier, [child()])
    assert [key.name for key in report.applied] == ["i-s0"]
    assert kube.forced == [False]


def test_a_pass_without_changes_asks_the_server_nothing(applier, kube):
    run(applier, [child()])
    kube.requests.clear()
    report = run(applier, [child()], live=[child()])
    assert (report.applied, kube.requests) == ((), [])


def test_a_changed_wish_is_written_with_force(applier, kube):
    run(applier, [child()])
    changed = {**child(), "spec": {"replicas": 1}}
    run(applier, [changed], live=[child()])
    assert kube.forced == [False, True]


def test_a_child_that_somebody_edited_is_put_right(applier):
    run(applier, [child()])
    edited = child()
    edited["metadata"]["generation"] = 2
    assert len(run(applier, [child()], live=[edited]).applied) == 1


def test_a_child_that_the_watch_had_and_lost_is_made_again_at_once(applier):
    run(applier, [child()])
    run(applier, [child()], live=[child()])
    assert len(run(applier, [child()]).applied) == 1
    assert run(applier, [child()]).applied == ()


def test_a_child_that_was_put_right_and_then_deleted_is_made_again_at_once(applier):
    run(applier, [child()])
    edited = child()
    edited["metadata"]["generation"] = 2
    run(applier, [child()], live=[edited])
    assert len(run(applier, [child()]).applied) == 1


def test_a_child_that_the_watch_never_brings_is_made_again_after_its_time(applier, time):
    run(applier, [child()])
    assert run(applier, [child()]).applied == ()
    time.advance(VISIBLE_WITHIN_S + 1)
    assert len(run(applier, [child()]).applied) == 1


def test_a_foreign_object_of_the_same_name_is_left_alone_and_told(applier, kube):
    foreign = child()
    foreign["metadata"]["labels"] = {"app": "theirs"}
    kube.put(DEPLOYMENTS, foreign)
    report = run(applier, [child(), child("j")])
    assert [key.name for key in report.applied] == ["j-s0"]
    assert [(p.service, p.reason) for p in report.problems] == [(CHAT, Reason.APPLY_CONFLICT)]
    assert "rename" in report.problems[0].message
    stored = kube.objects["deployments", "default", "i-s0"]
    assert stored["metadata"]["labels"] == {"app": "theirs"}


def test_our_own_child_that_the_watch_has_not_brought_is_taken_over(applier, kube):
    kube.put(DEPLOYMENTS, child())
    assert len(run(applier, [child()]).applied) == 1
    assert kube.forced == [True]


def test_a_refused_child_keeps_no_other_back_and_is_tried_again(applier, kube):
    kube.faults["apply", "i-s0"] = KubeError("admission says no", status=403)
    report = run(applier, [child(), child("j")])
    assert [key.name for key in report.applied] == ["j-s0"]
    assert report.problems[0].reason is Reason.APPLY_FAILED
    kube.faults.clear()
    assert [key.name for key in run(applier, [child(), child("j")]).applied] == ["i-s0"]


def test_only_the_incarnation_that_was_meant_is_removed(applier, kube):
    doomed = kube.put(DEPLOYMENTS, child())
    kube.put(DEPLOYMENTS, {**child(), "metadata": {**child()["metadata"], "uid": "newer"}})
    run(applier, [], superfluous=[doomed])
    assert kube.names(DEPLOYMENTS) == ["i-s0"]


def test_a_child_is_removed(applier, kube):
    doomed = kube.put(DEPLOYMENTS, child())
    report = run(applier, [], superfluous=[doomed])
    assert [key.name for key in report.deleted] == ["i-s0"]
    assert kube.names(DEPLOYMENTS) == []


def test_children_of_a_service_that_the_index_lacks_are_removed_only_if_it_is_gone(applier, kube):
    doomed = kube.put(DEPLOYMENTS, child())
    kube.put(MULTI_LLM_SERVICES, service())
    assert run(applier, [], superfluous=[doomed], known=frozenset()).deleted == ()
    kube.objects.pop(("multillmservices", "default", "chat"))
    assert len(run(applier, [], superfluous=[doomed], known=frozenset()).deleted) == 1


def test_where_the_server_cannot_say_children_stay(applier, kube):
    doomed = kube.put(DEPLOYMENTS, child())
    kube.faults["get", "chat"] = KubeUnavailableError("no answer", status=0)
    report = run(applier, [], superfluous=[doomed], known=frozenset())
    assert (report.deleted, kube.names(DEPLOYMENTS)) == ((), ["i-s0"])
    assert len(report.problems) == 1
