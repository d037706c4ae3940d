"""Templates by their price without a library: against the full enumeration, and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.templates.pricing_cases import (
    dynamic,
    enumerated,
    more_than_single_nodes,
    random_allowance,
    random_limits,
    random_prices,
    random_room,
    random_tables,
)

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import Link, NodeConfig
from coral_solver.domain.pricing import Allowance, Room
from coral_solver.performance.tables import SeparableTables, role_of
from coral_solver.templates.dynamic_pricer import PricingLimits

CASES = [
    *range(30),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(30, 430)),
]
SMALL, LARGE = NodeConfig("S", 1, Link.PCIE), NodeConfig("L", 4, Link.PCIE)
OPEN = Room(np.eye(2, dtype=np.int64), np.full(2, 1000))


@pytest.mark.parametrize("seed", CASES)
def test_staircases_equal_those_of_the_full_enumeration(seed):
    rng = np.random.default_rng(seed)
    tables, limits = random_tables(rng), random_limits(rng)
    oracle, pricer = enumerated(tables, limits), dynamic(tables, limits)
    for _ in range(4):
        prices, room = random_prices(rng, tables), random_room(rng)
        enough = float(rng.choice([1.0, 5.0, 1e9]))

        expected = oracle.staircase(prices, room, enough)
        found = pricer.staircase(prices, room, enough)

        np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-9)
        # What the last one carries beyond enough is worth nothing.
        np.testing.assert_allclose(
            np.minimum(found.capacity_req_per_s, enough),
            np.minimum(expected.capacity_req_per_s, enough),
            rtol=1e-9,
        )
        assert (found.counts @ room.units <= room.slots).all()
        np.testing.assert_allclose(found.counts @ prices, found.cost, rtol=1e-12)


@pytest.mark.parametrize("seed", CASES)
def test_what_is_affordable_equals_the_full_enumeration(seed):
    rng = np.random.default_rng(10_000 + seed)
    tables, limits = random_tables(rng), random_limits(rng)
    oracle, pricer = enumerated(tables, limits), dynamic(tables, limits)
    for _ in range(3):
        question = random_prices(rng, tables), random_room(rng), random_allowance(rng)

        expected = more_than_single_nodes(tables, oracle.within(*question, 10**6))
        found = more_than_single_nodes(tables, pricer.within(*question, 10**6))

        assert found.keys() == expected.keys()
        for nodes, rate in found.items():
            assert rate == pytest.approx(expected[nodes], rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_templates_run_at_the_rate_that_they_claim(seed):
    rng = np.random.default_rng(20_000 + seed)
    tables, limits = random_tables(rng), random_limits(rng)
    pricer = dynamic(tables, limits)
    found = pricer.staircase(random_prices(rng, tables), random_room(rng), 1e9)
    rates = tables.rate_req_per_s
    for row, handle in enumerate(found.handles.tolist()):
        stages, rate = pricer.template(handle)
        assert sum(stage.layers for stage in stages) == rates.shape[3] - 1
        totals = [
            sum(
                rates[len(stages) - 1, role_of(i, len(stages)), tables.configs.index(c), layers]
                for c in configs
            )
            for i, (layers, configs) in enumerate(stages)
        ]
        assert min(totals) == pytest.approx(rate, rel=1e-12)
        assert rate == found.capacity_req_per_s[row]
        used = [c for _, configs in stages for c in configs]
        assert [used.count(c) for c in tables.configs] == found.counts[row].tolist()


def test_the_same_template_keeps_its_handle_and_its_answers_do_not_depend_on_earlier_ones():
    rng = np.random.default_rng(5)
    tables, limits = random_tables(rng), random_limits(rng)
    pricer = dynamic(tables, limits)
    questions = [(random_prices(rng, tables), random_room(rng), 1e9) for _ in range(6)]
    first = [pricer.staircase(*question) for question in questions]
    again = [pricer.staircase(*question) for question in questions]
    fresh = [dynamic(tables, limits).staircase(*question) for question in questions]
    for one, two, three in zip(first, again, fresh, strict=True):
        assert one.handles.tolist() == two.handles.tolist()
        np.testing.assert_allclose(one.cost, three.cost, rtol=1e-12)
        np.testing.assert_allclose(one.capacity_req_per_s, three.capacity_req_per_s, rtol=1e-9)


def small_and_large():
    """S holds 2 of 4 layers at 3 req/s (1 layer at 6), L all at 2 (fewer layers: more)."""
    rates = np.zeros((2, 4, 2, 5))
    rates[:, :, 0, 1:] = [6.0, 3.0, 0.0, 0.0]
    rates[:, :, 1, 1:] = [8.0, 4.0, 8 / 3, 2.0]
    return SeparableTables(
        configs=(SMALL, LARGE),
        memory_gib=np.array([10.0, 40.0]),
        weight_gib=16.0,
        rate_req_per_s=rates,
    )


def priced(**changes):
    limits = {"max_nodes": 2, "rho": 100.0, "min_share": 0.0} | changes
    return dynamic(small_and_large(), PricingLimits(**limits))


def test_a_staircase_by_hand():
    # S costs 1, L costs 3. Two S hold 2 + 2 layers: 3 req/s for 2. S and L: S 2 at 3, L 2 at 4:
    # 3 req/s for 4, no step. Two L hold 2 + 2: 4 req/s for 6.
    found = priced().staircase(np.array([1.0, 3.0]), OPEN, 10.0)
    assert found.capacity_req_per_s.tolist() == [3.0, 4.0]
    assert found.cost.tolist() == [2.0, 6.0]
    assert found.counts.tolist() == [[2, 0], [0, 2]]
    # Enough is enough.
    assert priced().staircase(np.array([1.0, 3.0]), OPEN, 2.5).cost.tolist() == [2.0]


def test_room_for_one_small_node_forbids_two_of_them():
    room = OPEN._replace(slots=np.array([1, 5]))
    found = priced().staircase(np.array([1.0, 3.0]), room, 10.0)
    assert found.cost.tolist() == [3.0, 4.0, 6.0]
    assert found.counts.tolist() == [[0, 1], [1, 1], [0, 2]]


def test_a_large_slice_takes_the_room_of_small_ones():
    # One L takes the room of 4 S; there is room for 5 S: not for two L, but for L and S.
    room = Room(np.array([[1, 0], [4, 1]]), np.array([5, 2]))
    found = priced().staircase(np.array([10.0, 3.0]), room, 10.0)
    assert found.counts.tolist() == [[0, 1], [1, 1]]


def test_the_memory_cap_holds_for_two_or_more_nodes():
    # 3 x 16 GiB: S and S have 20, S and L 50, L and L 80; L alone is free of the cap.
    found = priced(rho=3.0).staircase(np.array([1.0, 0.5]), OPEN, 10.0)
    assert found.counts.tolist() == [[0, 1], [2, 0]]
    assert found.capacity_req_per_s.tolist() == [2.0, 3.0]


def test_what_carries_little_per_gpu_is_not_on_offer():
    # Per GPU: two S 1.5, L 0.5, S and L 0.6, two L 0.5.
    found = priced(min_share=0.35).staircase(np.array([9.0, 1.0]), OPEN, 10.0)
    assert found.counts.tolist() == [[1, 1]]
    everything = priced(min_share=0.3).staircase(np.array([9.0, 1.0]), OPEN, 10.0)
    assert everything.counts.tolist() == [[0, 1], [0, 2]]


def test_all_that_is_affordable_by_hand():
    allowance = Allowance(np.array([2.5, 10.0]), np.array([3.0, 4.0]))
    found = priced().within(np.array([1.0, 3.0]), OPEN, allowance, 10)
    # L carries 2 for 3; of those with more, two S (2) and S with L (4) are within 4, two L are not.
    assert found.counts.tolist() == [[2, 0], [0, 1], [1, 1]]
    assert priced().within(np.array([1.0, 3.0]), OPEN, allowance, 2) is None


def test_nothing_fits_into_no_room():
    nothing = OPEN._replace(slots=np.zeros(2, dtype=np.int64))
    assert len(priced().staircase(np.ones(2), nothing, 1.0).cost) == 0
    assert len(priced().within(np.ones(2), nothing, Allowance(np.ones(1), np.ones(1)), 5).cost) == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (np.nan, "finite"),
        (np.inf, "finite"),
        (-1.0, "not negative"),
        (9.0, "must not rise"),
    ],
)
def test_rates_that_cannot_be_are_refused(fault, message):
    tables = small_and_large()
    rates = tables.rate_req_per_s.copy()
    rates[1, 0, 0, 2] = fault
    with pytest.raises(InvalidInputError, match=message):
        dynamic(
            replace(tables, rate_req_per_s=rates),
            PricingLimits(max_nodes=2, rho=12.0, min_share=0.01),
        )
