"""Templates by their price out of a library, against a plain search of its list."""

from __future__ import annotations

import numpy as np
import pytest

from coral_solver.domain.hardware import Link, NodeConfig
from coral_solver.domain.pricing import Allowance, Room
from coral_solver.templates.library_pricer import LibraryPricer
from coral_solver.templates.placements import NO_NODE

CONFIGS = tuple(NodeConfig(f"GPU{i}", 1, Link.PCIE) for i in range(5))
COUNT = len(CONFIGS)


def random_pricer(rng, *, num_templates=300, longest=4):
    nodes = rng.integers(0, COUNT, (num_templates, longest)).astype(np.uint8)
    nodes[np.arange(longest) >= rng.integers(1, longest + 1, (num_templates, 1))] = NO_NODE
    capacity = np.round(rng.uniform(0.1, 9.0, num_templates), 1)  # ties
    return LibraryPricer(CONFIGS, [], np.arange(num_templates), nodes, capacity), nodes, capacity


def random_question(rng):
    units = np.eye(COUNT, dtype=np.int64) + np.triu(rng.integers(0, 2, (COUNT, COUNT)), 1)
    return np.round(rng.uniform(0, 3, COUNT), 1), Room(units, rng.integers(0, 7, COUNT))


def listed(nodes, prices, room):
    """By row: what a template takes and costs, where it fits."""
    found = {}
    for row, kinds in enumerate(nodes.tolist()):
        counts = np.bincount([kind for kind in kinds if kind != NO_NODE], minlength=COUNT)
        if (counts @ room.units <= room.slots).all():
            found[row] = counts, float(counts @ prices)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_staircase_has_the_cheapest_template_for_every_capacity(seed):
    rng = np.random.default_rng(seed)
    pricer, nodes, capacity = random_pricer(rng)
    prices, room = random_question(rng)
    enough = float(rng.choice([2.0, 6.0, np.inf]))
    fitting = listed(nodes, prices, room)

    found = pricer.staircase(prices, room, enough)

    assert (np.diff(found.cost) > 0).all()
    assert (np.diff(found.capacity_req_per_s) > 0).all()
    for row, handle in enumerate(found.handles.tolist()):
        counts, cost = fitting[handle]
        assert found.counts[row].tolist() == counts.tolist()
        assert found.cost[row] == pytest.approx(cost, rel=1e-12)
        assert found.capacity_req_per_s[row] == capacity[handle]
    for wanted in {min(enough, c) for c in capacity.tolist()}:
        costs = [cost for row, (_, cost) in fitting.items() if capacity[row] >= wanted]
        steps = found.cost[found.capacity_req_per_s >= wanted]
        assert min(costs, default=None) == (
            pytest.approx(steps[0], rel=1e-12) if len(steps) else None
        )


@pytest.mark.parametrize("seed", range(20))
def test_within_gives_all_that_cost_no_more_than_allowed(seed):
    rng = np.random.default_rng(100 + seed)
    pricer, nodes, capacity = random_pricer(rng)
    prices, room = random_question(rng)
    steps, allowed = np.sort(rng.uniform(1, 9, 3)), np.sort(rng.uniform(1, 9, 3))

    found = pricer.within(prices, room, Allowance(steps, allowed), 1000)

    def may_cost(rate):
        return next((a for s, a in zip(steps, allowed, strict=True) if rate <= s), allowed[-1])

    expected = {
        row
        for row, (_, cost) in listed(nodes, prices, room).items()
        if cost <= may_cost(capacity[row])
    }
    assert set(found.handles.tolist()) == expected
    assert (np.diff(found.cost) >= 0).all()
    if expected:
        assert pricer.within(prices, room, Allowance(steps, allowed), len(expected) - 1) is None
    assert pricer.within(prices, room, Allowance(steps, allowed), len(expected)) is not None


def test_what_does_not_fit_is_not_affordable_at_any_price():
    pricer = LibraryPricer(
        CONFIGS, [], np.arange(1), np.array([[0, 1]], dtype=np.uint8), np.array([1.0])
    )
    room = Room(np.eye(COUNT, dtype=np.int64), np.array([1, 0, 1, 1, 1]))
    endless = Allowance(np.array([np.inf]), np.array([np.inf]))
    assert len(pricer.within(np.zeros(COUNT), room, endless, 5).cost) == 0
    assert len(pricer.staircase(np.zeros(COUNT), room, 1.0).cost) == 0
