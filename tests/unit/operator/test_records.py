"""ServingPlans are numbered, read back, and thrown away when they are old."""

from __future__ import annotations

from operator_builders import instance, plan_manifest, record, service

from coral_operator.planning.records import (
    Chain,
    Hashes,
    latest,
    plan_name,
    read_plan,
    to_prune,
)


def test_a_plan_is_read_back_as_it_was_written():
    made = instance("i", "a")
    read = read_plan(plan_manifest([service()], made, sequence=7))
    assert read is not None
    assert (read.chain, read.sequence, read.instances) == (Chain.ACTIVE, 7, (made,))
    assert read.hashes == Hashes(spec="s", inputs="i")


def test_the_highest_readable_number_of_the_chain_is_in_force():
    old, new = (plan_manifest([service()], instance("i"), sequence=n) for n in (9, 10))
    other = plan_manifest([service(mode="Shadow")], chain=Chain.SHADOW, sequence=99)
    edited = plan_manifest([service()], instance("i"), sequence=11)
    edited["spec"]["instances"][0]["template"] = "nobody-knows-it"
    found = latest([new, other, edited, old], Chain.ACTIVE)
    assert found is not None
    assert found.sequence == 10


def test_a_plan_by_another_hand_is_not_read_and_not_pruned():
    foreign = plan_manifest([service()], instance("i"))
    del foreign["metadata"]["labels"]
    assert read_plan(foreign) is None
    assert to_prune([foreign], 0, []) == []


def test_names_sort_by_age_and_tell_their_chain():
    hashes = Hashes(spec="s", inputs="i")
    names = [plan_name(Chain.ACTIVE, n, hashes) for n in (2, 10, 100)]
    assert names == sorted(names)
    assert names[0].startswith("active-000002-")


def test_the_history_keeps_the_newest_of_each_chain_and_what_is_in_force():
    active = [plan_manifest([service()], sequence=n) for n in range(1, 6)]
    shadow = [plan_manifest([service(mode="Shadow")], chain=Chain.SHADOW, sequence=1)]
    names = [m["metadata"]["name"] for m in active]
    # Five of them, two stay: the three oldest go, but for the one in force.
    assert to_prune([*active, *shadow], 2, [names[1]]) == [names[0], names[2]]


def test_a_plan_knows_its_services():
    known = record([service("a", generation=3)])
    from coral_operator.planning.inputs import ServiceRef

    planned = known.planned_service(ServiceRef("default", "a"))
    assert planned is not None
    assert planned.generation == 3
    assert known.planned_service(ServiceRef("default", "b")) is None
