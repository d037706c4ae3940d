"""Stage 1 against two independent answers: brute force, and the integer program of OR-Tools."""

from __future__ import annotations

from itertools import (
    combinations,
    combinations_with_replacement,
    pairwise,
    permutations,
    product,
)

import numpy as np
import pytest
from numba import njit

from coral_solver.domain.hardware import Link, NodeConfig
from coral_solver.performance.tables import JointTables, SeparableTables, role_of
from coral_solver.templates.oracle import best_paper_rate, best_vllm_rate
from coral_solver.templates.placements import NO_NODE
from coral_solver.templates.search import (
    SearchLimits,
    paper_multiset_search,
    search_paper_space,
    search_vllm_space,
    vllm_multiset_search,
)

CASES = [
    *range(30),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(30, 530)),
]


def configs(count):
    return tuple(NodeConfig(f"GPU{i}", 1, Link.PCIE) for i in range(count))


def random_separable(rng, *, num_configs=3, max_stages=4, num_layers=6):
    """Tables with everything the contract allows: any roles, memory limits, sometimes ties."""
    shape = (max_stages, 4, num_configs, num_layers)
    rates = np.cumsum(rng.exponential(1.0, shape), axis=-1)[..., ::-1].copy()
    rates *= rng.uniform(0.2, 3.0, (max_stages, 1, num_configs, 1))
    if rng.random() < 0.3:
        rates = np.round(rates)  # equal rates: exercises the tie-breaks
    most = rng.integers(0, num_layers + 1, (max_stages, 4, num_configs, 1))
    rates[np.arange(1, num_layers + 1) > most] = 0.0
    return SeparableTables(
        configs=configs(num_configs),
        memory_gib=rng.uniform(10.0, 100.0, num_configs),
        weight_gib=30.0,
        rate_req_per_s=np.concatenate([np.full((*shape[:3], 1), 99.0), rates], axis=-1),
    )


def random_joint(rng, *, num_configs=3, max_stages=4, num_layers=6, num_points=3):
    shape = (max_stages, num_points, 4, num_configs)
    layer_s = rng.uniform(0.01, 0.1, (max_stages, num_points, num_configs))
    return JointTables(
        configs=configs(num_configs),
        memory_gib=rng.uniform(10.0, 100.0, num_configs),
        weight_gib=30.0,
        layer_s=layer_s,
        extra_s=rng.uniform(0.0, 0.3, shape),
        stretch=rng.choice([1.0, 1.2, 1.7, 2.5], shape),
        max_layers=rng.integers(0, num_layers + 1, shape),
        point_params=np.stack(
            [rng.uniform(1.0, 3.0, num_points), rng.uniform(0.0, 2.0, num_points)], axis=1
        ),
        request_params=np.array([rng.uniform(0.5, 3.0)]),
    )


@njit("float64(int64, float64[::1], float64[::1], float64, float64, float64)")
def capacity_above(stages, point, request, tau_s, stretch, floor):
    if stages * tau_s > request[0]:
        return 0.0
    rate = point[0] / (tau_s * (1.0 + point[1] * (stretch - 1.0)))
    return rate if rate > floor else 0.0


def capacity_of(stages, point, request, tau_s, stretch):
    return capacity_above(stages, point, request, tau_s, stretch, 0.0)


def splits(total, parts):
    """All ways to write ``total`` as an ordered sum of ``parts`` positive numbers."""
    for cuts in combinations(range(1, total), parts - 1):
        edges = (0, *cuts, total)
        yield [b - a for a, b in pairwise(edges)]


def brute_force_paper(tables, nodes):
    rate = tables.rate_req_per_s.tolist()
    num_layers = len(rate[0][0][0]) - 1
    best = 0.0
    for stages in range(1, min(len(nodes), num_layers, len(rate)) + 1):
        for stage_of in product(range(stages), repeat=len(nodes)):
            if len(set(stage_of)) < stages:
                continue
            for layers in splits(num_layers, stages):
                totals = [0.0] * stages
                for node, stage in zip(nodes, stage_of, strict=True):
                    role = role_of(stage, stages)
                    totals[stage] += rate[stages - 1][role][node][layers[stage]]
                best = max(best, min(totals))
    return best


def brute_force_vllm(tables, num_layers, nodes):
    stages = len(nodes)
    if stages > min(num_layers, len(tables.max_layers)):
        return 0.0
    best = 0.0
    for point, order, layers in product(
        range(len(tables.point_params)),
        set(permutations(nodes)),
        list(splits(num_layers, stages)),
    ):
        at = (stages - 1, point)
        tau_s = stretch = 0.0
        for stage, (config, held) in enumerate(zip(order, layers, strict=True)):
            role = role_of(stage, stages)
            if held > tables.max_layers[at][role, config]:
                break
            tau_s = max(tau_s, held * tables.layer_s[at][config] + tables.extra_s[at][role, config])
            stretch = max(stretch, tables.stretch[at][role, config])
        else:
            row = tables.point_params[point]
            best = max(best, capacity_of(stages, row, tables.request_params, tau_s, stretch))
    return best


def allowed_multisets(tables, limits):
    for size in range(1, limits.max_nodes + 1):
        for nodes in combinations_with_replacement(range(len(tables.configs)), size):
            total = sum(tables.memory_gib[k] for k in nodes)
            if size == 1 or tables.weight_gib <= total <= limits.rho * tables.weight_gib:
                yield nodes


