"""When GPUs are short: who gets what, wishes last, and what is said about it."""

from __future__ import annotations

import pytest
from tests.unit.allocation.support import (
    config,
    levels,
    model,
    outcome,
    pool,
    problem,
    running,
    shares_of,
    source,
    template,
)

from coral_solver.allocation import pool as pool_module
from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.budget import BudgetBound
from coral_solver.allocation.ground import build_ground
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.shares import Raise, ShareBounds
from coral_solver.domain.errors import SolverError
from coral_solver.domain.plan import Policy, ScarcityPolicy, SolveStatus
from coral_solver.domain.workload import Phase, ServingMode

L4, L4X2, L4X4 = config("L4"), config("L4", 2), config("L4", 4)
T4 = config("T4")
DISAGGREGATED, AUTO = ServingMode.DISAGGREGATED, ServingMode.AUTO
PRIORITY = Policy(scarcity=ScarcityPolicy.PRIORITY)


def test_scarce_gpus_are_shared_in_proportion_to_demand():
    # 6 GPUs of 1 req/s for demands of 4 and 8: shares 1/2 and 1/2.
    given = problem([model("a", 4), model("b", 8)], [pool("L4", 1, [1] * 6)])
    plan = allocate(given, source(template("a", 1, L4), template("b", 1, L4)))
    assert outcome(plan, "a").unmet_req_per_s == pytest.approx(2)
    assert outcome(plan, "b").unmet_req_per_s == pytest.approx(4)
    assert levels(plan)["served_share"] == pytest.approx(0.5)
    assert levels(plan)["served_share_2"] == pytest.approx(0.5)


def test_what_the_worst_off_model_cannot_use_goes_to_the_next():
    # Model a runs on the single T4 only (share 1/4); b and c share four L4: 2 of 4 each.
    models = [model("a", 4), model("b", 4), model("c", 4)]
    templates = [template("a", 1, T4), template("b", 1, L4), template("c", 1, L4)]
    given = problem(models, [pool("T4", 1, [1]), pool("L4", 1, [1] * 4)])
    plan = allocate(given, source(*templates))
    assert shares_of(plan) == pytest.approx([0.25, 0.5, 0.5])
    assert [i.template.model_id[-1] for i in plan.instances].count("b") == 2


def test_under_priority_a_lower_class_gets_what_the_higher_one_leaves():
    models = [model("a", 4, priority=1), model("b", 8, priority=5)]
    given = problem(models, [pool("L4", 1, [1] * 10)], policy=PRIORITY)
    plan = allocate(given, source(template("a", 1, L4), template("b", 1, L4)))
    assert outcome(plan, "b").reason == "Served"
    assert outcome(plan, "a").capacity_req_per_s == pytest.approx(2)
    assert levels(plan)["served_share_p5"] == 1
    assert levels(plan)["served_share_p1"] == pytest.approx(0.5)


def test_inside_a_priority_class_shares_are_leximin():
    models = [model("a", 4, priority=1), model("b", 4, priority=1), model("c", 9, priority=9)]
    given = problem(models, [pool("L4", 1, [1] * 13)], policy=PRIORITY)
    templates = [template(name, 1, L4) for name in "abc"]
    plan = allocate(given, source(*templates))
    assert [outcome(plan, n).capacity_req_per_s for n in "abc"] == pytest.approx([2, 2, 9])


def test_headroom_comes_after_every_raw_demand():
    # Five GPUs: a and b want 2 each, a wants one more as headroom (2 x 1.5 = 3).
    models = [model("a", 2, headroom=0.5), model("b", 2)]
    templates = [template("a", 1, L4), template("b", 1, L4)]
    plan = allocate(problem(models, [pool("L4", 1, [1] * 4)]), source(*templates))
    assert shares_of(plan) == [1, 1]
    # The target of 3 is missed by 1.
    assert levels(plan)["soft_shortfall"] == pytest.approx(1 / 3)
    assert "headroom" in outcome(plan, "a").message
    plan = allocate(problem(models, [pool("L4", 1, [1] * 5)]), source(*templates))
    assert outcome(plan, "a").capacity_req_per_s == pytest.approx(3)
    assert levels(plan)["soft_shortfall"] == 0


def test_replicas_run_without_demand_and_in_pairs_when_disaggregated():
    models = [
        model("a", 0, min_replicas=2),
        model("b", 0, min_replicas=1, serving=DISAGGREGATED),
        model("c", 0),
    ]
    templates = [
        template("a", 1, L4X2),
        template("a", 0.2, L4),
        template("b", 1, L4, phase=Phase.PREFILL),
        template("b", 1, L4, phase=Phase.DECODE),
        template("c", 1, L4),
    ]
    plan = allocate(problem(models, [pool("L4", 4, [4, 4])]), source(*templates))
    # Two single GPUs for a, one prefill and one decode for b, nothing for c.
    assert plan.cost_usd_per_hour == pytest.approx(4)
    assert {o.reason for o in plan.outcomes} == {"NoDemand"}
    assert [o.message for o in plan.outcomes] == [
        "no demand; what runs is for minReplicas (2)",
        "no demand; what runs is for minReplicas (1)",
        "no demand",
    ]


