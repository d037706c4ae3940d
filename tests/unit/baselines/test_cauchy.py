"""Combinations of prefill and decode replicas, homogeneous per phase."""

from __future__ import annotations

import pytest
from tests.unit.allocation.support import config, model, pool, problem, running, source, template

from coral_solver.allocation.check import check_plan
from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.cauchy import (
    MOST_REPLICAS,
    cauchy,
    cauchy_greedy,
    cauchy_model_by_model,
    cauchy_options,
    cauchy_problem,
)
from coral_solver.baselines.homogeneous import homogeneous
from coral_solver.baselines.run import BASELINES, PHASE_BASELINES, run_baselines
from coral_solver.domain.plan import SolveStatus
from coral_solver.domain.workload import Phase, ServingMode

L4, T4, A10 = config("L4"), config("T4"), config("A10")
PREFILL, DECODE = Phase.PREFILL, Phase.DECODE
DISAGGREGATED = ServingMode.DISAGGREGATED
POOLS = [pool("L4", 1, [1] * 8), pool("T4", 1, [1] * 8, gpu_usd=0.5)]
TEMPLATES = [
    template("a", 1.0, L4, phase=PREFILL),  # 1 USD
    template("a", 0.4, T4, phase=PREFILL),  # 0.5 USD
    template("a", 2.0, L4, phase=DECODE),
    template("a", 1.5, T4, phase=DECODE),
]


def asked(demand: float, name: str = "a", serving: ServingMode = DISAGGREGATED):
    return model(name, demand, serving=serving)


def test_the_best_goodput_per_usd_is_taken_until_the_target_is_met():
    # A prefill L4 and a decode T4 carry 1 for 1.5 USD: 0.667 per USD. Less: 2 and 1 of these
    # (1.5/2.5), 2 L4 and 1 L4 (1.9/3), 4 T4 and 1 T4 (1.5/2.5).
    templates = [*TEMPLATES[:2], template("a", 1.9, L4, phase=DECODE), TEMPLATES[3]]
    plan = cauchy_greedy(problem([asked(3)], POOLS), source(*templates), capped=False)
    kinds = sorted((i.template.phase, i.template.configs[0].gpu) for i in plan.instances)
    assert kinds == [(DECODE, "T4")] * 3 + [(PREFILL, "L4")] * 3
    assert plan.rent_usd_per_hour == pytest.approx(4.5)
    assert plan.unmet_req_per_s == {"ns/svc/a": 0}
    assert plan.status is SolveStatus.FEASIBLE


def test_goodput_beyond_the_target_counts_only_where_it_is_not_capped():
    # 4 prefill L4 and a decode A10 carry 4 for 6 USD (0.667 per USD), an L4 and a T4 carry 1 for
    # 1.8 USD (0.556 per USD). For 1 req/s the small one is enough.
    pools = [
        pool("L4", 1, [1] * 8),
        pool("T4", 1, [1] * 8, gpu_usd=0.8),
        pool("A10", 1, [1] * 8, gpu_usd=2.0),
    ]
    templates = [
        template("a", 1, L4, phase=PREFILL),
        template("a", 1, T4, phase=DECODE),
        template("a", 4, A10, phase=DECODE),
    ]
    given = problem([asked(1)], pools)
    uncapped = cauchy_greedy(given, source(*templates), capped=False)
    capped = cauchy_greedy(given, source(*templates), capped=True)
    assert uncapped.rent_usd_per_hour == pytest.approx(4 + 2)
    assert capped.rent_usd_per_hour == pytest.approx(1 + 0.8)


def test_superfluous_combinations_are_dropped():
    # A pair of L4 carries 1 for 2 USD and goes first; then only the pair of A10 fits, which
    # carries 3 for 8 USD: the target of 3 without the L4.
    pools = [pool("L4", 1, [1] * 2), pool("A10", 1, [1] * 2, gpu_usd=4.0)]
    templates = [
        template("a", rate, gpu, phase=phase)
        for gpu, rate in ((L4, 1), (A10, 3))
        for phase in (PREFILL, DECODE)
    ]
    plan = cauchy_greedy(problem([asked(3)], pools), source(*templates), capped=False)
    assert {i.template.configs for i in plan.instances} == {(A10,)}
    assert plan.rent_usd_per_hour == pytest.approx(8)


def test_a_combination_lies_in_one_region_and_has_few_replicas():
    pools = [pool("L4", 1, [1] * 3, region="r1"), pool("L4", 1, [1] * 3, region="r2")]
    templates = [template("a", 1, L4, phase=PREFILL), template("a", 1, L4, phase=DECODE)]
    plan = cauchy_greedy(problem([asked(3)], pools), source(*templates), capped=True)
    # 3 GPUs a region: one pair each, and one GPU each that no pair fits on.
    assert plan.unmet_req_per_s["ns/svc/a"] == pytest.approx(1)
    assert {(i.region, i.template.phase) for i in plan.instances} == {
        (region, phase) for region in ("r1", "r2") for phase in (PREFILL, DECODE)
    }
    one = [pool("L4", 1, [1] * 20)]
    weak = [template("a", 0.5, L4, phase=PREFILL), template("a", 5, L4, phase=DECODE)]
    plan = cauchy_greedy(problem([asked(5)], one), source(*weak), capped=True)
    # 10 prefill replicas in combinations of at most 4 with 1 decode replica each: 3 of those.
    assert MOST_REPLICAS == 4
    phases = [i.template.phase for i in plan.instances]
    assert (phases.count(PREFILL), phases.count(DECODE)) == (10, 3)


