"""Pruning of templates against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from coral_solver.allocation.dominance import undominated


def by_definition(counts, capacity):
    """Drop what one or two others cover, trying all of them."""
    kept = []
    n = len(counts)
    for i in range(n):
        enough = capacity[i] * (1 - 1e-12)
        single = any(
            (counts[j] <= counts[i]).all()
            and capacity[j] >= enough
            and ((counts[j] < counts[i]).any() or capacity[j] > capacity[i] or j < i)
            for j in range(n)
            if j != i
        )
        pair = any(
            (counts[j] + counts[k] <= counts[i]).all() and capacity[j] + capacity[k] >= enough
            for j in range(n)
            for k in range(j, n)
        )
        if not single and not pair:
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(40))
def test_exactly_the_covered_templates_are_dropped(seed):
    rng = np.random.default_rng(seed)
    configs, size = rng.integers(1, 6), rng.integers(1, 40)
    counts = np.array(
        [rng.multinomial(rng.integers(1, 5), np.ones(configs) / configs) for _ in range(size)]
    )
    capacity = rng.integers(1, 12, size).astype(float)
    assert undominated(counts, capacity).tolist() == by_definition(counts, capacity)


def test_without_demand_only_the_smallest_templates_stay():
    # Capped at a demand of 0 all carry the same: nothing.
    counts = np.array([[1, 0], [2, 0], [1, 1], [0, 2]])
    assert undominated(counts, np.zeros(4)).tolist() == [0, 3]


def test_no_templates_are_no_problem():
    kept = undominated(np.zeros((0, 3), dtype=np.int64), np.zeros(0))
    assert kept.tolist() == []


def test_large_templates_are_compared_one_to_one_only():
    # Nine nodes: looking for pairs among 2^8 splits is not worth it.
    counts = np.array([[9], [5], [4]])
    assert undominated(counts, np.array([9.0, 5.0, 4.5])).tolist() == [0, 1, 2]
    assert undominated(counts, np.array([5.0, 5.0, 4.5])).tolist() == [1, 2]
