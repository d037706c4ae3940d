"""Covering knapsacks: the frontier against brute force, and lower bounds where it is too long."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from coral_solver.allocation.knapsack import UNBOUNDED, CoveringItems, cover_frontier


def items_of(*rows):
    """Make items of (capacity, cost, most)."""
    capacity, cost, most = zip(*rows, strict=True)
    return CoveringItems(np.array(capacity), np.array(cost), np.array(most, dtype=np.int64))


def brute_force(items, rate, number):
    """Try all numbers of copies, unbounded ones up to what alone reaches rate and number."""
    ranges = []
    for capacity, most in zip(items.capacity_req_per_s, items.most, strict=True):
        enough = max(number, int(np.ceil(rate / capacity)))
        ranges.append(range(int(most if most < UNBOUNDED else enough) + 1))
    best = np.inf
    for copies in product(*ranges):
        if copies @ items.capacity_req_per_s >= rate * (1 - 1e-12) and sum(copies) >= number:
            best = min(best, float(copies @ items.cost))
    return best


def test_the_cheapest_cover_is_not_the_one_of_the_best_item():
    # Two of 3 req/s at 4 USD cost 8; one of each covers 5 req/s for 6.5 USD.
    frontier = cover_frontier(items_of((3.0, 4.0, UNBOUNDED), (2.0, 2.5, 1)), 5.0, 0)
    assert frontier.cost_of(np.array([5.0])).tolist() == [6.5]
    assert frontier.items_of(len(frontier.cost) - 1) == {0: 1, 1: 1}


@pytest.mark.parametrize("seed", range(60))
def test_the_frontier_agrees_with_brute_force_at_every_rate(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 4))
    items = CoveringItems(
        rng.uniform(0.3, 2.0, size),
        rng.uniform(-0.2, 2.0, size),
        np.where(rng.random(size) < 0.5, rng.integers(1, 4, size), UNBOUNDED),
    )
    items = items._replace(cost=np.where(items.most == UNBOUNDED, np.abs(items.cost), items.cost))
    rate, number = float(rng.choice([0.0, 1.1, 2.7])), int(rng.integers(0, 4))
    frontier = cover_frontier(items, rate, number)
    for wanted in np.linspace(0.0, rate, 7):
        expected = brute_force(items, float(wanted), number)
        found = float(frontier.cost_of(np.array([wanted]))[0])
        assert found == pytest.approx(expected)
        if np.isfinite(found):
            copies = frontier.items_of(frontier.point_of(float(wanted)))
            capacity = sum(items.capacity_req_per_s[i] * n for i, n in copies.items())
            assert capacity >= wanted * (1 - 1e-8)
            assert sum(copies.values()) >= number
            assert all(n <= items.most[i] for i, n in copies.items())
            assert sum(items.cost[i] * n for i, n in copies.items()) == pytest.approx(found)


def test_what_pays_for_itself_is_taken_whether_it_is_needed_or_not():
    # Two copies at -1 USD, then one of 1 req/s at 3 USD for the rest of 3 req/s.
    frontier = cover_frontier(items_of((1.0, -1.0, 2), (1.0, 3.0, UNBOUNDED)), 3.0, 0)
    assert frontier.cost_of(np.array([0.0, 2.0, 3.0])).tolist() == [-2.0, -2.0, 1.0]


def test_a_rate_out_of_reach_costs_infinitely_much():
    frontier = cover_frontier(items_of((1.0, 1.0, 2)), 3.0, 0)
    assert frontier.cost_of(np.array([2.0, 3.0])).tolist() == [2.0, np.inf]


def test_a_frontier_that_is_too_long_becomes_a_lower_bound():
    rng = np.random.default_rng(3)
    capacity = rng.uniform(0.5, 1.5, 12)
    items = CoveringItems(capacity, capacity**1.1, np.full(12, UNBOUNDED))
    exact = cover_frontier(items, 20.0, 0)
    rounded = cover_frontier(items, 20.0, 0, longest=200)
    assert len(rounded.cost) <= 200 < len(exact.cost)
    rates = np.linspace(0.0, 20.0, 101)
    low, high = rounded.cost_of(rates), exact.cost_of(rates)
    assert np.all(low <= high + 1e-9)
    assert low[-1] > 0.5 * high[-1]
