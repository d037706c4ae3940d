"""Invariants of stage 2 on random problems; numbered, so that docs and faults can name them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ortools.math_opt.python import mathopt
from tests.unit.allocation.support import config, model, pool, problem, source, template

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.check import check_plan
from coral_solver.allocation.columns import build_space
from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.solver import _to_proto
from coral_solver.baselines.run import run_baselines
from coral_solver.domain.hardware import CapacityKind, PoolNode, PoolScaling
from coral_solver.domain.plan import Policy, ScarcityPolicy, SolveStatus
from coral_solver.domain.workload import Phase, ServingMode

GAP = 1e-4
SLACK = 2 * GAP + 1e-6
MODELS = ("a", "b", "c")
GPUS = ("L4", "T4")
SIZES = (1, 2, 4)

run = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def pools(draw):
    """Draw one to four pools, fixed and elastic, in up to two regions."""
    keys = st.tuples(
        st.sampled_from(GPUS),
        st.sampled_from([1, 2, 4, 6]),
        st.sampled_from(["r1", "r2"]),
        st.sampled_from([CapacityKind.ON_DEMAND, CapacityKind.SPOT]),
    )
    made = []
    for gpu, size, region, kind in draw(st.lists(keys, min_size=1, max_size=4, unique=True)):
        free = draw(st.lists(st.integers(0, size), max_size=3))
        made.append(
            pool(
                gpu,
                size,
                free,
                region=region,
                kind=kind,
                gpu_usd=draw(st.sampled_from([0.0, 0.4, 1.0, 1.7])),
                max_nodes=draw(st.sampled_from([None, None, 1, 4])),
                start_time_s=draw(st.sampled_from([0.0, 300.0])),
                site_factor=draw(st.sampled_from([1.0, 1.0, 0.8])),
            )
        )
    return made


@st.composite
def templates(draw):
    """Draw templates of one to three node configurations for every model."""
    made = []
    for name in MODELS:
        for _ in range(draw(st.integers(0, 4))):
            parts = draw(
                st.lists(
                    st.tuples(st.sampled_from(GPUS), st.sampled_from(SIZES)),
                    min_size=1,
                    max_size=3,
                )
            )
            phase = draw(st.sampled_from([Phase.WHOLE, Phase.WHOLE, Phase.PREFILL, Phase.DECODE]))
            rate = draw(st.integers(1, 30)) / 10
            made.append(template(name, rate, *(config(*p) for p in parts), phase=phase))
    return list({(t.model_id, t.id): t for t in made}.values())


@st.composite
def problems(draw):
    """Draw a problem with its templates."""
    demanded = [
        model(
            name,
            draw(st.sampled_from([0.0, 0.7, 2.0, 6.0])),
            serving=ServingMode.AUTO,
            headroom=draw(st.sampled_from([0.0, 0.0, 0.3])),
            priority=draw(st.integers(0, 1)),
            min_replicas=draw(st.sampled_from([0, 0, 1])),
        )
        for name in MODELS
    ]
    policy = Policy(scarcity=draw(st.sampled_from(list(ScarcityPolicy))))
    return problem(demanded, draw(pools()), policy=policy), draw(templates())


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
@given(problems())
def test_1_every_plan_passes_the_checker_and_is_proven(drawn):
    given_problem, made = drawn
    plan = allocate(given_problem, source(*made))
    check_plan(given_problem, plan)
    assert plan.status is SolveStatus.OPTIMAL


@run
@given(problems())
def test_2_no_node_gives_more_than_it_has(drawn):
    given_problem, made = drawn
    plan = allocate(given_problem, source(*made))
    free = {(p.key, n.name): n.free_gpus for p in given_problem.pools for n in p.nodes}
    for instance in plan.instances:
        parts = [c for stage in instance.template.stages for c in stage.configs]
        for part, (key, node) in zip(parts, instance.slices, strict=True):
            if node is not None:
                free[key, node] -= part.gpu_count
    assert min(free.values(), default=0) >= 0


@run
@given(problems(), st.integers(0, 3), st.sampled_from([0.0, 0.5, 0.9]))
def test_3_a_lower_price_never_costs_more(drawn, index, factor):
    given_problem, made = plain(drawn[0]), drawn[1]
    cheaper = list(given_problem.pools)
    index %= len(cheaper)
    cheaper[index] = replace(
        cheaper[index], node_usd_per_hour=cheaper[index].node_usd_per_hour * factor
    )
    before = allocate(given_problem, source(*made))
    after = allocate(replace(given_problem, pools=tuple(cheaper)), source(*made))
    if serves_all(before):
        assert serves_all(after)
        assert after.cost_usd_per_hour <= before.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(problems(), st.integers(0, 3))
def test_4_more_nodes_never_serve_less_or_cost_more(drawn, index):
    given_problem, made = plain(drawn[0]), drawn[1]
    more = list(given_problem.pools)
    index %= len(more)
    wider = (*more[index].nodes, PoolNode("extra", more[index].key.gpus_per_node))
    up = 1 if more[index].scaling is PoolScaling.ELASTIC else 0
    more[index] = replace(more[index], nodes=wider, max_nodes=more[index].max_nodes + up)
    before = allocate(given_problem, source(*made))
    after = allocate(replace(given_problem, pools=tuple(more)), source(*made))
    assert not lexicographically_less(shares(given_problem, after), shares(given_problem, before))
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
@given(problems(), st.sampled_from(MODELS), st.sampled_from([1.1, 1.5, 3.0]))
def test_5_more_demand_is_never_cheaper(drawn, name, factor):
    given_problem, made = plain(drawn[0]), drawn[1]
    models = tuple(
        replace(m, demand_req_per_s=m.demand_req_per_s * factor) if m.id.endswith(f"/{name}") else m
        for m in given_problem.models
    )
    after = allocate(replace(given_problem, models=models), source(*made))
    if serves_all(after):
        before = allocate(given_problem, source(*made))
        assert before.cost_usd_per_hour <= after.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(problems(), st.randoms(use_true_random=False))
def test_6_the_order_of_the_input_does_not_matter(drawn, rng):
    given_problem, made = drawn

    def shuffled(items):
        items = list(items)
        rng.shuffle(items)
        return tuple(items)

    turned = replace(
        given_problem,
        models=shuffled(given_problem.models),
        pools=tuple(replace(p, nodes=shuffled(p.nodes)) for p in shuffled(given_problem.pools)),
    )
    one, other = allocate(given_problem, source(*made)), allocate(turned, source(*made))
    assert one.instances == other.instances
    assert one.objective == other.objective


@run
@given(problems())
def test_7_the_same_input_gives_the_same_plan(drawn):
    given_problem, made = drawn
    one, other = (allocate(given_problem, source(*made)) for _ in range(2))
    assert replace(one, solve_s=0.0) == replace(other, solve_s=0.0)


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
@given(problems())
def test_9_no_peer_is_better_than_the_joint_plan(drawn):
    given_problem, made = plain(drawn[0]), drawn[1]
    plan = allocate(given_problem, source(*made))
    for peer in run_baselines(given_problem, source(*made)).values():
        mine, its = shares(given_problem, plan), shares(given_problem, peer)
        assert not lexicographically_less(mine, its)
        if not lexicographically_less(its, mine):
            assert plan.cost_usd_per_hour <= peer.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(problems())
def test_10_a_plan_in_force_stays_when_nothing_changes(drawn):
    given_problem, made = drawn
    first = allocate(given_problem, source(*made))
    again = allocate(replace(given_problem, in_force=first.instances), source(*made))
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
