"""Changes of a problem, and what they do to its plan."""

from __future__ import annotations

import math

import pytest
from tests.unit.allocation.support import config, model, pool, problem, running, template
from tests.unit.planning.support import GivenPlanner

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import CapacityKind, PoolNode
from coral_solver.planning.changes import (
    EVERY,
    Amount,
    DemandChange,
    How,
    NodesChange,
    PoolAdded,
    PoolSelector,
    PriceChange,
    RobustnessChange,
    SloChange,
    apply_changes,
)
from coral_solver.planning.difference import Effect
from coral_solver.planning.whatif import sweep, what_if, without_switching

L4, T4 = config("L4"), config("T4")
TEMPLATES = (template("a", 1.0, L4), template("a", 0.5, T4))


def given():
    """3 req/s on two L4 at 1 USD (1 req/s each) and eight T4 at 0.9 USD (0.5 req/s each)."""
    return problem([model(demand=3)], [pool("L4", 1, [1, 1]), pool("T4", 1, [1] * 8, gpu_usd=0.9)])


def selector(text: str, **fields: object) -> PoolSelector:
    return PoolSelector(text=text, gpu=text, **fields)


def times(value: float) -> Amount:
    return Amount(How.TIMES, value)


def plus(value: float) -> Amount:
    return Amount(How.ADD, value)


def exactly(value: float) -> Amount:
    return Amount(How.SET, value)


def test_more_demand_costs_what_the_next_gpus_cost():
    # 3 req/s: two L4 and two T4 = 2 + 1.8 = 3.8. 4 req/s: two more T4 = 5.6.
    found = what_if(given(), [DemandChange(model="a", amount=plus(1))], GivenPlanner(*TEMPLATES))
    assert found.plan_before.cost_usd_per_hour == pytest.approx(3.8)
    assert found.plan_after.cost_usd_per_hour == pytest.approx(5.6)
    assert found.comparison.difference.effect is Effect.DEARER
    assert (found.comparison.kept, found.comparison.started) == (4, 2)
    assert found.changes == ("demand of a: +1 req/s",)


def test_a_price_moves_the_plan():
    # T4 at 0.4 USD carry a request for 0.8, L4 for 1: six T4 = 2.4.
    found = what_if(
        given(),
        [PriceChange(pools=selector("T4"), amount=exactly(0.4))],
        GivenPlanner(*TEMPLATES),
    )
    assert found.plan_after.cost_usd_per_hour == pytest.approx(2.4)
    assert found.comparison.gpus_by_pool["r1/L4x1-pcie/on-demand"] == (2, 0)


def test_prices_are_per_gpu_on_nodes_of_every_size():
    before = problem([model()], [pool("L4", 1, [1]), pool("L4", 4, [4], gpu_usd=2.0)])
    after = apply_changes(before, [PriceChange(pools=selector("L4"), amount=exactly(1.5))])
    assert [p.node_usd_per_hour for p in after.pools] == [1.5, 6.0]
    half = apply_changes(before, [PriceChange(pools=selector("L4"), amount=times(0.5))])
    assert [p.node_usd_per_hour for p in half.pools] == [0.5, 4.0]


def test_changes_combine_in_their_order():
    after = apply_changes(
        given(),
        [
            DemandChange(model="a", amount=times(2)),
            DemandChange(model="a", amount=plus(1)),
            NodesChange(pools=selector("L4"), amount=plus(3)),
        ],
    )
    assert after.models[0].demand_req_per_s == 7.0
    assert [len(p.nodes) for p in after.pools] == [5, 8]


def test_a_pool_without_nodes_is_gone():
    after = apply_changes(given(), [NodesChange(pools=selector("L4"), amount=exactly(0))])
    assert [p.key.gpu for p in after.pools] == ["T4"]


def test_the_fullest_nodes_go_first_and_new_ones_are_free():
    before = problem([model()], [pool("L4", 4, [4, 1, 4])])
    (smaller,) = apply_changes(before, [NodesChange(pools=selector("L4"), amount=plus(-1))]).pools
    assert [node.free_gpus for node in smaller.nodes] == [4, 4]
    (larger,) = apply_changes(before, [NodesChange(pools=selector("L4"), amount=plus(1))]).pools
    assert sorted(node.free_gpus for node in larger.nodes) == [1, 4, 4, 4]
    assert len({node.name for node in larger.nodes}) == 4


def test_growing_twice_never_gives_a_name_twice():
    grown = apply_changes(given(), [NodesChange(pools=selector("L4"), amount=plus(2))] * 2)
    assert len({node.name for node in grown.pools[0].nodes}) == 6


def test_an_elastic_pool_gets_another_ceiling():
    before = problem([model()], [pool("L4", 4, [4], max_nodes=3)])
    (after,) = apply_changes(before, [NodesChange(pools=selector("L4"), amount=plus(2))]).pools
    assert (after.max_nodes, len(after.nodes)) == (5, 1)


def test_a_new_pool_is_used_if_it_is_cheaper():
    new = pool("A10G", 1, [1] * 3, gpu_usd=0.5)
    found = what_if(
        given(), [PoolAdded(pool=new)], GivenPlanner(*TEMPLATES, template("a", 1.0, config("A10G")))
    )
    assert found.plan_after.cost_usd_per_hour == pytest.approx(1.5)  # three A10G
    with pytest.raises(InvalidInputError, match="is there already"):
        apply_changes(given(), [PoolAdded(pool=pool("L4", 1, [1]))])


def test_targets_change_one_by_one():
    after = apply_changes(
        given(), [SloChange(model="a", ttft=times(0.5)), SloChange(model="a", tpot=exactly(0.02))]
    )
    assert (after.models[0].slo.ttft_s, after.models[0].slo.tpot_s) == (0.5, 0.02)


