"""Which children there should be, which may not be touched, and which are superfluous."""

from __future__ import annotations

from operator_builders import (
    changed,
    deployment,
    inputs_of,
    instance,
    made_from,
    model,
    service,
    template,
)

from coral_api.conditions import Reason
from coral_operator.children.settings import ChildSettings
from coral_operator.planning.inputs import ServiceRef
from coral_operator.rollout.wanted import superfluous, wanted_children
from coral_solver.catalog import gpu_types

SETTINGS = ChildSettings(gpu_types={gpu.name: gpu for gpu in gpu_types()})
CHAT = ServiceRef("default", "chat")


def wanted(manifests, record):
    return wanted_children(inputs_of(*manifests), record, SETTINGS)


def names(found) -> list[str]:
    return sorted(f"{key.kind}/{key.name}" for key in found.manifests)


def test_an_active_service_wants_a_deployment_per_instance_and_a_service_per_model():
    found = wanted([service()], made_from([service()], instance("phi-1", "a")))
    assert names(found) == ["Deployment/phi-1-s0", "Service/chat-phi-4"]
    assert (found.frozen, found.problems) == (frozenset(), ())


def test_without_a_plan_nothing_is_touched():
    assert wanted([service()], None).frozen == {CHAT}


def test_a_service_that_changed_after_its_plan_waits_untouched():
    record = made_from([service()], instance("i"))
    found = wanted([service("chat", model(demand=9.0), generation=2)], record)
    assert (found.frozen, found.manifests) == ({CHAT}, {})


def test_a_service_made_anew_under_the_same_name_waits_for_its_own_plan():
    record = made_from([service(uid="old")], instance("i"))
    assert wanted([service(uid="new")], record).frozen == {CHAT}


def test_paused_and_broken_services_are_left_as_they_are():
    record = made_from([service()], instance("i"))
    assert wanted([service(paused=True, generation=2)], record).frozen == {CHAT}
    assert wanted([service("chat", {"name": "x"})], record).frozen == {CHAT}


def test_a_shadow_service_and_a_deleted_one_want_nothing():
    record = made_from([service()], instance("i"))
    shadow = wanted([service(mode="Shadow", generation=2)], record)
    assert (shadow.frozen, shadow.manifests) == (frozenset(), {})
    gone = wanted([changed(service(), deletionTimestamp="2026-11-22T11:00:00Z")], record)
    assert (gone.frozen, gone.manifests, gone.known) == (frozenset(), {}, {CHAT})


def test_of_two_services_that_want_one_name_the_later_is_refused_and_told():
    first, second = service("a", model("b-c")), service("a-b", model("c"))
    record = made_from(
        [first, second],
        instance("x", of=template("default/a/b-c")),
        instance("y", of=template("default/a-b/c")),
    )
    found = wanted([second, first], record)
    assert names(found) == ["Deployment/x-s0", "Service/a-b-c"]
    assert [(p.model_id, p.reason) for p in found.problems] == [
        ("default/a-b/c", Reason.APPLY_CONFLICT)
    ]
    assert found.frozen_models == {"default/a-b/c"}


def test_exactly_what_the_plan_dropped_is_superfluous():
    kept, dropped = instance("kept", "a"), instance("dropped", "a")
    found = wanted([service()], made_from([service()], kept))
    live = [deployment(kept), deployment(dropped)]
    assert [c["metadata"]["name"] for c in superfluous(live, found, None)] == ["dropped-s0"]


def test_what_does_not_carry_both_labels_is_never_superfluous():
    stranger = deployment(instance("stranger"))
    del stranger["metadata"]["labels"]["serving.coral.dev/service"]
    assert superfluous([stranger], wanted([], None), None) == []


def test_children_of_frozen_services_and_models_and_of_other_scopes_are_not_superfluous():
    live = [deployment(instance("i"))]
    assert superfluous(live, wanted([service(paused=True)], None), None) == []
    assert superfluous(live, wanted([], None), frozenset({"elsewhere"})) == []
    assert len(superfluous(live, wanted([], None), frozenset({"default"}))) == 1


def test_what_is_already_going_is_not_removed_again():
    going = changed(deployment(instance("i")), deletionTimestamp="2026-11-22T11:00:00Z")
    assert superfluous([going], wanted([], None), None) == []
