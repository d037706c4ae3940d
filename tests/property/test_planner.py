"""The invariants of test_allocation.py through the planner: real templates, every feature.

Numbers are those of test_allocation.py. Random clusters have L4, A10G and L40S nodes in two
regions, on demand and spot, fixed and elastic, partly used; models are served aggregated,
disaggregated or either way; in half of the cases another plan is in force.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.property.test_allocation import SLACK, lexicographically_less, serves_all, shares

from coral_solver.allocation.check import check_plan
from coral_solver.allocation.options import AllocationOptions
from coral_solver.catalog import gpu_type, model_arch, paper_workload
from coral_solver.domain.hardware import CapacityKind, GpuPool, PoolKey, PoolNode, PoolScaling
from coral_solver.domain.plan import PlanningProblem, Policy, ScarcityPolicy, SolveStatus
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import ServedModel, ServingMode, Slo
from coral_solver.planning.planner import Planner, PlanningOptions

run = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
spaces = st.sampled_from(list(PlacementSpace))

MODELS = ("llama-3.1-8b", "gpt-oss-20b")
SHAPES = (
    ("L4", 1, "r1", CapacityKind.ON_DEMAND, 0.8),
    ("L4", 4, "r1", CapacityKind.SPOT, 1.65),
    ("A10G", 4, "r2", CapacityKind.ON_DEMAND, 5.67),
    ("L40S", 4, "r1", CapacityKind.ON_DEMAND, 10.49),
    ("L40S", 4, "r2", CapacityKind.SPOT, 2.87),
)
"""Every problem has these pools, some of them without nodes: their templates are searched once."""


@cache
def planner(space: PlacementSpace) -> Planner:
    return Planner(PlanningOptions(space=space, max_nodes=2, with_baselines=False))


@cache
def with_peers(space: PlacementSpace) -> Planner:
    return Planner(PlanningOptions(space=space, max_nodes=2))


def rules(space: PlacementSpace) -> AllocationOptions:
    is_paper = space is PlacementSpace.PAPER
    return AllocationOptions(whole_nodes_only=is_paper, sum_regions=is_paper)


def plan_of(space, problem):
    return planner(space).plan(problem).plan


@st.composite
def clusters(draw):
    pools = []
    for gpu, size, region, kind, usd in SHAPES:
        key = PoolKey(gpu, size, gpu_type(gpu).link, region, kind)
        free = draw(st.lists(st.sampled_from([size, size, size // 2]), max_size=4))
        elastic = draw(st.sampled_from([False, False, True]))
        pools.append(
            GpuPool(
                key=key,
                node_usd_per_hour=usd * draw(st.sampled_from([0.8, 1.0, 1.3])),
                nodes=tuple(
                    PoolNode(f"{gpu}-{size}-{region}-{i}".lower(), n) for i, n in enumerate(free)
                ),
                scaling=PoolScaling.ELASTIC if elastic else PoolScaling.FIXED,
                max_nodes=len(free) + draw(st.integers(0, 2)) if elastic else 0,
                site_factor=draw(st.sampled_from([1.0, 1.0, 0.9])),
            )
        )
    return tuple(pools)


@st.composite
def problems(draw):
    serving = draw(st.sampled_from(list(ServingMode)))
    models = []
    for name in MODELS:
        arch = model_arch(name)
        models.append(
            ServedModel(
                id=f"default/chat/{name}",
                arch=arch,
                precision=arch.native_precision,
                slo=Slo(ttft_s=2.0, tpot_s=0.1),
                workload=paper_workload("azure-conv"),
                demand_req_per_s=draw(st.sampled_from([0.5, 3.0, 12.0, 40.0])),
                serving=serving,
                priority=draw(st.integers(0, 1)),
            )
        )
    policy = Policy(scarcity=draw(st.sampled_from(list(ScarcityPolicy))))
    return PlanningProblem(models=tuple(models), pools=draw(clusters()), policy=policy)


def scaled(problem, factor):
    models = tuple(replace(m, demand_req_per_s=m.demand_req_per_s * factor) for m in problem.models)
    return replace(problem, models=models)


@st.composite
def cases(draw):
    """Draw a space and a problem; in half of the cases the plan for other demands is in force."""
    space, problem = draw(spaces), draw(problems())
    factor = draw(st.sampled_from([None, None, 0.4, 1.5]))
    if factor is not None:
        before = plan_of(space, scaled(problem, factor))
        problem = replace(problem, in_force=before.instances)
    return space, problem


@run
@given(cases())
def test_1_and_2_every_plan_is_proven_and_fits_on_the_nodes(case):
    space, problem = case
    plan = plan_of(space, problem)
    check_plan(problem, plan, options=rules(space))
    assert plan.status is SolveStatus.OPTIMAL
    free = {(p.key, n.name): n.free_gpus for p in problem.pools for n in p.nodes}
    for instance in plan.instances:
        for config, (key, node) in zip(instance.template.configs, instance.slices, strict=True):
            if node is not None:
                free[key, node] -= config.gpu_count
    assert min(free.values(), default=0) >= 0


@run
@given(cases(), st.integers(0, len(SHAPES) - 1), st.sampled_from([0.1, 0.7]))
def test_3_a_lower_price_never_costs_more(case, index, factor):
    space, problem = case
    pools = list(problem.pools)
    pools[index] = replace(pools[index], node_usd_per_hour=pools[index].node_usd_per_hour * factor)
    before, after = plan_of(space, problem), plan_of(space, replace(problem, pools=tuple(pools)))
    if serves_all(before):
        assert serves_all(after)
        assert after.cost_usd_per_hour <= before.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(cases(), st.integers(0, len(SHAPES) - 1))
def test_4_more_nodes_never_serve_less_or_cost_more(case, index):
    space, problem = case
    pools = list(problem.pools)
    pool = pools[index]
    more = 1 if pool.scaling is PoolScaling.ELASTIC else 0
    extra = PoolNode("extra", pool.key.gpus_per_node)
    pools[index] = replace(pool, nodes=(*pool.nodes, extra), max_nodes=pool.max_nodes + more)
    before, after = plan_of(space, problem), plan_of(space, replace(problem, pools=tuple(pools)))
    assert not lexicographically_less(shares(problem, after), shares(problem, before))
    if serves_all(before):
        assert after.cost_usd_per_hour <= before.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(cases(), st.sampled_from([1.2, 3.0]))
def test_5_more_demand_is_never_cheaper(case, factor):
    space, problem = case
    after = plan_of(space, scaled(problem, factor))
    if serves_all(after):
        before = plan_of(space, problem)
        assert before.cost_usd_per_hour <= after.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(cases(), st.randoms(use_true_random=False))
def test_6_and_7_order_and_repetition_do_not_matter(case, rng):
    space, problem = case

    def shuffled(items):
        items = list(items)
        rng.shuffle(items)
        return tuple(items)

    turned = replace(
        problem,
        models=shuffled(problem.models),
        pools=tuple(replace(p, nodes=shuffled(p.nodes)) for p in shuffled(problem.pools)),
        in_force=shuffled(problem.in_force),
    )
    one, again, other = (plan_of(space, given) for given in (problem, problem, turned))
    assert replace(one, solve_s=0.0) == replace(again, solve_s=0.0)
    assert one.instances == other.instances
    assert one.objective == other.objective


@run
@given(cases())
def test_8_and_9_a_plan_lies_between_its_bound_and_every_peer(case):
    space, problem = case
    result = with_peers(space).plan(problem)
    for level in result.plan.objective:
        better = level.value - level.bound if level.sense == "max" else level.bound - level.value
        assert better <= 0
    assert result.baselines
    for peer in result.baselines.values():
        mine, its = shares(problem, result.plan), shares(problem, peer)
        assert not lexicographically_less(mine, its)
        if not lexicographically_less(its, mine):
            mine_usd, its_usd = result.plan.cost_usd_per_hour, peer.cost_usd_per_hour
            assert mine_usd <= its_usd * (1 + SLACK) + SLACK


@run
@given(problems(), spaces)
def test_10_a_plan_in_force_stays_when_nothing_changes(problem, space):
    first = plan_of(space, problem)
    again = plan_of(space, replace(problem, in_force=first.instances))
    assert again.instances == first.instances
    assert again.switching_usd_per_hour == 0


@run
@given(problems())
def test_14_the_space_with_more_freedom_never_costs_more(problem):
    # Under one capacity rule and one N_max: templates of one node are among those of two.
    wide = plan_of(PlacementSpace.PAPER, problem)
    narrow = (
        Planner(PlanningOptions(space=PlacementSpace.PAPER, max_nodes=1, with_baselines=False))
        .plan(problem)
        .plan
    )
    assert not lexicographically_less(shares(problem, wide), shares(problem, narrow))
    if serves_all(narrow):
        assert wide.cost_usd_per_hour <= narrow.cost_usd_per_hour * (1 + SLACK) + SLACK


@run
@given(problems())
def test_15_serving_either_way_is_never_worse_than_one_way(problem):
    plans = {}
    for serving in ServingMode:
        models = tuple(replace(m, serving=serving) for m in problem.models)
        plans[serving] = plan_of(PlacementSpace.VLLM, replace(problem, models=models))
    auto = plans[ServingMode.AUTO]
    for plan in plans.values():
        assert not lexicographically_less(shares(problem, auto), shares(problem, plan))
        if serves_all(plan):
            assert auto.cost_usd_per_hour == pytest.approx(
                min(auto.cost_usd_per_hour, plan.cost_usd_per_hour), rel=SLACK
            )
