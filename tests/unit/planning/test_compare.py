"""Two plans side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.planning.support import cost, facts, instance, served

from coral_solver.planning.compare import compare_plans

LEVELS = (served(1.0), cost(10))


def test_instances_are_matched_by_what_they_are_and_where_not_by_name():
    before = facts(
        *LEVELS,
        instances=(
            instance("a-1", "n1"),
            instance("a-2", "n2"),
            instance("a-3", "n3"),
            instance("a-4", "n4", template="old"),
        ),
    )
    after = facts(
        *LEVELS,
        instances=(
            instance("x", "n1"),  # kept under another name
            instance("y", "n9"),  # n2 -> n9: moved; n3 stops
            instance("z", "n4", template="new"),
        ),
    )
    found = compare_plans(before, after)
    assert (found.kept, found.moved, found.started, found.stopped) == (1, 1, 1, 2)
    by_template = {item.template: item for item in found.models[0].instances}
    assert (by_template["t"].kept, by_template["t"].moved, by_template["t"].stopped) == (1, 1, 1)
    assert by_template["new"].started == 1
    assert by_template["old"].stopped == 1


def test_the_same_plan_under_other_names_does_not_differ():
    before = facts(*LEVELS, instances=(instance("a-1", "n1", "n2"),))
    after = facts(*LEVELS, instances=(instance("b-7", "n1", "n2"),))
    found = compare_plans(before, after)
    assert not found.differs
    assert not found.models[0].differs


@pytest.mark.parametrize(
    "after",
    [
        facts(served(1.0), cost(11), usd=11.0),
        facts(*LEVELS, unmet={"a": 1.0}),
        facts(*LEVELS, demand={"a": 10.0, "b": 1.0}),
        facts(*LEVELS, opened={"r1/L4x1/od": 1}),
        facts(*LEVELS, instances=(instance("a-1", "n2"),)),
    ],
    ids=["cost", "unmet", "model", "opened node", "node"],
)
def test_whatever_changes_makes_plans_differ(after):
    before = facts(*LEVELS, instances=(instance("a-1", "n1"),))
    assert compare_plans(before, after).differs


def test_a_model_in_one_plan_only_has_no_numbers_in_the_other():
    after = replace(facts(*LEVELS, demand={"a": 10.0, "b": 4.0}), usd_per_hour={"a": 6.0, "b": 4.0})
    found = compare_plans(facts(*LEVELS), after)
    added = next(model for model in found.models if model.model == "b")
    assert added.demand_req_per_s == (None, 4.0)
    assert added.usd_per_hour.change == pytest.approx(4.0)


def test_gpus_in_use_are_summed_by_pool():
    before = facts(*LEVELS, instances=(instance("a-1", "n1", "n2"), instance("a-2", "n3")))
    after = facts(*LEVELS, instances=(instance("a-1", "m1", pool="r1/T4x1/od"),))
    found = compare_plans(before, after)
    assert found.gpus_by_pool == {"r1/L4x1/od": (3, 0), "r1/T4x1/od": (0, 1)}