def cuts_in_two(nodes):
    for size in range(1, len(nodes)):
        for chosen in combinations(range(len(nodes)), size):
            rest = [k for k in range(len(nodes)) if k not in chosen]
            yield tuple(nodes[k] for k in chosen), tuple(nodes[k] for k in rest)


def carried(reached, nodes):
    """Return the most that some nodes carry, as one instance or as several."""
    parts = (carried(reached, a) + carried(reached, b) for a, b in cuts_in_two(nodes))
    return max(reached.get(nodes, 0.0), *parts, 0.0)


def assert_library_is_exact(tables, limits, placements, best_of):
    """Check that each multiset has its best rate, unless its parts together carry as much."""
    reached = {nodes: best_of(nodes) for nodes in allowed_multisets(tables, limits)}
    found = {}
    for row, rate in zip(placements.nodes.tolist(), placements.capacity_req_per_s, strict=True):
        nodes = tuple(sorted(node for node in row if node != NO_NODE))
        assert nodes not in found, "each multiset once"
        found[nodes] = rate
    assert found.keys() <= reached.keys()
    for nodes, best in reached.items():
        in_parts = carried(reached | {nodes: 0.0}, nodes)
        if best > in_parts * (1 + 1e-9):
            assert found[nodes] == pytest.approx(best, rel=1e-9)
        elif best < in_parts * (1 - 1e-9) or best == 0.0:
            assert nodes not in found


def assert_placement_is_real(tables, placements, row):
    """Check that the rate which a placement claims follows from its own stages and layers."""
    rate = tables.rate_req_per_s
    nodes = [n for n in placements.nodes[row].tolist() if n != NO_NODE]
    stage_of = placements.stages[row].tolist()[: len(nodes)]
    stages = max(stage_of) + 1
    layers = placements.layers[row].tolist()
    assert sorted(set(stage_of)) == list(range(stages))
    assert sum(layers) == rate.shape[3] - 1
    assert all(layers[:stages])
    assert not any(layers[stages:])
    totals = [0.0] * stages
    for node, stage in zip(nodes, stage_of, strict=True):
        totals[stage] += rate[stages - 1, role_of(stage, stages), node, layers[stage]]
    assert min(totals) == pytest.approx(placements.capacity_req_per_s[row], rel=1e-12)


@pytest.mark.parametrize("seed", CASES)
def test_the_paper_library_equals_brute_force(seed):
    tables = random_separable(np.random.default_rng(seed))
    limits = SearchLimits(max_nodes=4, rho=7.0)

    placements = search_paper_space(tables, limits)

    assert_library_is_exact(
        tables, limits, placements, lambda nodes: brute_force_paper(tables, nodes)
    )
    for row in range(len(placements)):
        assert_placement_is_real(tables, placements, row)


@pytest.mark.parametrize("seed", CASES)
def test_the_paper_search_equals_the_integer_program(seed):
    rng = np.random.default_rng(1000 + seed)
    tables = random_separable(rng)
    size = 4 if seed % 25 == 24 else 1 + seed % 3  # four nodes take the solver seconds
    nodes = np.sort(rng.integers(0, 3, size))[None]

    rates, _ = paper_multiset_search(tables.rate_req_per_s)(nodes, np.zeros(1))

    assert rates[0] == pytest.approx(best_paper_rate(tables, nodes[0].tolist()), rel=1e-9)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_six_nodes_and_as_many_stages_equal_brute_force(seed):
    rng = np.random.default_rng(2000 + seed)
    tables = random_separable(rng, max_stages=6, num_layers=7)
    nodes = np.array([[0, 0, 1, 1, 1, 2]])

    rates, placements = paper_multiset_search(tables.rate_req_per_s)(nodes, np.zeros(1))

    assert rates[0] == pytest.approx(brute_force_paper(tables, nodes[0].tolist()), rel=1e-9)
    assert_placement_is_real(tables, placements, 0)


@pytest.mark.parametrize("seed", CASES)
def test_the_vllm_library_equals_brute_force(seed):
    tables = random_joint(np.random.default_rng(3000 + seed))
    limits = SearchLimits(max_nodes=4, rho=7.0)

    placements = search_vllm_space(tables, 6, capacity_above, limits)

    assert_library_is_exact(
        tables, limits, placements, lambda nodes: brute_force_vllm(tables, 6, nodes)
    )


@pytest.mark.parametrize("seed", range(3))
def test_vllm_pipelines_of_more_than_six_nodes_equal_brute_force(seed):
    tables = random_joint(
        np.random.default_rng(5000 + seed), num_configs=2, max_stages=8, num_layers=9, num_points=2
    )
    tables.max_layers[:] += 2
    nodes = np.array([[0, 0, 0, 0, 1, 1, 1]])

    rates, placements = vllm_multiset_search(tables, 9, capacity_above)(nodes, np.zeros(1))

    assert rates[0] == pytest.approx(brute_force_vllm(tables, 9, nodes[0].tolist()), rel=1e-9)
    assert placements.nodes.shape[1] == 7


@pytest.mark.parametrize("seed", CASES)
def test_the_vllm_search_equals_the_integer_program(seed):
    rng = np.random.default_rng(4000 + seed)
    tables = random_joint(rng, num_layers=12)
    nodes = np.sort(rng.integers(0, 3, rng.integers(1, 5)))[None]

    rates, _ = vllm_multiset_search(tables, 12, capacity_above)(nodes, np.zeros(1))

    expected = best_vllm_rate(tables, 12, nodes[0].tolist(), capacity_of)
    assert rates[0] == pytest.approx(expected, rel=1e-9)
