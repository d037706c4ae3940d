"""What is planned anew, what is held, and which GPUs are left for it."""

from __future__ import annotations

from operator_builders import (
    allocation,
    changed,
    inputs,
    instance,
    made_from,
    model,
    outcome,
    pool,
    record,
    service,
    template,
)

from coral_api.planningpolicy import PlanningPolicySpec
from coral_operator.planning.problem import stands, with_held, without
from coral_operator.planning.records import Chain
from coral_solver.domain.hardware import PoolScaling


def ids(found) -> list[str]:
    return [m.id for m in found.problem.models]


def test_active_and_shadow_services_are_planned_apart():
    both = [service("run"), service("dream", mode="Shadow")]
    assert ids(inputs(both)) == ["default/run/phi-4"]
    assert ids(inputs(both, chain=Chain.SHADOW)) == ["default/dream/phi-4"]


def test_shadow_services_get_what_active_instances_leave():
    # 4 GPUs on node a; the active instance takes 1.
    found = inputs([service(mode="Shadow")], chain=Chain.SHADOW, reserved=(instance("i", "a"),))
    assert found.problem.pools[0].nodes[0].free_gpus == 3


def test_a_paused_service_keeps_its_instances_and_their_gpus():
    before = record([service("a"), service("b")], instance("b-1", of=template("default/b/phi-4")))
    found = inputs([service("a"), service("b", paused=True, generation=2)], current=before)
    assert ids(found) == ["default/a/phi-4"]
    assert [i.name for i in found.held] == ["b-1"]
    assert [(s.name, s.generation) for s in found.held_services] == [("b", 1)]
    assert found.problem.pools[0].nodes[0].free_gpus == 3


def test_a_paused_service_that_no_plan_knows_is_not_planned():
    found = inputs([service(paused=True)])
    assert found.is_empty


def test_a_service_made_anew_under_the_same_name_does_not_inherit_when_paused():
    before = record([service(uid="old")], instance("i"))
    found = inputs([service(uid="new", paused=True)], current=before)
    assert (found.held, found.held_services) == ((), ())


def test_a_service_whose_spec_broke_is_held_like_a_paused_one():
    before = record([service()], instance("i"), outcomes=(outcome(capacity_req_per_s=2.5),))
    broken = service("chat", {"name": "phi-4"}, generation=2)
    found = inputs([broken], current=before)
    assert [i.name for i in found.held] == ["i"]
    assert [o.capacity_req_per_s for o in found.held_outcomes] == [2.5]


def test_a_model_that_became_unknown_is_held_and_its_neighbours_are_planned():
    two = service("chat", model("a"), model("b"))
    before = record(
        [two],
        instance("a-1", of=template("default/chat/a")),
        instance("b-1", of=template("default/chat/b")),
    )
    broken = service("chat", model("a"), model("b", hub="nobody/knows"), generation=2)
    found = inputs([broken], current=before)
    assert ids(found) == ["default/chat/a"]
    assert [i.name for i in found.held] == ["b-1"]
    assert [i.name for i in found.problem.in_force] == ["a-1"]


def test_a_model_taken_out_of_the_spec_and_a_deleted_service_are_neither_held_nor_in_force():
    before = record(
        [service("chat", model("a"), model("b")), service("gone")],
        instance("a-1", of=template("default/chat/a")),
        instance("b-1", of=template("default/chat/b")),
        instance("g-1", of=template("default/gone/phi-4")),
    )
    now = [
        service("chat", model("a"), generation=2),
        changed(service("gone"), deletionTimestamp="2026-11-22T11:00:00Z"),
    ]
    found = inputs(now, current=before)
    assert [i.name for i in found.problem.in_force] == ["a-1"]
    assert (found.held, found.lost) == ((), ())


def test_an_instance_whose_node_is_gone_is_lost_but_its_name_is_not_free():
    before = record([service()], instance("i", "a"), instance("j", "b"))
    found = inputs([service()], current=before, pools=(pool(("b", 4)),))
    assert [i.name for i in found.problem.in_force] == ["i", "j"]
    assert found.lost == ("i",)


def test_a_slice_without_a_node_stands_while_its_pool_does():
    waiting = instance("i", None)
    assert stands(waiting, [pool()])
    assert not stands(waiting, [])


def test_reserving_takes_gpus_from_nodes_and_nodes_from_elastic_ceilings():
    elastic = pool(("a", 4), scaling=PoolScaling.ELASTIC, max_nodes=3)
    two_gpus = instance("i", "a", of=template(gpus=2))
    (left,) = without([elastic], [two_gpus, instance("j", None)])
    # 4 - 2 GPUs; 3 - 1 nodes.
    assert (left.nodes[0].free_gpus, left.max_nodes) == (2, 2)


def test_reserving_more_than_there_is_leaves_nothing_and_not_less():
    (left,) = without([pool(("a", 1))], [instance("i", "a", of=template(gpus=4))])
    assert left.nodes[0].free_gpus == 0


def test_held_instances_are_part_of_the_plan_and_of_its_rent():
    before = record([service("a"), service("b")], instance("b-1", of=template("default/b/phi-4")))
    found = inputs([service("a"), service("b", paused=True)], current=before)
    plan = allocation(
        instance("a-1", of=template("default/a/phi-4"), usd_per_hour=2.0),
        outcomes=(outcome("default/a/phi-4"),),
    )
    merged = with_held(plan, found)
    assert [i.name for i in merged.instances] == ["a-1", "b-1"]
    assert merged.rent_usd_per_hour == 3.0


def test_the_order_of_objects_does_not_change_the_hashes():
    a, b = service("a"), service("b")
    pools = (pool(("a", 4), ("b", 2)),)
    assert inputs([a, b], pools=pools).hashes == inputs([b, a], pools=pools).hashes


def test_each_kind_of_change_changes_the_hash_that_it_should():
    base = inputs([service()]).hashes
    capacity = inputs([service()], pools=(pool(("a", 3)),)).hashes
    assert (capacity.spec == base.spec, capacity.inputs == base.inputs) == (True, False)
    spec = inputs([service("chat", model(demand=2.0))]).hashes
    assert (spec.spec == base.spec, spec.inputs == base.inputs) == (False, False)
    image = inputs([service("chat", {**model(), "engine": {"image": "x/y:1"}})]).hashes
    assert (image.spec == base.spec, image.inputs == base.inputs) == (False, True)
    policy = inputs([service()], policy=PlanningPolicySpec(payback_horizon_seconds=60.0)).hashes
    assert (policy.spec == base.spec, policy.inputs == base.inputs) == (False, False)


def test_instances_in_force_do_not_change_the_hashes():
    """Else every plan would call for the next one."""
    before = made_from([service()], instance("i"))
    assert inputs([service()], current=before).hashes == before.hashes
