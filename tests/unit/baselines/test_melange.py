"""One integer program per model, with and without a look at what there is."""

from __future__ import annotations

from functools import partial

import pytest
from tests.unit.allocation.support import config, model, pool, problem, running, source, template

from coral_solver.allocation.check import check_plan
from coral_solver.baselines import run
from coral_solver.baselines.cauchy import cauchy_greedy
from coral_solver.baselines.homogeneous import homogeneous, homogeneous_problem
from coral_solver.baselines.melange import melange, melange_unbounded
from coral_solver.baselines.run import run_baselines
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import Policy, ScarcityPolicy, SolveStatus
from coral_solver.domain.workload import ServingMode

L4, T4 = config("L4"), config("T4")
POOLS = [pool("L4", 1, [1, 1]), pool("T4", 1, [1] * 4, gpu_usd=0.8)]
TEMPLATES = [
    template("a", 2, L4),  # 2 per USD
    template("a", 1, T4),  # 1.25 per USD
    template("b", 2, L4),
    template("b", 0.5, T4),
]


def both(demand_a: float, demand_b: float, **more):
    return problem([model("a", demand_a), model("b", demand_b)], POOLS, **more)


def test_models_are_solved_one_after_the_other():
    # Model a, first by id, takes both L4 (2 USD for 4 req/s; with T4: 1 + 2 * 0.8 = 2.6).
    # b is left with four T4: 2 of its 4 req/s. Together: a on four T4 (3.2), b on both L4 (2).
    plan = melange(both(4, 4), source(*TEMPLATES))
    assert plan.unmet_req_per_s == {"ns/svc/a": 0, "ns/svc/b": pytest.approx(2)}
    assert plan.status is SolveStatus.FEASIBLE
    assert "each proven alone" in plan.bound_scope
    together = homogeneous(both(4, 4), source(*TEMPLATES))
    assert sum(together.unmet_req_per_s.values()) == 0
    assert together.rent_usd_per_hour == pytest.approx(3.2 + 2)


def test_a_higher_class_has_the_first_turn():
    given = problem(
        [model("a", 4), model("b", 4, priority=1)],
        POOLS,
        policy=Policy(scarcity=ScarcityPolicy.PRIORITY),
    )
    plan = melange(given, source(*TEMPLATES))
    assert plan.unmet_req_per_s == {"ns/svc/a": 0, "ns/svc/b": 0}


def test_the_published_form_asks_for_what_is_not_there():
    # Two L4 for each model, and there are two.
    endless = melange_unbounded(both(4, 4), source(*TEMPLATES))
    assert endless.plan.rent_usd_per_hour == pytest.approx(4)
    assert endless.homeless_slices == 2
    assert melange_unbounded(both(2, 2), source(*TEMPLATES)).homeless_slices == 0


def test_the_published_form_is_never_dearer_than_the_bounded_one():
    given = both(3, 2)
    bounded = melange(given, source(*TEMPLATES))
    assert sum(bounded.unmet_req_per_s.values()) == 0
    endless = melange_unbounded(given, source(*TEMPLATES))
    assert endless.plan.rent_usd_per_hour <= bounded.rent_usd_per_hour + 1e-9


def test_what_runs_stays_where_it_pays():
    l4 = POOLS[0]
    held = running("a-1", TEMPLATES[0], l4, l4.nodes[0].name)
    given = both(2, 2, in_force=[held])
    plan = melange(given, source(*TEMPLATES))
    assert "a-1" in {i.name for i in plan.instances}
    check_plan(homogeneous_problem(given), plan)


def test_a_model_without_templates_is_named():
    plan = melange(both(1, 1), source(*TEMPLATES[:2]))
    reasons = {outcome.model_id: outcome.reason for outcome in plan.outcomes}
    assert reasons == {"ns/svc/a": "Served", "ns/svc/b": "NoTemplate"}


def test_elastic_nodes_that_an_earlier_model_pays_are_its_own():
    # Model a opens one node of two GPUs for one slice; b may open the other one of two.
    pools = [pool("L4", 2, [], max_nodes=2)]
    given = problem([model("a", 2), model("b", 2)], pools)
    plan = melange(given, source(*TEMPLATES))
    assert sum(plan.unmet_req_per_s.values()) == 0
    # Packed together they would fit on one node: what is paid is what is used in the end.
    assert plan.opened_nodes == {pools[0].name: 1}
    assert plan.rent_usd_per_hour == pytest.approx(2)


def test_existing_elastic_nodes_and_kept_wishes_pass_the_checker():
    pools = [pool("L4", 2, [2, 1], max_nodes=3, start_time_s=600)]
    given = problem([model("a", 2, min_replicas=2, headroom=0.5), model("b", 2)], pools)
    plan = melange(given, source(*TEMPLATES))
    check_plan(given, plan)
    assert sum(plan.unmet_req_per_s.values()) == 0


def test_the_rule_over_all_templates_is_left_out_where_there_are_too_many(monkeypatch):
    assert "greedy_joint" in run_baselines(both(1, 1), source(*TEMPLATES))
    monkeypatch.setattr(run, "MOST_TEMPLATES_BY_RULE", len(TEMPLATES) - 1)
    assert "greedy_joint" not in run_baselines(both(1, 1), source(*TEMPLATES))


def test_a_budget_is_refused_where_the_rule_knows_none():
    given = both(1, 1, policy=Policy(budget_usd_per_hour=1.5))
    for peer in (melange, melange_unbounded, partial(cauchy_greedy, capped=True)):
        with pytest.raises(InvalidInputError, match="knows no budget"):
            peer(given, source(*TEMPLATES))


def test_with_a_budget_the_peers_that_know_none_are_left_out():
    given = problem(
        [model("a", 4, serving=ServingMode.AUTO)], POOLS, policy=Policy(budget_usd_per_hour=1.5)
    )
    plans = run_baselines(given, source(*TEMPLATES))
    assert {"homogeneous", "greedy_joint", "cauchy"} <= set(plans)
    assert not set(plans) & set(run.WITHOUT_BUDGET)
    assert all(plan.rent_usd_per_hour <= 1.5 + 1e-9 for plan in plans.values())
