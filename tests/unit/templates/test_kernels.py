"""Each compiled function against a slow one in plain Python."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations

import numpy as np
import pytest

from coral_solver.templates.joint_kernels import fill_shortest, relaxed_step_s
from coral_solver.templates.kernels import (
    best_roles,
    count_layers,
    fill_layers,
    most_layers,
    stage_rate,
)

LAYERS = 7


def random_rates(rng, *, roles=4, num_configs=3, rounded=False):
    """Shape (roles, C, LAYERS + 1), not rising with the layers; column 0 is never to be read."""
    rates = np.cumsum(rng.exponential(1.0, (roles, num_configs, LAYERS)), axis=-1)[..., ::-1]
    rates = np.round(rates) if rounded else rates
    return np.concatenate([np.full((roles, num_configs, 1), np.nan), rates], axis=-1)


def splits(total, parts):
    for cuts in combinations(range(1, total), parts - 1):
        edges = (0, *cuts, total)
        yield [b - a for a, b in pairwise(edges)]


def slow_stage_rate(rates, nodes, mask, layers):
    return sum(rates[config, layers] for k, config in enumerate(nodes) if mask >> k & 1)


def slow_rate(rates, nodes, pipeline, layers):
    last = len(pipeline) - 1
    return min(
        slow_stage_rate(rates[0 if s == 0 else 2 if s == last else 1], nodes, mask, layers[s])
        for s, mask in enumerate(pipeline)
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_stage_holds_the_most_layers_above_the_threshold(seed):
    rng = np.random.default_rng(seed)
    rates = random_rates(rng, roles=1, rounded=seed % 2 == 0)[0]
    nodes = np.array([0, 0, 1, 2])
    for mask in range(1, 16):
        threshold = float(np.round(rng.uniform(0.0, 12.0)))
        expected = [j for j in range(1, 6) if slow_stage_rate(rates, nodes, mask, j) > threshold]
        assert stage_rate(rates, nodes, mask, 3) == slow_stage_rate(rates, nodes, mask, 3)
        assert most_layers(rates, nodes, mask, threshold, 5) == max(expected, default=0)


@pytest.mark.parametrize("seed", range(10))
def test_counting_for_all_sets_of_nodes_equals_counting_for_each(seed):
    rng = np.random.default_rng(seed)
    rates = random_rates(rng, roles=1, rounded=seed % 2 == 0)[0]
    nodes = np.array([0, 1, 1, 2])
    sums = np.empty((16, LAYERS + 1))
    most = np.full(16, -1)

    count_layers(rates, nodes, 3, 5, 4.0, sums, most)

    for mask in range(1, 16):
        if mask.bit_count() > 3:
            assert most[mask] == -1
        else:
            assert most[mask] == most_layers(rates, nodes, mask, 4.0, 5)


@pytest.mark.parametrize("seed", range(20))
def test_taking_layers_from_the_slowest_stage_gives_the_best_split(seed):
    rng = np.random.default_rng(seed)
    rates = random_rates(rng, rounded=seed % 2 == 0)
    nodes = np.array([0, 1, 1, 2])
    pipeline = np.array([0b0001, 0b0110, 0b1000])
    layers = np.full(3, LAYERS)

    rate = fill_layers(rates, nodes, pipeline, layers, 3 * LAYERS - LAYERS)

    assert layers.sum() == LAYERS
    assert layers.min() >= 1
    assert rate == slow_rate(rates, nodes, pipeline, layers)
    assert rate == max(slow_rate(rates, nodes, pipeline, s) for s in splits(LAYERS, 3))


def test_the_later_of_two_equal_stages_gives_up_its_layers_first():
    rates = np.ones((4, 1, LAYERS + 1))
    layers = np.full(2, LAYERS)
    fill_layers(rates, np.array([0, 0]), np.array([0b01, 0b10]), layers, LAYERS)
    assert layers.tolist() == [6, 1]


@pytest.mark.parametrize("seed", range(20))
def test_the_best_first_and_last_stage_equal_those_of_all_orders(seed):
    rng = np.random.default_rng(seed)
    rates = random_rates(rng, rounded=seed % 2 == 0)
    nodes = np.array([0, 1, 1, 2])
    blocks = [0b0001, 0b0110, 0b1000]
    stage_of = np.full(4, -1)
    layers_of = np.full(4, -1)

    rate = best_roles(rates, nodes, np.array(blocks), LAYERS, 0.5, stage_of, layers_of)

    best = max(
        slow_rate(rates, nodes, order, split)
        for order in permutations(blocks)
        for split in splits(LAYERS, 3)
    )
    assert rate == pytest.approx(best, rel=1e-12)
    assert layers_of.sum() == LAYERS
    assert layers_of[3] == 0
    assert stage_of[1] == stage_of[2]


def test_roles_that_do_not_beat_the_best_write_nothing():
    rates = np.ones((4, 1, LAYERS + 1))
    stage_of = np.full(2, -1)
    layers_of = np.full(2, -1)
    blocks = np.array([0b01, 0b10])

    assert best_roles(rates, np.array([0, 0]), blocks, LAYERS, 1.0, stage_of, layers_of) == 1.0
    assert stage_of.tolist() == layers_of.tolist() == [-1, -1]


def slow_step(layer_s, extra_s, layers):
    return max(n * a + e for n, a, e in zip(layers, layer_s, extra_s, strict=True))


@pytest.mark.parametrize("seed", range(150))
def test_filling_gives_the_shortest_longest_step(seed):
    rng = np.random.default_rng(seed)
    layer_s, extra_s = rng.uniform(0.01, 0.1, 3), rng.uniform(0.0, 0.3, 3)
    caps = rng.integers(0, LAYERS + 1, 3)
    layers = np.zeros(3, dtype=np.int64)

    tau_s = fill_shortest(layer_s, extra_s, caps, LAYERS, layers)

    legal = [s for s in splits(LAYERS, 3) if all(n <= c for n, c in zip(s, caps, strict=True))]
    if not legal:
        assert tau_s == np.inf
    else:
        assert layers.tolist() in legal
        assert tau_s == slow_step(layer_s, extra_s, layers)
        assert tau_s == min(slow_step(layer_s, extra_s, s) for s in legal)
        assert relaxed_step_s(layer_s, extra_s, LAYERS) <= tau_s * (1 + 1e-12)


def test_the_first_of_two_equal_stages_gets_the_odd_layer():
    layers = np.zeros(2, dtype=np.int64)
    fill_shortest(np.ones(2), np.zeros(2), np.array([9, 9]), LAYERS, layers)
    assert layers.tolist() == [4, 3]


def test_more_stages_than_layers_cannot_be_filled():
    layers = np.zeros(3, dtype=np.int64)
    assert fill_shortest(np.ones(3), np.zeros(3), np.full(3, 9), 2, layers) == np.inf


def test_stages_whose_layers_take_no_time_are_filled_too():
    layers = np.zeros(2, dtype=np.int64)
    tau_s = fill_shortest(np.zeros(2), np.array([0.3, 0.2]), np.array([9, 9]), LAYERS, layers)
    assert tau_s == 0.3
    assert layers.sum() == LAYERS
