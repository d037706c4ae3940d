"""Whole plans for small problems, against arithmetic and against brute force."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.allocation.support import (
    brute_force,
    config,
    levels,
    model,
    outcome,
    pool,
    problem,
    running,
    seeded,
    shares_of,
    source,
    template,
)

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.options import AllocationOptions
from coral_solver.domain.hardware import CapacityKind
from coral_solver.domain.plan import Policy, ScarcityPolicy, SolveStatus
from coral_solver.domain.workload import Phase, ServingMode

L4, L4X2, L4X4 = config("L4"), config("L4", 2), config("L4", 4)
T4 = config("T4")
DISAGGREGATED, AUTO = ServingMode.DISAGGREGATED, ServingMode.AUTO
PRIORITY = Policy(scarcity=ScarcityPolicy.PRIORITY)


def test_the_cheaper_of_two_gpu_types_serves_the_demand():
    # 3 req/s: three L4 at 1 USD carry 1 each; two T4 at 0.4 USD carry 0.5 each -> six T4 = 2.4.
    given = problem(
        [model(demand=3)], [pool("L4", 1, [1] * 4), pool("T4", 1, [1] * 8, gpu_usd=0.4)]
    )
    plan = allocate(given, source(template("a", 1, L4), template("a", 0.5, T4)))
    assert plan.status is SolveStatus.OPTIMAL
    assert plan.cost_usd_per_hour == pytest.approx(2.4)
    assert [i.template.config_counts[T4] for i in plan.instances] == [1] * 6
    assert outcome(plan).reason == "Served"
    assert outcome(plan).unmet_req_per_s == 0


def test_starting_is_charged_once_over_the_payback_horizon():
    # 2 USD/h of rent, 900 s of start over 3600 s: 0.5 USD/h on top.
    given = problem([model(demand=2)], [pool("L4", 2, [2], start_time_s=900)])
    plan = allocate(given, source(template("a", 2, L4X2)))
    assert plan.rent_usd_per_hour == pytest.approx(2)
    assert plan.switching_usd_per_hour == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(12))
def test_cost_and_shares_equal_brute_force(seed):
    rng = seeded(seed)
    pools = [
        pool("L4", 2, [rng.randint(0, 2) for _ in range(2)], gpu_usd=rng.choice([0.7, 1.0])),
        pool("T4", 1, [1] * rng.randint(0, 2), gpu_usd=rng.choice([0.3, 0.5]), start_time_s=360),
        pool("L4", 2, [2], gpu_usd=0.5, kind=CapacityKind.SPOT, site_factor=rng.choice([1, 0.8])),
    ]
    templates = [
        template("a", rng.choice([1.0, 1.3]), L4),
        template("a", rng.choice([2.5, 3.1]), L4X2),
        template("b", rng.choice([0.5, 0.8]), T4),
        template("b", rng.choice([1.7, 2.2]), L4, T4),
    ]
    given = problem([model("a", rng.choice([1, 3, 6])), model("b", rng.choice([0.5, 2, 3]))], pools)
    plan = allocate(given, source(*templates))
    shares, cost = brute_force(given, templates)
    assert shares_of(plan) == pytest.approx(shares, abs=2e-4)
    assert plan.cost_usd_per_hour == pytest.approx(cost, rel=2e-4)
    assert plan.status is SolveStatus.OPTIMAL


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sum_regions", [False, True])
def test_phases_pair_inside_a_region_as_brute_force_says(seed, sum_regions):
    rng = seeded(100 + seed)
    pools = [
        pool("L4", 1, [1] * rng.randint(1, 3), region="r1"),
        pool("L4", 1, [1] * rng.randint(1, 3), region="r2", gpu_usd=0.9),
        pool("T4", 1, [1] * rng.randint(0, 1), region="r2", gpu_usd=0.4),
    ]
    templates = [
        template("a", rng.choice([2.0, 3.0]), L4, phase=Phase.PREFILL),
        template("a", rng.choice([1.0, 1.5]), L4, phase=Phase.DECODE),
        template("a", 0.4, T4, phase=Phase.DECODE),
        template("a", rng.choice([0.6, 0.9]), L4, phase=Phase.WHOLE),
    ]
    given = problem([model(demand=rng.choice([1.0, 2.0, 4.0]), serving=AUTO)], pools)
    options = AllocationOptions(sum_regions=sum_regions)
    plan = allocate(given, source(*templates), options=options)
    shares, cost = brute_force(given, templates, sum_regions=sum_regions)
    assert shares_of(plan) == pytest.approx(shares, abs=2e-4)
    assert plan.cost_usd_per_hour == pytest.approx(cost, rel=2e-4)


def test_prefill_and_decode_in_different_regions_do_not_pair():
    pools = [pool("L4", 1, [1], region="r1"), pool("T4", 1, [1], region="r2")]
    templates = [
        template("a", 1, L4, phase=Phase.PREFILL),
        template("a", 1, T4, phase=Phase.DECODE),
    ]
    given = problem([model(serving=DISAGGREGATED)], pools)
    apart = allocate(given, source(*templates))
    assert apart.instances == ()
    assert outcome(apart).reason == "CapacityShort"
    together = allocate(given, source(*templates), options=AllocationOptions(sum_regions=True))
    assert outcome(together).reason == "Served"


def test_one_plan_mixes_aggregated_and_disaggregated_serving():
    # One pair carries 2, the only T4 carries 1 whole: both are needed for 3.
    pools = [pool("L4", 1, [1, 1]), pool("T4", 1, [1])]
    templates = [
        template("a", 2, L4, phase=Phase.PREFILL),
        template("a", 2, L4, phase=Phase.DECODE),
        template("a", 1, T4),
    ]
    plan = allocate(problem([model(demand=3, serving=AUTO)], pools), source(*templates))
    assert {i.template.phase for i in plan.instances} == set(Phase)
    assert outcome(plan).capacity_req_per_s == pytest.approx(3)


def test_slices_of_one_node_serve_several_models():
    models = [model("a", 1), model("b", 1), model("c", 1)]
    templates = [template("a", 1, L4X4), template("b", 1, L4X2), template("c", 1, L4)]
    plan = allocate(problem(models, [pool("L4", 8, [7])]), source(*templates))
    assert shares_of(plan) == [1, 1, 1]
    assert len({s.node for i in plan.instances for s in i.slices}) == 1


def test_whole_nodes_only_refuses_slices():
    given = problem([model()], [pool("L4", 4, [4])])
    whole = AllocationOptions(whole_nodes_only=True)
    assert allocate(given, source(template("a", 1, L4))).instances
    plan = allocate(given, source(template("a", 1, L4)), options=whole)
    assert outcome(plan).reason == "NoTemplate"


def test_an_instance_may_mix_pools_of_one_gpu_type():
    # Two slices of the same configuration, but each pool has one GPU only.
    pools = [pool("L4", 1, [1]), pool("L4", 1, [1], kind=CapacityKind.SPOT, gpu_usd=0.5)]
    plan = allocate(problem([model()], pools), source(template("a", 1, L4, L4)))
    assert plan.cost_usd_per_hour == pytest.approx(1.5)
    assert len({s.pool for s in plan.instances[0].slices}) == 2


def test_the_slowest_site_of_an_instance_slows_all_of_it():
    # Demand 1: on the slow cheap pool one instance carries 0.5, so two are needed (2 x 2 x 0.3);
    # on the fast one, one is enough (2 x 1.0). Mixing would be slow and dear.
    pools = [
        pool("L4", 1, [1] * 4, gpu_usd=0.3, kind=CapacityKind.SPOT, site_factor=0.5),
        pool("L4", 1, [1] * 4),
    ]
    plan = allocate(problem([model()], pools), source(template("a", 1, L4, L4)))
    assert plan.cost_usd_per_hour == pytest.approx(1.2)
    assert outcome(plan).capacity_req_per_s == pytest.approx(1.0)
    fast = [replace(pools[0], node_usd_per_hour=0.6), pools[1]]
    plan = allocate(problem([model()], fast), source(template("a", 1, L4, L4)))
    assert plan.cost_usd_per_hour == pytest.approx(2.0)


def test_elastic_pools_open_and_pay_whole_nodes():
    # Three slices of 2 need two nodes of 4 at 4 USD; the third on fixed GPUs would cost 2 x 2.5.
    elastic = pool("L4", 4, [], max_nodes=3)
    fixed = pool("T4", 2, [2] * 3, gpu_usd=2.5)
    templates = [template("a", 1, L4X2), template("a", 1, config("T4", 2))]
    plan = allocate(problem([model(demand=3)], [elastic, fixed]), source(*templates))
    assert plan.opened_nodes == {elastic.name: 2}
    assert plan.rent_usd_per_hour == pytest.approx(8)
    assert all(s.node is None for i in plan.instances for s in i.slices)


def test_elastic_pools_use_existing_nodes_first_and_stop_at_their_ceiling():
    # Ceiling of 3: one node is held by others in part, one is free, so one more can open. The
    # held node gives its two free GPUs at the price of slices.
    elastic = pool("L4", 4, [2, 4], max_nodes=3)
    plan = allocate(problem([model(demand=20)], [elastic]), source(template("a", 1, L4)))
    assert outcome(plan).capacity_req_per_s == pytest.approx(10)
    assert plan.opened_nodes == {elastic.name: 2}
    assert plan.rent_usd_per_hour == pytest.approx(2 * 4 + 2)
    nodes = [s.node for i in plan.instances for s in i.slices]
    assert nodes.count("r1-l4x4-on-demand-0") == 2
    assert nodes.count("r1-l4x4-on-demand-1") == 4
    assert nodes.count(None) == 4


def test_an_instance_that_waits_for_its_node_is_kept():
    elastic = pool("L4", 4, [], max_nodes=1, start_time_s=360)
    old = running("a-0000-1", template("a", 1, L4X2), elastic, None)
    given = problem([model("a", 1), model("b", 1)], [elastic], in_force=[old])
    plan = allocate(given, source(old.template, template("b", 1, L4X2)))
    assert old in plan.instances
    assert plan.opened_nodes == {elastic.name: 1}
    # Only b's two GPUs are charged: 2 x 360 / 3600.
    assert plan.switching_usd_per_hour == pytest.approx(0.2)


def test_kept_instances_on_elastic_nodes_pay_the_node_and_leave_the_rest():
    elastic = pool("L4", 4, [4, 4], max_nodes=2, start_time_s=360)
    single = template("a", 1, L4)
    old = [running(f"a-0000-{i}", single, elastic, "r1-l4x4-on-demand-1") for i in (1, 2)]
    given = problem([model("a", 2), model("b", 1)], [elastic], in_force=old)
    plan = allocate(given, source(single, template("b", 1, L4X2)))
    assert plan.opened_nodes == {elastic.name: 1}
    assert {s.node for i in plan.instances for s in i.slices} == {"r1-l4x4-on-demand-1"}
    plan = allocate(given, source(single, template("b", 1, L4X4)))
    assert plan.opened_nodes == {elastic.name: 2}
    assert plan.switching_usd_per_hour == pytest.approx(0.4)


def test_no_pool_at_all_is_an_answer():
    plan = allocate(problem([model()], []), source(template("a", 1, L4)))
    assert plan.instances == ()
    assert outcome(plan).reason == "NoTemplate"
    assert "add GPU nodes" in outcome(plan).message
    assert outcome(plan).unmet_req_per_s == 1


def test_no_model_at_all_is_an_answer():
    plan = allocate(problem([], [pool("L4", 1, [1])]), source())
    assert plan.status is SolveStatus.OPTIMAL
    assert plan.cost_usd_per_hour == 0
    assert [level.level for level in plan.objective] == [
        "served_share",
        "soft_shortfall",
        "cost_usd_per_hour",
    ]


def test_a_model_that_nothing_can_serve_does_not_hurt_the_others():
    models = [model("a", 1), model("b", 2), model("c", 1, allowed=frozenset({"H100"}))]
    plan = allocate(
        problem(models, [pool("L4", 1, [1, 1, 1])]),
        source(template("b", 1, L4), template("c", 1, L4)),
    )
    assert outcome(plan, "a").reason == "NoTemplate"
    assert "relax" in outcome(plan, "a").message
    assert "allow one of them" in outcome(plan, "c").message
    assert outcome(plan, "b").reason == "Served"
    assert plan.status is SolveStatus.OPTIMAL
    assert levels(plan)["served_share"] == 1


def test_a_model_whose_gpus_are_all_taken_counts_with_a_share_of_zero():
    models = [model("a", 1), model("b", 2)]
    given = problem(models, [pool("L4", 1, [1, 1]), pool("T4", 1, [0])])
    plan = allocate(given, source(template("a", 1, T4), template("b", 1, L4)))
    assert outcome(plan, "a").reason == "CapacityShort"
    assert "no GPU is left in the pools it could use" in outcome(plan, "a").message
    assert "T4x1-pcie/on-demand" in outcome(plan, "a").message
    assert levels(plan)["served_share"] == 0
    assert levels(plan)["served_share_2"] == 1
    assert plan.status is SolveStatus.OPTIMAL


def test_free_gpus_are_no_reason_to_run_more_than_needed():
    plan = allocate(
        problem([model(demand=2)], [pool("L4", 1, [1] * 5, gpu_usd=0.0)]),
        source(template("a", 1, L4)),
    )
    assert len(plan.instances) == 2


def test_the_order_of_the_input_does_not_matter():
    models = [model("a", 3), model("b", 2)]
    pools = [pool("L4", 2, [2, 1, 2]), pool("T4", 1, [1] * 3, gpu_usd=0.4)]
    templates = [template("a", 1, L4), template("a", 2, L4X2), template("b", 1, L4, T4)]
    forward = allocate(problem(models, pools), source(*templates))
    turned = [replace(p, nodes=p.nodes[::-1]) for p in pools[::-1]]
    backward = allocate(problem(models[::-1], turned), source(*templates))
    assert forward.instances == backward.instances
    assert forward.objective == backward.objective