def test_robustness_is_set_for_all():
    assert apply_changes(given(), [RobustnessChange(robustness=0.5)]).policy.robustness == 0.5


def test_pools_are_chosen_by_type_region_size_kind_or_whole_name():
    pools = [
        pool("L4", 1, [1]),
        pool("L4", 4, [4]),
        pool("L4", 1, [1], region="r2"),
        pool("L4", 1, [1], kind=CapacityKind.SPOT),
        pool("T4", 1, [1]),
    ]
    found = problem([model()], pools)

    def chosen(text: str, **fields: object) -> int:
        return len(PoolSelector(text=text, gpu="L4", **fields).pools(found))

    assert chosen("L4") == 4
    assert chosen("L4", gpus_per_node=4) == 1
    assert chosen("L4", region="r2") == 1
    assert chosen("L4", kind=CapacityKind.SPOT) == 1
    assert len(selector(EVERY).pools(found)) == 5
    name = "r1/T4x1-pcie/on-demand"
    assert [p.name for p in selector(name).pools(found)] == [name]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (DemandChange(model="b", amount=exactly(1)), "no model 'b'"),
        (DemandChange(model="a", amount=plus(-4)), r"demand -1 req/s must lie in \[0"),
        (DemandChange(model="a", amount=exactly(math.nan)), "demand nan"),
        (PriceChange(pools=selector("L5"), amount=exactly(1)), "did you mean L4"),
        (PriceChange(pools=selector("H100"), amount=exactly(1)), "no pool fits 'H100'; there are"),
        (PriceChange(pools=selector("L4"), amount=exactly(-1)), "price -1 USD/h"),
        (
            PriceChange(pools=selector("r1/L4x1-pcie/on-demnd"), amount=exactly(1)),
            "did you mean r1/L4x1-pcie/on-demand",
        ),
        (NodesChange(pools=selector("L4"), amount=plus(-3)), "has 2 nodes and would have -1"),
        (NodesChange(pools=selector("L4"), amount=times(0.3)), "would have 0.6"),
        (NodesChange(pools=selector(EVERY), amount=plus(1)), "fits several pools"),
        (SloChange(model="a", ttft=exactly(0.0)), "ttft_s 0.0 must be positive"),
        (RobustnessChange(robustness=1.5), "robustness"),
    ],
)
def test_a_change_that_cannot_be_made_says_why(change, said):
    with pytest.raises(InvalidInputError, match=said):
        apply_changes(given(), [change])


def test_every_fault_is_named_and_nothing_is_planned():
    planner = GivenPlanner(*TEMPLATES)
    changes = [
        DemandChange(model="b", amount=exactly(1)),
        NodesChange(pools=selector("L4"), amount=exactly(-1)),
    ]
    with pytest.raises(InvalidInputError) as refused:
        what_if(given(), changes, planner)
    assert len(refused.value.problems) == 2
    assert planner.asked == []


def test_a_sweep_plans_every_value_and_compares_with_the_problem_as_it_is():
    # 1, 2, 3 and 4 req/s: L4; two L4; two T4 more; two T4 more.
    found = sweep(
        given(),
        [],
        lambda value: DemandChange(model="a", amount=exactly(value)),
        [1, 2, 3, 4],
        GivenPlanner(*TEMPLATES),
    )
    costs = [point.plan.cost_usd_per_hour for point in found.points]
    assert costs == pytest.approx([1.0, 2.0, 3.8, 5.6])
    assert [point.difference.effect for point in found.points] == [
        Effect.CHEAPER, Effect.CHEAPER, Effect.SAME, Effect.DEARER,
    ]  # fmt: skip


def test_a_sweep_with_a_fault_is_refused_before_the_first_solve():
    planner = GivenPlanner(*TEMPLATES)
    with pytest.raises(InvalidInputError, match="would have -1"):
        sweep(
            given(),
            [],
            lambda value: NodesChange(pools=selector("L4"), amount=plus(value)),
            [0, -3],
            planner,
        )
    assert planner.asked == []


def test_without_the_charge_only_rent_counts():
    # 2 USD/h of rent, 900 s of start over 3600 s: 0.5 USD/h on top.
    charged = problem([model(demand=2)], [pool("L4", 1, [1, 1], start_time_s=900)])
    planner = GivenPlanner(*TEMPLATES)
    assert planner.plan(charged).plan.cost_usd_per_hour == pytest.approx(2.5)
    assert planner.plan(without_switching(charged)).plan.cost_usd_per_hour == pytest.approx(2.0)


def test_both_plans_start_from_what_is_in_force():
    where = pool("L4", 1, [1, 1], start_time_s=900)
    what = TEMPLATES[0]
    node = where.nodes[0].name
    before = problem([model(demand=1)], [where], in_force=[running("a-1", what, where, node)])
    found = what_if(before, [DemandChange(model="a", amount=times(2))], GivenPlanner(*TEMPLATES))
    # Before: a-1 stays, 1 USD. After: a second one, 1 USD and 0.25 for its start.
    assert found.plan_before.cost_usd_per_hour == pytest.approx(1.0)
    assert found.plan_after.cost_usd_per_hour == pytest.approx(2.25)
    assert found.comparison.kept == 1


def test_nodes_keep_their_names_when_others_come():
    before = given()
    (l4, _) = apply_changes(before, [NodesChange(pools=selector("L4"), amount=plus(1))]).pools
    assert set(before.pools[0].nodes) < set(l4.nodes)
    assert PoolNode("new-r1-l4x1-on-demand-00001", 1) in l4.nodes
