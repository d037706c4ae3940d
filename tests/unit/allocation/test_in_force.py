"""Instances in force: what is kept, what moves, whose prediction counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.allocation.support import (
    config,
    model,
    outcome,
    pool,
    problem,
    running,
    shares_of,
    source,
    template,
)

from coral_solver.allocation.allocate import allocate
from coral_solver.domain.plan import Policy, SolveStatus
from coral_solver.domain.workload import LengthDistribution, ServingMode, Slo, Workload

L4, L4X2, L4X4 = config("L4"), config("L4", 2), config("L4", 4)
T4 = config("T4")
LONGER = LengthDistribution.from_mean(200)
DISAGGREGATED = ServingMode.DISAGGREGATED


def test_an_instance_in_force_stays_until_moving_pays():
    # L4 at 1.0 runs; T4 at 0.9 would save 0.1 an hour, starting it costs 0.9 x 300 / 3600 = 0.075.
    l4 = pool("L4", 1, [1, 1])
    t4 = pool("T4", 1, [1], gpu_usd=0.9, start_time_s=300)
    a_l4, a_t4 = template("a", 1, L4), template("a", 1, T4)
    old = running("a-0000-1", a_l4, l4, "r1-l4x1-on-demand-1")
    given = problem([model()], [l4, t4], in_force=[old])
    plan = allocate(given, source(a_l4, a_t4))
    assert [i.template.config_counts[T4] for i in plan.instances] == [1]
    assert plan.switching_usd_per_hour == pytest.approx(0.075)
    slower = problem([model()], [l4, replace(t4, start_time_s=480)], in_force=[old])
    plan = allocate(slower, source(a_l4, a_t4))  # starting now costs 0.12
    assert plan.instances == (old,)
    assert plan.switching_usd_per_hour == 0


def test_a_longer_payback_horizon_moves_earlier():
    l4, t4 = pool("L4", 1, [1]), pool("T4", 1, [1], gpu_usd=0.9, start_time_s=480)
    templates = [template("a", 1, L4), template("a", 1, T4)]
    old = running("a-0000-1", templates[0], l4, "r1-l4x1-on-demand-0")
    given = problem([model()], [l4, t4], in_force=[old], policy=Policy(payback_horizon_s=7200))
    plan = allocate(given, source(*templates))
    assert plan.instances[0].template is templates[1]


def test_templates_in_force_that_the_source_forgot_are_kept():
    l4 = pool("L4", 1, [1, 1], start_time_s=360)
    old = running("a-0000-1", template("a", 1, L4), l4, "r1-l4x1-on-demand-0")
    plan = allocate(problem([model()], [l4], in_force=[old]), source())
    assert plan.instances == (old,)
    assert outcome(plan).reason == "Served"


CHANGED_TARGETS = [
    {"slo": Slo(ttft_s=1.0, tpot_s=0.05)},
    {"workload": Workload(input_tokens=LONGER, output_tokens=LONGER)},
    {"max_model_len_tokens": 1024},
]


@pytest.mark.parametrize("change", CHANGED_TARGETS)
def test_a_prediction_for_other_targets_that_the_source_forgot_is_not_trusted(change):
    l4 = pool("L4", 1, [1, 1], start_time_s=360)
    old = running("a-0000-1", template("a", 1, L4), l4, "r1-l4x1-on-demand-0")
    changed = problem([replace(model(), **change)], [l4], in_force=[old])
    assert allocate(changed, source()).instances == ()


@pytest.mark.parametrize("change", CHANGED_TARGETS)
def test_where_the_targets_change_the_sources_prediction_of_the_same_template_counts(change):
    l4 = pool("L4", 1, [1, 1], start_time_s=360)
    old = running("a-0000-1", template("a", 1, L4), l4, "r1-l4x1-on-demand-0")
    now = replace(model(), **change)
    half = replace(template("a", 0.5, L4), made_for=now.targets_digest)
    assert half.id == old.template.id
    plan = allocate(problem([now], [l4], in_force=[old]), source(half))
    # The old one stays with half of its capacity, and a new one beside it carries the rest.
    assert replace(old, template=half) in plan.instances
    assert [i.template.capacity_req_per_s for i in plan.instances] == [0.5, 0.5]


@pytest.mark.parametrize(
    "change",
    [
        {"pools": ()},
        {"pools": (pool("L4", 1, [0]),)},
        {"models": ()},
        {"models": (model(allowed=frozenset({"H100"})),)},
        {"models": (model(serving=DISAGGREGATED),)},
        {"models": (replace(model(), arch=replace(model().arch, layers=13)),)},
    ],
)
def test_what_is_in_force_goes_when_its_ground_is_gone(change):
    l4 = pool("L4", 1, [1, 1])
    old = running("a-0000-1", template("a", 1, L4), l4, "r1-l4x1-on-demand-0")
    given = replace(problem([model()], [l4], in_force=[old]), **change)
    assert allocate(given, source()).instances == ()


def test_an_instance_whose_node_is_full_now_starts_anew_elsewhere():
    l4 = pool("L4", 1, [0, 1])
    old = running("a-0000-1", template("a", 1, L4), l4, "r1-l4x1-on-demand-0")
    plan = allocate(problem([model()], [l4], in_force=[old]), source(old.template))
    assert plan.instances[0].name != old.name
    assert plan.instances[0].slices[0].node == "r1-l4x1-on-demand-1"


def test_instances_that_share_a_node_leave_exactly_what_is_free():
    # Node of 4: two singles in force. A x2 fits beside them, a x4 only without both.
    l4 = pool("L4", 4, [4], start_time_s=360)
    single = template("a", 1, L4)
    old = [running(f"a-0000-{i}", single, l4, "r1-l4x4-on-demand-0") for i in (1, 2)]
    beside = problem([model("a", 2), model("b", 1)], [l4], in_force=old)
    plan = allocate(beside, source(single, template("b", 1, L4X2)))
    assert shares_of(plan) == [1, 1]
    assert set(old) <= set(plan.instances)
    plan = allocate(beside, source(single, template("b", 1, L4X4)))
    # b needs the whole node; a and b cannot both be served: leximin gives a its one or two.
    assert shares_of(plan) == pytest.approx([0, 1])


def test_one_of_two_scattered_instances_moves_when_that_makes_room():
    # Two nodes of 4, one single on each; a x4 needs a whole node. Moving one single costs
    # 1 USD x 360 / 3600 = 0.1; the x4 costs 4 + 0.4.
    l4 = pool("L4", 4, [4, 4], start_time_s=360)
    single = template("a", 1, L4)
    old = [running(f"a-0000-{i}", single, l4, f"r1-l4x4-on-demand-{i}") for i in (0, 1)]
    given = problem([model("a", 2), model("b", 1)], [l4], in_force=old)
    plan = allocate(given, source(single, template("b", 1, L4X4)))
    assert shares_of(plan) == [1, 1]
    assert len(set(old) & set(plan.instances)) == 1
    assert plan.switching_usd_per_hour == pytest.approx(0.5)
    assert plan.status is SolveStatus.OPTIMAL


def test_a_plan_in_force_does_not_change_for_nothing():
    pools = [pool("L4", 4, [4, 3], start_time_s=300), pool("T4", 1, [1] * 3, gpu_usd=0.5)]
    templates = [
        template("a", 1, L4),
        template("a", 2.5, L4X2),
        template("b", 1.5, L4, T4),
        template("b", 0.7, T4),
    ]
    given = problem([model("a", 4), model("b", 2)], pools)
    first = allocate(given, source(*templates))
    again = allocate(replace(given, in_force=first.instances), source(*templates))
    assert again.instances == first.instances
    assert again.switching_usd_per_hour == 0
