"""A plan is made when something calls for it, and waits only when it may."""

from __future__ import annotations

from dataclasses import replace

from operator_builders import changed, inputs, instance, made_from, model, pool, service

from coral_api.conditions import Reason
from coral_operator.planning.need import planning_need
from coral_operator.planning.records import Hashes


def need(found, current, evaluated=None):
    answer = planning_need(found, current, evaluated)
    return None if answer is None else (answer.reason, answer.may_wait)


def test_nothing_at_all_needs_no_plan():
    assert need(inputs([]), None) is None


def test_the_first_service_needs_the_first_plan_at_once():
    assert need(inputs([service()]), None) == (Reason.FIRST_PLAN, False)


def test_an_unchanged_world_needs_no_plan():
    current = made_from([service()], instance("i"))
    assert need(inputs([service()], current=current), current) is None


def test_a_changed_demand_does_not_wait():
    current = made_from([service()], instance("i"))
    after = [service("chat", model(demand=5.0), generation=2)]
    found = planning_need(inputs(after, current=current), current, None)
    assert found is not None
    assert (found.reason, found.may_wait) == (Reason.SPEC_CHANGED, False)
    assert found.message == "changed: default/chat"


def test_a_new_node_may_wait():
    current = made_from([service()], instance("i"))
    found = inputs([service()], current=current, pools=(pool(("a", 4), ("b", 4)),))
    assert need(found, current) == (Reason.CAPACITY_CHANGED, True)


def test_an_instance_without_its_node_does_not_wait():
    current = made_from([service()], instance("i", "a"))
    found = inputs([service()], current=current, pools=(pool(("b", 4)),))
    assert need(found, current) == (Reason.CAPACITY_CHANGED, False)


def test_a_deleted_service_does_not_wait():
    current = made_from([service("a"), service("b")])
    gone = changed(service("b"), deletionTimestamp="2026-11-22T11:00:00Z")
    found = inputs([service("a"), gone], current=current)
    assert need(found, current) == (Reason.SERVICE_REMOVED, False)


def test_the_last_service_gone_needs_an_empty_plan():
    current = made_from([service()], instance("i"))
    assert need(inputs([], current=current), current) == (Reason.SERVICE_REMOVED, False)


def test_inputs_that_gave_the_same_plan_again_are_not_planned_twice():
    current = made_from([service()], instance("i"))
    found = inputs([service()], current=current, pools=(pool(("a", 4), ("b", 4)),))
    assert need(found, current, evaluated=found.hashes) is None
    # And back to where the plan was made from: known, too.
    assert need(inputs([service()], current=current), current, evaluated=found.hashes) is None


def test_a_plan_whose_origin_is_forgotten_is_made_anew():
    current = replace(made_from([service()], instance("i")), hashes=Hashes(spec="", inputs=""))
    assert need(inputs([service()], current=current), current) == (Reason.SPEC_CHANGED, False)
