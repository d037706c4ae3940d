"""What must hold for the templates of any tables that keep the contract."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from coral_solver.domain.hardware import Link, NodeConfig
from coral_solver.performance.tables import JointTables, SeparableTables, role_of
from coral_solver.templates.placements import NO_NODE
from coral_solver.templates.search import SearchLimits, search_paper_space, search_vllm_space

NUM_CONFIGS = 3
NUM_LAYERS = 8
LIMITS = SearchLimits(max_nodes=4, rho=1e9)

deterministic = settings(deadline=None, derandomize=True, max_examples=60)
seeds = st.integers(min_value=0, max_value=2**32 - 1)


@njit("float64(int64, float64[::1], float64[::1], float64, float64, float64)")
def capacity_above(stages, point, request, tau_s, stretch, floor):
    rate = point[0] / (tau_s * stretch) if stages * tau_s <= request[0] else 0.0
    return rate if rate > floor else 0.0


def configs():
    return tuple(NodeConfig(f"GPU{i}", 1, Link.PCIE) for i in range(NUM_CONFIGS))


def separable(seed):
    """Rates that do not rise with the layers; zero where a random memory limit is reached."""
    rng = np.random.default_rng(seed)
    shape = (4, 4, NUM_CONFIGS, NUM_LAYERS)
    rates = np.cumsum(rng.exponential(1.0, shape), axis=-1)[..., ::-1].copy()
    most = rng.integers(0, NUM_LAYERS + 1, (4, 4, NUM_CONFIGS, 1))
    rates[np.arange(1, NUM_LAYERS + 1) > most] = 0.0
    return SeparableTables(
        configs=configs(),
        memory_gib=np.full(NUM_CONFIGS, 24.0),
        weight_gib=10.0,
        rate_req_per_s=np.pad(rates, ((0, 0), (0, 0), (0, 0), (1, 0))),
    )


def joint(seed):
    rng = np.random.default_rng(seed)
    shape = (4, 3, 4, NUM_CONFIGS)
    return JointTables(
        configs=configs(),
        memory_gib=np.full(NUM_CONFIGS, 24.0),
        weight_gib=10.0,
        layer_s=rng.uniform(0.01, 0.1, (4, 3, NUM_CONFIGS)),
        extra_s=rng.uniform(0.0, 0.2, shape),
        stretch=rng.choice([1.0, 1.5, 2.0], shape),
        max_layers=rng.integers(0, NUM_LAYERS + 1, shape),
        point_params=rng.uniform(1.0, 3.0, (3, 1)),
        request_params=np.array([2.0]),
    )


def paper_of(seed):
    return search_paper_space(separable(seed), LIMITS)


def vllm_of(seed):
    return search_vllm_space(joint(seed), NUM_LAYERS, capacity_above, LIMITS)


def by_multiset(placements):
    return {
        tuple(sorted(node for node in nodes if node != NO_NODE)): rate
        for nodes, rate in zip(
            placements.nodes.tolist(), placements.capacity_req_per_s.tolist(), strict=True
        )
    }


def carried(rates, nodes):
    """Return the most that some nodes carry with the library, as one instance or as several."""
    best = rates.get(nodes, 0.0)
    for size in range(1, len(nodes)):
        for chosen in combinations(range(len(nodes)), size):
            part = tuple(nodes[k] for k in chosen)
            rest = tuple(nodes[k] for k in range(len(nodes)) if k not in chosen)
            best = max(best, carried(rates, part) + carried(rates, rest))
    return best


both_spaces = pytest.mark.parametrize("library_of", [paper_of, vllm_of])


@both_spaces
@deterministic
@given(seed=seeds)
def test_every_template_carries_more_than_its_parts(library_of, seed):
    rates = by_multiset(library_of(seed))
    for nodes, rate in rates.items():
        assert rate > carried(rates | {nodes: 0.0}, nodes)


@both_spaces
@deterministic
@given(seed=seeds)
def test_the_layers_of_every_template_are_all_layers_and_no_stage_is_empty(library_of, seed):
    placements = library_of(seed)
    for stages, layers in zip(placements.stages, placements.layers, strict=True):
        used = sorted(set(stages[stages != NO_NODE].tolist()))
        assert used == list(range(len(used)))
        assert layers.sum() == NUM_LAYERS
        assert (layers[: len(used)] >= 1).all()
        assert not layers[len(used) :].any()


@deterministic
@given(seed=seeds, order=st.permutations(range(NUM_CONFIGS)))
def test_the_order_of_the_configurations_changes_no_paper_rate(seed, order):
    tables = separable(seed)
    shuffled = replace(tables, rate_req_per_s=tables.rate_req_per_s[:, :, order])
    before = by_multiset(search_paper_space(tables, LIMITS))
    after = by_multiset(search_paper_space(shuffled, LIMITS))
    assert before.keys() == {tuple(sorted(order[k] for k in nodes)) for nodes in after}
    for nodes, rate in after.items():
        # Sums are taken in another order, hence not to the last bit.
        assert before[tuple(sorted(order[k] for k in nodes))] == pytest.approx(rate, rel=1e-12)


@deterministic
@given(seed=seeds, order=st.permutations(range(NUM_CONFIGS)))
def test_the_order_of_the_configurations_changes_no_vllm_rate(seed, order):
    tables = joint(seed)
    names = ("layer_s", "extra_s", "stretch", "max_layers")
    shuffled = replace(tables, **{name: getattr(tables, name)[..., order] for name in names})
    before = by_multiset(search_vllm_space(tables, NUM_LAYERS, capacity_above, LIMITS))
    after = by_multiset(search_vllm_space(shuffled, NUM_LAYERS, capacity_above, LIMITS))
    assert {tuple(sorted(order[k] for k in nodes)): rate for nodes, rate in after.items()} == before


@deterministic
@given(seed=seeds, faster=st.integers(0, NUM_CONFIGS - 1))
def test_a_faster_configuration_lowers_no_paper_rate(seed, faster):
    tables = separable(seed)
    rates = tables.rate_req_per_s.copy()
    rates[:, :, faster] *= 1.3
    before = by_multiset(search_paper_space(tables, LIMITS))
    after = by_multiset(search_paper_space(replace(tables, rate_req_per_s=rates), LIMITS))
    for nodes, rate in before.items():
        assert carried(after, nodes) >= rate * (1 - 1e-11)


@deterministic
@given(seed=seeds, faster=st.integers(0, NUM_CONFIGS - 1))
def test_a_faster_configuration_lowers_no_vllm_rate(seed, faster):
    tables = joint(seed)
    layer_s = tables.layer_s.copy()
    layer_s[..., faster] *= 0.7
    before = by_multiset(search_vllm_space(tables, NUM_LAYERS, capacity_above, LIMITS))
    quick = replace(tables, layer_s=layer_s)
    after = by_multiset(search_vllm_space(quick, NUM_LAYERS, capacity_above, LIMITS))
    for nodes, rate in before.items():
        assert carried(after, nodes) >= rate * (1 - 1e-11)


@deterministic
@given(seed=seeds)
def test_a_paper_placement_runs_at_the_rate_it_claims(seed):
    tables = separable(seed)
    placements = search_paper_space(tables, LIMITS)
    for row, claimed in enumerate(placements.capacity_req_per_s):
        nodes, stages = placements.nodes[row], placements.stages[row]
        count = len(set(stages[stages != NO_NODE].tolist()))
        slowest = min(
            sum(
                tables.rate_req_per_s[
                    count - 1, role_of(stage, count), node, placements.layers[row, stage]
                ]
                for node, of in zip(nodes, stages, strict=True)
                if of == stage
            )
            for stage in range(count)
        )
        assert slowest == pytest.approx(claimed, rel=1e-12)


@both_spaces
@deterministic
@given(seed=seeds)
def test_a_higher_node_limit_keeps_every_smaller_template(library_of, seed):
    whole = by_multiset(library_of(seed))
    if library_of is paper_of:
        short = search_paper_space(separable(seed), replace(LIMITS, max_nodes=2))
    else:
        short = search_vllm_space(
            joint(seed), NUM_LAYERS, capacity_above, replace(LIMITS, max_nodes=2)
        )
    assert by_multiset(short) == {k: v for k, v in whole.items() if len(k) <= 2}
