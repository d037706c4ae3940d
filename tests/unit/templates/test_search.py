"""What the search promises beside exactness: order, determinism, limits, refusals."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from numba import njit

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import Link, NodeConfig
from coral_solver.performance.tables import JointTables, SeparableTables
from coral_solver.templates import search
from coral_solver.templates.placements import NO_NODE, NO_POINT
from coral_solver.templates.search import SearchLimits, search_paper_space, search_vllm_space

LIMITS = SearchLimits(max_nodes=4, rho=12.0)


def configs(count):
    return tuple(NodeConfig(f"GPU{i}", 1, Link.PCIE) for i in range(count))


def separable(rates, *, memory_gib=None, weight_gib=1.0):
    """Tables from rates of shape (S, 4, C, L)."""
    rates = np.asarray(rates, dtype=np.float64)
    count = rates.shape[2]
    return SeparableTables(
        configs=configs(count),
        memory_gib=np.full(count, 2.0) if memory_gib is None else np.array(memory_gib),
        weight_gib=weight_gib,
        rate_req_per_s=np.pad(rates, ((0, 0), (0, 0), (0, 0), (1, 0))),
    )


def multisets(placements):
    return [tuple(n for n in row if n != NO_NODE) for row in placements.nodes.tolist()]


def pipelines_only(num_configs=1, num_layers=4):
    """Rate 12 / layers in pipelines of any length, nothing on one stage."""
    rates = np.zeros((4, 4, num_configs, num_layers))
    rates[1:, :3] = 12.0 / np.arange(1, num_layers + 1)
    return rates


def test_equal_rates_are_won_by_the_fewest_stages():
    # Four layers. One stage: 3 + 3 = 6; two stages of two layers: min(6, 6) = 6.
    rates = pipelines_only()
    rates[0, 3] = rates[1, 0]
    search_one = search.paper_multiset_search(separable(rates).rate_req_per_s)

    found, placements = search_one(np.array([[0, 0]]), np.zeros(1))

    assert found.tolist() == [6.0]
    assert placements.stages[0, :2].tolist() == [0, 0]
    assert placements.layers[0].tolist() == [4, 0, 0, 0, 0, 0]
    assert placements.points.tolist() == [NO_POINT]


def test_a_pipeline_that_wastes_no_work_is_found_although_little_is_to_be_won():
    # Rates 2 / j and 4 / j, six layers: stages of 2 and 4 layers both run at 1, and the work of
    # both nodes is 2 + 4 = 6 = 6 layers x 1: the upper bound is reached.
    rates = np.zeros((2, 4, 2, 6))
    rates[1, :3] = np.array([2.0, 4.0])[:, None] / np.arange(1, 7)
    search_one = search.paper_multiset_search(separable(rates).rate_req_per_s)

    found, placements = search_one(np.array([[0, 1]]), np.array([1.0 - 1e-9]))

    assert found.tolist() == [1.0]
    assert sorted(placements.layers[0, :2].tolist()) == [2, 4]


def test_placements_come_by_size_and_then_by_configurations():
    # Two nodes: 2 + 2 layers, rate 6. Three: stages 1 + 1 + 2 layers min 6, or two nodes in one
    # stage of three layers beside one of one: min(4 + 4, 12) = 8. Four: two and two, 12 > 6 + 6?
    # No: as much as two instances of two nodes, so that no template of four is needed.
    found = search_paper_space(separable(pipelines_only(num_configs=2)), LIMITS)
    assert multisets(found) == [
        (0, 0),
        (0, 1),
        (1, 1),
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 1),
        (1, 1, 1),
    ]
    assert found.capacity_req_per_s.tolist() == [6.0] * 3 + [8.0] * 4


def test_nodes_in_one_stage_are_templates_of_their_own():
    rates = np.zeros((4, 4, 2, 3))
    rates[0, 3] = 5.0
    found = search_paper_space(separable(rates), LIMITS)
    assert multisets(found) == [(0,), (1,)]
    assert found.capacity_req_per_s.tolist() == [5.0, 5.0]


def test_rounding_makes_no_template_of_a_sum_in_another_order():
    rates = np.zeros((4, 4, 3, 3))
    rates[0, 3] = np.array([0.1, 0.2, 0.3])[:, None]  # 0.1 + 0.2 + 0.3 > 0.1 + (0.2 + 0.3)
    assert multisets(search_paper_space(separable(rates), LIMITS)) == [(0,), (1,), (2,)]


def test_a_node_that_adds_nothing_makes_no_template():
    rates = pipelines_only(num_configs=2)
    rates[:, :, 1] = 0.0
    found = multisets(search_paper_space(separable(rates), LIMITS))
    assert found == [(0, 0), (0, 0, 0)]


def test_memory_limits_hold_for_several_nodes_but_not_for_one():
    # Weights 10 GiB, rho 12: two or more nodes need 10 to 120 GiB together.
    rates = pipelines_only(num_configs=3)
    rates[0, 3] = 0.5
    tables = separable(rates, memory_gib=[4.0, 50.0, 130.0], weight_gib=10.0)
    found = multisets(search_paper_space(tables, replace(LIMITS, max_nodes=3)))
    assert found[:3] == [(0,), (1,), (2,)]
    # 4+4 = 8 is too little, 4+50, 50+50 fit, 4+4+4 = 12 fits, 4+4+50, 4+50+50 fit, 150 does not.
    assert found[3:] == [(0, 1), (1, 1), (0, 0, 0), (0, 0, 1), (0, 1, 1)]


def test_a_multiset_below_the_weights_passes_on_what_lies_inside_it():
    rates = np.zeros((3, 4, 2, 2))
    rates[0, 3, 0] = 5.0  # configuration 0 alone holds both layers at rate 5
    rates[1:, :3, :, 0] = 1.0  # both hold one layer of a pipeline at rate 1
    tables = separable(rates, memory_gib=[4.0, 4.0], weight_gib=10.0)
    # Two nodes are below the weights and make no template; of three only 1 1 1 is new: stages of
    # two and one node, min(2, 1) = 1. The others hold a node 0, and that alone carries 5.
    found = search_paper_space(tables, replace(LIMITS, max_nodes=3))
    assert multisets(found) == [(0,), (1, 1, 1)]
    assert found.capacity_req_per_s.tolist() == [5.0, 1.0]


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_the_result_does_not_depend_on_how_the_work_is_cut(chunk, monkeypatch):
    rng = np.random.default_rng(5)
    rates = np.cumsum(rng.exponential(1.0, (4, 4, 3, 6)), axis=-1)[..., ::-1]
    whole = search_paper_space(separable(rates), LIMITS)

    monkeypatch.setattr(search, "CHUNK_MULTISETS", chunk)
    monkeypatch.setattr(search, "num_threads", lambda: 3)
    cut = search_paper_space(separable(rates), LIMITS)

    for field in fields(whole):
        np.testing.assert_array_equal(getattr(whole, field.name), getattr(cut, field.name))


def test_progress_adds_up_to_all_multisets():
    done = []
    search_paper_space(separable(pipelines_only(num_configs=3)), LIMITS, advance=done.append)
    assert sum(done) == 3 + 6 + 10 + 15


def test_no_useful_configuration_gives_no_placement():
    tables = separable(np.zeros((4, 4, 2, 3)))
    assert len(search_paper_space(tables, LIMITS)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rates: rates.__setitem__((1, 0, 0, 1), np.nan), "finite"),
        (lambda rates: rates.__setitem__((1, 0, 0, 1), -1.0), "not negative"),
        (lambda rates: rates.__setitem__((1, 0, 0, 1), 99.0), "must not rise"),
    ],
)
def test_rates_against_the_contract_are_refused(change, message):
    rates = pipelines_only()
    change(rates)
    with pytest.raises(InvalidInputError, match=message):
        search_paper_space(separable(rates), LIMITS)


@njit("float64(int64, float64[::1], float64[::1], float64, float64, float64)")
def inverse_step(stages, point, request, tau_s, stretch, floor):
    rate = point[0] / tau_s
    return rate if rate > floor else 0.0


def joint(layer_s, *, num_points=1, max_stages=3, most_alone=0):
    """Any number of layers fits in a pipeline, ``most_alone`` on one node."""
    layer_s = np.broadcast_to(layer_s, (max_stages, num_points, len(layer_s)))
    shape = (max_stages, num_points, 4, layer_s.shape[2])
    max_layers = np.full(shape, 99)
    max_layers[0] = most_alone
    return JointTables(
        configs=configs(layer_s.shape[2]),
        memory_gib=np.full(layer_s.shape[2], 2.0),
        weight_gib=1.0,
        layer_s=layer_s,
        extra_s=np.zeros(shape),
        stretch=np.ones(shape),
        max_layers=max_layers,
        point_params=np.ones((num_points, 1)),
        request_params=np.zeros(1),
    )


def test_a_pipeline_gives_the_slow_node_fewer_layers():
    # 1 and 2 s a layer, six layers: 4 x 1 and 2 x 2 s, so tau = 4 s and 1/4 req/s.
    placements = search_vllm_space(joint([1.0, 2.0]), 6, inverse_step, LIMITS)
    row = multisets(placements).index((0, 1))
    assert placements.capacity_req_per_s[row] == 0.25
    assert placements.layers[row, :2].tolist() == [4, 2]
    assert placements.stages[row, :2].tolist() == [0, 1]


def test_equal_operating_points_are_won_by_the_lowest():
    placements = search_vllm_space(joint([1.0], num_points=3), 6, inverse_step, LIMITS)
    assert placements.points.tolist() == [0, 0]


def test_pipelines_are_no_longer_than_tables_layers_and_limits_allow():
    longest = [
        max(len(nodes) for nodes in multisets(found))
        for found in (
            search_vllm_space(joint([1.0], max_stages=3), 6, inverse_step, LIMITS),
            search_vllm_space(joint([1.0], max_stages=4), 2, inverse_step, LIMITS),
            search_vllm_space(
                joint([1.0], most_alone=6), 6, inverse_step, replace(LIMITS, max_nodes=1)
            ),
        )
    ]
    assert longest == [3, 2, 1]


def test_tables_without_an_operating_point_give_no_placement():
    empty = joint([1.0], num_points=0)
    assert len(search_vllm_space(empty, 6, inverse_step, LIMITS)) == 0


@pytest.mark.parametrize("name", ["layer_s", "extra_s", "stretch"])
def test_times_that_are_no_times_are_refused(name):
    tables = joint([1.0])
    bad = getattr(tables, name).copy()
    bad[0, 0] = np.nan
    with pytest.raises(InvalidInputError, match=name):
        search_vllm_space(replace(tables, **{name: bad}), 6, inverse_step, LIMITS)
