"""Invariants of stage 2 on random problems; numbered, so that docs and faults can name them.

1. Every plan passes the checker and is proven.
2. No node gives more than it has, and elastic pools open no more than they may (counted anew here).
3. The cost never rises by more than the gap when a price falls.
4. Nor when capacity is added; nobody is served less then.
5. More demand is never cheaper.
6. The order of the input does not matter.
7. The same input gives the same plan, in this process and in another.
8. No plan beats the linear relaxation, and the bound of a level is on its right side.
9. No peer is better than the joint plan.
10. A plan in force stays when nothing changes.
11. Whatever is in force, the plan is checked and serves no less than from nothing.
12. A rule's plan is a plan too, and its bounds are no promise.
13. Tiny problems: the plan is as good as the best of all plans (`exhaustive.py`).
14. More templates never cost more, and nobody is served less (test_planner.py).
15. Serving a model either way is never worse than one way (test_planner.py).

Random problems have fixed and elastic pools with partly used nodes, prefill, decode and aggregated
templates of up to three node configurations, both scarcity policies, both rules for regions and for
parts of nodes, and in half of the cases another plan in force with a switching charge. The checker
itself: tests/unit/allocation/test_check_fields.py. The same through the planner, with real
templates: test_planner.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ortools.math_opt.python import mathopt
from tests.property.exhaustive import Exhaustive
from tests.property.strategies import MODELS, problems, run, scenarios, tiny_scenarios
from tests.unit.allocation.support import shares_of, source

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.check import check_plan
from coral_solver.allocation.columns import build_space
from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.solver import _to_proto
from coral_solver.baselines.run import run_baselines
from coral_solver.domain.hardware import PoolNode, PoolScaling
from coral_solver.domain.plan import ScarcityPolicy, SolveStatus

GAP = 1e-4
SLACK = 2 * GAP + 1e-6


def value(plan, level):
    return next(entry.value for entry in plan.objective if entry.level == level)


def all_levels(plan):
    return [(entry.level, entry.value) for entry in plan.objective]


def serves_all(plan):
    return all(o.unmet_req_per_s == 0 for o in plan.outcomes)


def plain(given_problem):
    """Return the problem with raw demands only: one level of service, then the cost."""
    models = tuple(replace(m, headroom=0.0, min_replicas=0) for m in given_problem.models)
    return replace(given_problem, models=models)


@run
@given(scenarios())
def test_1_every_plan_passes_the_checker_and_is_proven(scenario):
    plan = scenario.solve()
    check_plan(scenario.problem, plan, options=scenario.options)
    assert plan.status is SolveStatus.OPTIMAL


@run
@given(scenarios())
def test_2_no_node_gives_more_than_it_has(scenario):
    plan = scenario.solve()
    free = {(p.key, n.name): n.free_gpus for p in scenario.problem.pools for n in p.nodes}
    waiting = defaultdict(list)
    for instance in plan.instances:
        parts = [c for stage in instance.template.stages for c in stage.configs]
        for part, (key, node) in zip(parts, instance.slices, strict=True):
            if node is None:
                waiting[key].append(part.gpu_count)
            else:
                free[key, node] -= part.gpu_count
            if scenario.options.whole_nodes_only:
                assert key.gpus_per_node == part.gpu_count
    assert min(free.values(), default=0) >= 0
    for pool in scenario.problem.pools:
        if waiting[pool.key]:
            # First fit, largest first: exact for sizes that are powers of two.
            opened = [0] * (pool.max_nodes - len(pool.nodes))
            for size in sorted(waiting[pool.key], reverse=True):
                fits = [i for i, n in enumerate(opened) if n + size <= pool.key.gpus_per_node]
                assert fits, f"{pool.name} has no node left for {size} GPUs"
                opened[fits[0]] += size


@run
@given(scenarios(wishes=False), st.integers(0, 3), st.sampled_from([0.0, 0.5, 0.9]))
def test_3_a_lower_price_never_costs_more(scenario, index, factor):
    cheaper = list(scenario.problem.pools)
    index %= len(cheaper)
    cheaper[index] = replace(
        cheaper[index], node_usd_per_hour=cheaper[index].node_usd_per_hour * factor
    )
    before, after = scenario.solve(), scenario.changed(pools=tuple(cheaper)).solve()
    if serves_all(before):
        assert serves_all(after)
        assert after.cost_usd_per_hour <= before.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(scenarios(wishes=False), st.integers(0, 3))
def test_4_more_nodes_never_serve_less_or_cost_more(scenario, index):
    more = list(scenario.problem.pools)
    index %= len(more)
    wider = (*more[index].nodes, PoolNode("extra", more[index].key.gpus_per_node))
    up = 1 if more[index].scaling is PoolScaling.ELASTIC else 0
    more[index] = replace(more[index], nodes=wider, max_nodes=more[index].max_nodes + up)
    before, after = scenario.solve(), scenario.changed(pools=tuple(more)).solve()
    served_before, served_after = (shares(scenario.problem, plan) for plan in (before, after))
    assert not lexicographically_less(served_after, served_before)
    if serves_all(before):
        assert after.cost_usd_per_hour <= before.cost_usd_per_hour * (1 + SLACK) + SLACK


def shares(given_problem, plan):
    """Return served shares in the order in which the policy compares them."""
    by_priority = given_problem.policy.scarcity is ScarcityPolicy.PRIORITY
    outcomes = {o.model_id: o for o in plan.outcomes}
    ranked = [
        (
            -m.priority if by_priority else 0,
            min(1.0, outcomes[m.id].capacity_req_per_s / m.demand_req_per_s),
        )
        for m in given_problem.models
        if m.demand_req_per_s > 0
    ]
    return [share for _, share in sorted(ranked)]


def lexicographically_less(one, other):
    for mine, its in zip(one, other, strict=True):
        if abs(mine - its) > SLACK:
            return mine < its
    return False


@run
@given(scenarios(wishes=False), st.sampled_from(MODELS), st.sampled_from([1.1, 1.5, 3.0]))
def test_5_more_demand_is_never_cheaper(scenario, name, factor):
    models = tuple(
        replace(m, demand_req_per_s=m.demand_req_per_s * factor) if m.id.endswith(f"/{name}") else m
        for m in scenario.problem.models
    )
    after = scenario.changed(models=models).solve()
    if serves_all(after):
        before = scenario.solve()
        assert before.cost_usd_per_hour <= after.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(scenarios(), st.randoms(use_true_random=False))
def test_6_the_order_of_the_input_does_not_matter(scenario, rng):
    def shuffled(items):
        items = list(items)
        rng.shuffle(items)
        return tuple(items)

    turned = scenario.changed(
        models=shuffled(scenario.problem.models),
        pools=tuple(replace(p, nodes=shuffled(p.nodes)) for p in shuffled(scenario.problem.pools)),
        in_force=shuffled(scenario.problem.in_force),
    )
    one, other = scenario.solve(), turned.solve()
    assert one.instances == other.instances
    assert one.objective == other.objective


@run
@given(scenarios())
def test_7_the_same_input_gives_the_same_plan(scenario):
    one, other = (scenario.solve() for _ in range(2))
    assert replace(one, solve_s=0.0) == replace(other, solve_s=0.0)


PLAN_IN_A_PROCESS = """
from dataclasses import replace
from tests.unit.allocation.support import config, model, pool, problem, source, template
from coral_solver.allocation.allocate import allocate
made = [
    template(name, rate, *parts)
    for name in "abc"
    for rate, parts in [
        (1.0, [config("L4")]), (2.3, [config("L4", 2)]), (0.6, [config("T4")]),
        (2.9, [config("L4", 2), config("T4")]),
    ]
]
pools = [pool("L4", 4, [4, 3, 1], start_time_s=300), pool("T4", 1, [1] * 5, gpu_usd=0.5)]
first = allocate(problem([model(n, 2.5) for n in "abc"], pools), source(*made))
given = problem([model(n, 3.5) for n in "abc"], pools, in_force=first.instances)
print(replace(allocate(given, source(*made)), solve_s=0.0))
"""


def test_7_a_process_with_another_hash_seed_makes_the_same_plan(pytestconfig, monkeypatch):
    shown = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
        shown.append(
            subprocess.run(
                [sys.executable, "-c", PLAN_IN_A_PROCESS],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert shown[0] == shown[1]
    assert "OPTIMAL" in shown[0]


@run
@given(problems())
def test_8_no_plan_beats_the_linear_relaxation(drawn):
    given_problem, made = plain(drawn[0]), drawn[1]
    plan = allocate(given_problem, source(*made))
    if not serves_all(plan) or not plan.instances:
        return
    space = build_space(
        replace(given_problem, pools=tuple(sorted(given_problem.pools, key=lambda p: p.key))),
        source(*made),
        AllocationOptions(),
    )
    rows = PlanModel(space)
    for variable in rows.served.values():
        rows.program.lower[variable] = rows.program.upper[variable]
    rows.program.integer = [False] * len(rows.program.integer)
    relaxed = mathopt.solve(
        mathopt.Model.from_model_proto(_to_proto(rows.program, rows.cost, maximize=False)),
        mathopt.SolverType.GLOP,
    )
    bound = relaxed.objective_value()
    cost = next(entry for entry in plan.objective if entry.level == "cost_usd_per_hour")
    assert cost.value >= bound - 1e-6 * max(1.0, abs(bound))
    assert cost.bound <= cost.value


@run
@given(scenarios(wishes=False))
def test_9_no_peer_is_better_than_the_joint_plan(scenario):
    plan = scenario.solve()
    peers = run_baselines(scenario.problem, scenario.source, options=scenario.options)
    for peer in peers.values():
        mine, its = shares(scenario.problem, plan), shares(scenario.problem, peer)
        assert not lexicographically_less(mine, its)
        if not lexicographically_less(its, mine):
            assert plan.cost_usd_per_hour <= peer.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(scenarios())
def test_10_a_plan_in_force_stays_when_nothing_changes(scenario):
    first = scenario.solve()
    again = scenario.changed(in_force=first.instances).solve()
    assert again.instances == first.instances
    assert again.switching_usd_per_hour == 0


@run
@given(problems(), problems())
def test_11_any_plan_in_force_gives_a_checked_plan_that_is_no_worse_served(drawn, other):
    given_problem, made = drawn
    foreign, its = other
    in_force = allocate(foreign, source(*its)).instances
    plan = allocate(replace(given_problem, in_force=in_force), source(*made))
    fresh = allocate(given_problem, source(*made))
    assert not lexicographically_less(shares(given_problem, plan), shares(given_problem, fresh))


@run
@given(problems())
def test_12_a_rule_is_a_plan_too_and_its_bounds_are_no_promise(drawn):
    given_problem, made = drawn
    best = allocate(given_problem, source(*made))
    rule = allocate(given_problem, source(*made), options=AllocationOptions(time_limit_s=0))
    if all_levels(rule)[0][0] == all_levels(best)[0][0]:
        assert rule.objective[0].value <= best.objective[0].value + SLACK
        assert rule.objective[0].bound >= best.objective[0].value - SLACK
    # Even a value of zero with an open bound has a gap that is a share.
    assert all(0 <= entry.gap <= 1 for entry in rule.objective)
    assert np.isfinite(rule.cost_usd_per_hour)


@run
@given(tiny_scenarios())
def test_13_a_plan_is_as_good_as_the_best_of_all_plans(scenario):
    plan = scenario.solve()
    best_shares, best_cost = Exhaustive(
        scenario.problem, scenario.templates, scenario.options
    ).best()
    assert shares_of(plan) == pytest.approx(best_shares, abs=SLACK)
    assert plan.cost_usd_per_hour == pytest.approx(best_cost, rel=SLACK, abs=SLACK)
