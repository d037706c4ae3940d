"""What the plots and tables of a report show."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.report.support import (
    H100,
    L4,
    document,
    instance,
    outcome,
    peer,
    problem,
    served,
)

from coral_solver.domain.plan import Policy
from coral_solver.report.figures import report_figures


def test_the_gpus_of_a_fixed_pool_are_used_or_idle() -> None:
    figures = report_figures(
        problem(served("a", 2), served("b", 2)),
        document([instance("a"), instance("b"), instance("b")], [outcome("a", 2), outcome("b", 2)]),
    )
    pool = next(pool for pool in figures.pools if pool.pool == L4)
    assert list(pool.used_by_model.items()) == [("b", 2), ("a", 1)]
    assert (pool.used_gpus, pool.idle_gpus, pool.unopened_gpus) == (3, 3, 0)  # 4 + 2 free
    assert pool.gpu_usd_per_hour == 1.0  # 4 USD/h for 4 GPUs


def test_paid_nodes_of_an_elastic_pool_may_idle_and_others_stay_closed() -> None:
    piece = {"pool": H100, "node": None, "gpu": "H100", "gpus": 2}
    figures = report_figures(
        problem(served("a", 2)),
        document(
            [instance("a", slices=[piece], usd_per_hour=12.0)],
            [outcome("a", 2)],
            opened_nodes={H100: 1},
            rent_usd_per_hour=48.0,
        ),
    )
    pool = next(pool for pool in figures.pools if pool.pool == H100)
    # One node of 8 is open, 2 of its GPUs in use; two more nodes of 8 could be opened.
    assert (pool.used_gpus, pool.idle_gpus, pool.unopened_gpus) == (2, 6, 16)
    assert figures.idle_rent_usd_per_hour == 36.0  # 48 for the node less 12 of the instance


def test_an_instance_on_two_pools_counts_in_both() -> None:
    pieces = [
        {"pool": L4, "node": "a", "gpu": "L4", "gpus": 2},
        {"pool": H100, "node": None, "gpu": "H100", "gpus": 4},
    ]
    item = instance(
        "a", slices=pieces, gpus=6, pipeline_parallel=2, layers_per_stage=[10, 30], pool="x+y"
    )
    figures = report_figures(problem(served("a", 2)), document([item], [outcome("a", 2)]))
    assert {pool.pool: pool.used_gpus for pool in figures.pools} == {L4: 2, H100: 4}
    assert figures.groups[0].hardware == "2 L4 + 4 H100"
    assert figures.groups[0].parallelism == "TP 1, PP 2 (10+30 layers)"


def test_a_token_costs_the_rent_over_the_tokens_of_the_served_demand() -> None:
    figures = report_figures(
        problem(served("a", 3)),
        document([instance("a")], [outcome("a", 3, unmet=1, usd_per_hour=7.2)]),
    )
    (model,) = figures.models
    # 2 req/s served x 1,000 tokens x 3,600 s = 7.2 million tokens an hour for 7.2 USD;
    # 100 of the 1,000 tokens are output.
    assert model.usd_per_million_tokens == pytest.approx(1.0)
    assert model.usd_per_million_output_tokens == pytest.approx(10.0)


def test_a_model_that_is_not_served_has_no_price_per_token() -> None:
    figures = report_figures(problem(served("a", 3)), document([], [outcome("a", 3, unmet=3)]))
    assert figures.models[0].usd_per_million_tokens is None


def test_error_bars_of_one_model_add_up() -> None:
    items = [instance("a", error_share=0.1), instance("a", error_share=0.3)]
    figures = report_figures(problem(served("a", 3)), document(items, [outcome("a", 3)]))
    (model,) = figures.models
    # Two instances of 2 req/s: 2 x 0.9 + 2 x 0.7 and 2 x 1.1 + 2 x 1.3.
    assert model.capacity_low_req_per_s == pytest.approx(3.2)
    assert model.capacity_high_req_per_s == pytest.approx(4.8)


def test_a_planned_margin_lies_inside_the_bar() -> None:
    robust = replace(problem(served("a", 2)), policy=Policy(robustness=1.0))
    item = instance("a", error_share=0.25)
    (model,) = report_figures(robust, document([item], [outcome("a", 2)])).models
    # 2 req/s with the whole margin: the middle is 2 x 1.25 = 2.5, its ends 2.5 x (1 -+ 0.25).
    assert model.capacity_low_req_per_s == pytest.approx(1.875)
    assert model.capacity_high_req_per_s == pytest.approx(3.125)


@pytest.mark.parametrize("unknown", [None, 0.0])
def test_one_prediction_without_a_bar_leaves_its_model_without(unknown: float | None) -> None:
    items = [instance("a", error_share=0.1), instance("a", error_share=unknown)]
    figures = report_figures(problem(served("a", 3)), document(items, [outcome("a", 3)]))
    assert figures.models[0].capacity_low_req_per_s is None
    assert figures.groups[0].error_share in (0.1, None)


def test_the_rent_of_a_peer_that_serves_less_is_not_compared() -> None:
    figures = report_figures(
        problem(served("a", 2), served("b", 4)),
        document(
            [instance("a", usd_per_hour=2.0)],
            [outcome("a", 2), outcome("b", 4)],
            baselines={"dear": peer(3.0, a=0.0, b=0.0), "cheap": peer(1.0, a=0.5, b=1.0)},
        ),
    )
    plan, cheap, dear = figures.peers
    assert (plan.name, plan.rent_ratio) == ("", 1.0)
    assert (cheap.name, cheap.rent_ratio, cheap.unmet_req_per_s) == ("cheap", None, 1.5)
    assert cheap.least_served_share == 0.75  # both models get 3/4 of what they ask for
    assert (dear.name, dear.rent_ratio) == ("dear", 1.5)


def test_equal_instances_are_one_group() -> None:
    items = [
        instance("a", name="one"),
        instance("a", name="two", nodes=["b"]),
        instance("a", name="three", template="other"),
    ]
    figures = report_figures(problem(served("a", 2)), document(items, [outcome("a", 2)]))
    pair = next(group for group in figures.groups if group.template == "whole-l4x1")
    assert (pair.copies, pair.nodes, len(figures.groups)) == (2, ("a", "b"), 2)