def test_models_take_their_turn_and_later_ones_get_what_is_left():
    templates = [
        *(template(name, 1, L4, phase=phase) for name in "ab" for phase in (PREFILL, DECODE)),
    ]
    pools = [pool("L4", 1, [1] * 3)]
    plan = cauchy_greedy(
        problem([asked(1, "a"), asked(1, "b")], pools), source(*templates), capped=True
    )
    assert plan.unmet_req_per_s == {"ns/svc/a": 0, "ns/svc/b": 1}


def test_exact_forms_choose_phases_independently_and_cost_no_more_than_the_rule():
    # 2.5 req/s: prefill 2 L4 and 2 T4 (2.8; 3 USD) or 3 L4 (3 USD), decode 2 T4 (1 USD).
    given = problem([asked(2.5)], POOLS)
    exact = cauchy(given, source(*TEMPLATES))
    alone = cauchy_model_by_model(given, source(*TEMPLATES))
    assert exact.status is SolveStatus.OPTIMAL
    assert exact.rent_usd_per_hour == pytest.approx(4.0)
    assert alone.rent_usd_per_hour == pytest.approx(4.0)
    assert exact.rent_usd_per_hour == pytest.approx(
        homogeneous(given, source(*TEMPLATES)).rent_usd_per_hour
    )
    for capped in (False, True):
        rule = cauchy_greedy(given, source(*TEMPLATES), capped=capped)
        assert rule.rent_usd_per_hour >= exact.rent_usd_per_hour - 1e-9


def test_phases_pair_inside_a_region_even_where_the_paper_sums_them():
    pools = [pool("L4", 1, [1], region="r1"), pool("T4", 1, [1], region="r2")]
    templates = [template("a", 1, L4, phase=PREFILL), template("a", 1, T4, phase=DECODE)]
    given = problem([asked(1)], pools)
    options = AllocationOptions(sum_regions=True)
    assert homogeneous(given, source(*templates), options=options).unmet_req_per_s["ns/svc/a"] == 0
    for peer in (cauchy, cauchy_model_by_model):
        plan = peer(given, source(*templates), options=options)
        assert plan.unmet_req_per_s["ns/svc/a"] == 1
        check_plan(cauchy_problem(given), plan, options=cauchy_options(options))


def test_auto_models_are_served_apart_and_aggregated_ones_as_they_allow():
    templates = [template("a", 5, L4), *TEMPLATES, template("b", 1, T4)]
    given = problem([asked(1, "a", ServingMode.AUTO), asked(1, "b", ServingMode.AGGREGATED)], POOLS)
    for peer in (cauchy, cauchy_model_by_model):
        plan = peer(given, source(*templates))
        assert {i.template.phase for i in plan.instances if i.template.model_id == "ns/svc/a"} == {
            PREFILL,
            DECODE,
        }
        assert plan.unmet_req_per_s == {"ns/svc/a": 0, "ns/svc/b": 0}
    rule = cauchy_greedy(given, source(*templates), capped=True)
    assert rule.unmet_req_per_s == {"ns/svc/a": 0, "ns/svc/b": 0}


def test_a_model_without_a_pair_has_no_template():
    given = problem([asked(1)], POOLS)
    plan = cauchy_greedy(given, source(TEMPLATES[0]), capped=True)
    assert plan.outcomes[0].reason == "NoTemplate"
    assert plan.instances == ()


def test_what_runs_is_not_kept_and_its_names_are_not_given_again():
    given = problem([asked(1)], POOLS)
    first = cauchy_greedy(given, source(*TEMPLATES), capped=True)
    l4 = POOLS[0]
    held = [running(i.name, i.template, l4, l4.nodes[0].name) for i in first.instances]
    again = cauchy_greedy(
        problem([asked(1)], POOLS, in_force=held), source(*TEMPLATES), capped=True
    )
    assert not {i.name for i in again.instances} & {i.name for i in held}


def test_elastic_pools_open_nodes_for_combinations():
    elastic = [pool("L4", 2, [2], max_nodes=4)]
    templates = [template("a", 1, L4, phase=PREFILL), template("a", 1, L4, phase=DECODE)]
    plan = cauchy_greedy(problem([asked(3)], elastic), source(*templates), capped=True)
    # 6 GPUs on 2-GPU nodes: the one that exists and two more, 2 USD each.
    assert plan.opened_nodes == {elastic[0].name: 3}
    assert plan.rent_usd_per_hour == pytest.approx(6)


def test_cauchy_is_among_the_peers_only_where_phases_may_be_apart():
    templates = [template("a", 5, L4), *TEMPLATES]
    together = run_baselines(
        problem([asked(1, serving=ServingMode.AGGREGATED)], POOLS), source(*templates)
    )
    apart = run_baselines(problem([asked(1)], POOLS), source(*templates))
    assert list(together) == list(BASELINES)
    assert list(apart) == [*BASELINES, *PHASE_BASELINES]