def test_replicas_that_cannot_run_without_demand_are_explained():
    asked = [model("a", 0, min_replicas=2)]
    plan = allocate(problem(asked, [pool("L4", 1, [1])]), source())
    assert outcome(plan).reason == "NoDemand"
    assert outcome(plan).message.startswith(
        "no demand; 0 of 2 wanted replicas run; no placement on L4 holds tiny"
    )
    plan = allocate(problem(asked, [pool("L4", 1, [1])]), source(template("a", 1, L4)))
    assert outcome(plan).message == (
        "no demand; 1 of 2 wanted replicas run; no GPU is left in the pools it could use "
        "(r1/L4x1-pcie/on-demand); one more copy takes at least 1 GPU, for example 1 L4: add "
        "nodes, allow more GPU types, or ask for less"
    )


@pytest.mark.parametrize(
    ("given", "least"),
    [
        ([template("a", 1, L4X2), template("a", 9, L4X4)], "2 GPUs, for example 2 L4 of one node"),
        (
            [template("a", 1, L4X2, L4X2, T4)],
            "5 GPUs, for example 2 times 2 L4 of one node and 1 T4",
        ),
        # Whole copies take two GPUs, a pair of prefill and decode three.
        (
            [
                template("a", 1, L4X2),
                template("a", 1, L4X2, phase=Phase.PREFILL),
                template("a", 1, T4, phase=Phase.DECODE),
            ],
            "2 GPUs, for example 2 L4 of one node",
        ),
        (
            [
                template("a", 1, L4X2, phase=Phase.PREFILL),
                template("a", 1, T4, phase=Phase.DECODE),
            ],
            "3 GPUs, for example 2 L4 of one node for prefill and 1 T4 for decode",
        ),
    ],
)
def test_a_shortage_names_what_is_left_beside_the_smallest_need(given, least):
    # Two L4 are free, but each on its own node; no T4 is.
    pools = [pool("L4", 4, [1, 1]), pool("T4", 1, [0])]
    plan = allocate(problem([model("a", 5, serving=AUTO)], pools), source(*given))
    assert outcome(plan).reason == "CapacityShort"
    assert outcome(plan).message == (
        "0 of 5 req/s can be served; GPUs left in the pools it could use "
        "(r1/L4x4-pcie/on-demand: 2 (at most 1 on one node)); one more copy takes at least "
        f"{least}: add nodes, allow more GPU types, or ask for less"
    )


def test_what_stays_of_a_model_without_templates_is_no_shortage_of_gpus():
    l4 = pool("L4", 1, [1, 1])
    old = running("a-0000-1", template("a", 1, L4), l4, "r1-l4x1-on-demand-0")
    plan = allocate(problem([model(demand=3)], [l4], in_force=[old]), source())
    assert outcome(plan).reason == "CapacityShort"
    assert outcome(plan).message.startswith("1 of 3 req/s can be served; no placement on L4")


def test_missing_replicas_are_a_stated_shortfall():
    plan = allocate(
        problem([model("a", 1, min_replicas=4)], [pool("L4", 1, [1])]), source(template("a", 1, L4))
    )
    assert levels(plan)["soft_shortfall"] == pytest.approx(0.75)
    assert "1 of 4 wanted replicas" in outcome(plan).message


def on_one_t4_and_four_l4():
    """Model a runs on the single T4 only (share 1/4); b and c share four L4: 2 of 4 each."""
    models = [model("a", 4), model("b", 4), model("c", 4)]
    templates = [template("a", 1, T4), template("b", 1, L4), template("c", 1, L4)]
    return problem(models, [pool("T4", 1, [1]), pool("L4", 1, [1] * 4)]), source(*templates)


def test_prices_prove_which_model_is_stuck():
    ground = build_ground(*on_one_t4_and_four_l4(), AllocationOptions())
    shares = ShareBounds(ground, {}, time_left_s=lambda: 60.0)
    floors = dict.fromkeys(range(3), 0.25)
    assert shares.is_impossible(Raise(floors, frozenset({0}), 0), 0.26)
    assert not shares.is_impossible(Raise(floors, frozenset({0}), 0), 0.25)
    assert not shares.is_impossible(Raise(floors, frozenset({1}), 0), 0.5)
    assert shares.is_impossible(Raise(floors, frozenset({1, 2}), 0), 0.6)


def test_stuck_models_leave_the_levels_of_the_others_exact(monkeypatch):
    monkeypatch.setattr(pool_module, "_EVERYTHING", 0)
    plan = allocate(*on_one_t4_and_four_l4())
    assert shares_of(plan) == pytest.approx([0.25, 0.5, 0.5])
    assert plan.status is SolveStatus.OPTIMAL


def gives_up(*_args, **_kwargs):
    raise SolverError("too many templates are worth a look")


def test_a_pricer_that_gives_up_on_the_shares_leaves_a_plan_with_an_open_gap(monkeypatch):
    monkeypatch.setattr(pool_module, "_EVERYTHING", 0)
    monkeypatch.setattr(ShareBounds, "_evaluate", gives_up)
    plan = allocate(*on_one_t4_and_four_l4())
    assert plan.status is SolveStatus.FEASIBLE
    assert plan.instances


def test_a_pricer_that_gives_up_on_a_budget_leaves_a_plan_with_an_open_gap(monkeypatch):
    given, offered = on_one_t4_and_four_l4()
    monkeypatch.setattr(pool_module, "_EVERYTHING", 0)
    monkeypatch.setattr(BudgetBound, "_evaluate", gives_up)
    within = problem(given.models, given.pools, policy=Policy(budget_usd_per_hour=2.0))
    plan = allocate(within, offered)
    assert plan.status is SolveStatus.FEASIBLE
    assert plan.rent_usd_per_hour <= 2.0
