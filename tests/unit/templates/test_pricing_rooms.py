"""Templates by their price in several rooms at once, and where searching for them is cut short."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.templates.pricing_cases import (
    dynamic,
    enumerated,
    random_limits,
    random_prices,
    random_room,
    random_tables,
)

from coral_solver.allocation.knapsack import UNBOUNDED, CoveringItems, cover_frontier
from coral_solver.templates import bounded, dynamic_pricer
from coral_solver.templates.bounded import cheapest
from coral_solver.templates.contents import Question, TooManyError
from coral_solver.templates.covers import CELLS, Covers
from coral_solver.templates.joint_climb import JointClimb
from coral_solver.templates.offers import Offer, Placed
from coral_solver.templates.pipeline_kernels import complete, list_pipelines
from coral_solver.templates.pricing import TOO_LONG, PaperPipelines

CASES = [
    *range(30),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(30, 430)),
]


def questions(rng, tables):
    """Three places: the same units, prices alike or not."""
    room = random_room(rng)
    first = random_prices(rng, tables)
    prices = np.array([first * rng.choice([1.0, 1.05, rng.uniform(0.7, 1.4)]) for _ in range(3)])
    prices[2] = np.where(rng.random(len(first)) < 0.5, prices[2], prices[1] * 1.1)
    rooms = [room._replace(slots=rng.permutation(room.slots)) for _ in range(3)]
    return prices, rooms


def least_costs(found, top, rates):
    """Least cost of each rate with any number of copies of what was found."""
    capacity = np.concatenate([part.capacity_req_per_s for part in found])
    cost = np.concatenate([part.cost for part in found])
    items = CoveringItems(capacity, cost, np.full(len(cost), UNBOUNDED))
    return cover_frontier(items, top, 0, longest=1 << 15).cost_of(rates)


@pytest.mark.parametrize("seed", CASES)
def test_covers_of_what_is_found_cost_as_much_as_covers_of_all_templates(seed):
    rng = np.random.default_rng(30_000 + seed)
    tables, limits = random_tables(rng), random_limits(rng)
    oracle, pricer = enumerated(tables, limits), dynamic(tables, limits)
    for _ in range(3):
        prices, rooms = questions(rng, tables)
        top = float(rng.choice([1.0, 4.0, 12.0]))

        expected = [
            oracle.staircase(row, room, top) for row, room in zip(prices, rooms, strict=True)
        ]
        found = pricer.staircases(prices, rooms, top)

        rates = np.linspace(0.0, top, 97)[1:]
        np.testing.assert_allclose(
            least_costs(found, top, rates), least_costs(expected, top, rates), rtol=1e-9
        )
        for row, room, part in zip(prices, rooms, found, strict=True):
            assert (part.counts @ room.units <= room.slots).all()
            np.testing.assert_allclose(part.counts @ row, part.cost, rtol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_where_a_search_is_given_up_costs_are_lower_bounds_of_real_templates(seed, monkeypatch):
    rng = np.random.default_rng(40_000 + seed)
    tables, limits = random_tables(rng), random_limits(rng)
    oracle = enumerated(tables, limits)
    monkeypatch.setattr(bounded, "FEW_LISTED", 1)
    monkeypatch.setattr(bounded, "LONGEST_LISTING", 1)
    monkeypatch.setattr(bounded, "MANY_TURNS", 1)
    pricer = dynamic(tables, limits)
    for _ in range(4):
        prices, rooms = questions(rng, tables)
        try:
            found = pricer.staircases(prices, rooms, 4.0)
        except TooManyError:
            continue  # nothing real is known that could stand for it
        expected = [
            oracle.staircase(row, room, 4.0) for row, room in zip(prices, rooms, strict=True)
        ]
        rates = np.linspace(0.0, 4.0, 41)[1:]
        assert (
            least_costs(found, 4.0, rates) <= least_costs(expected, 4.0, rates) * (1 + 1e-9)
        ).all()
        for row, room, part in zip(prices, rooms, found, strict=True):
            assert (part.counts @ room.units <= room.slots).all()
            assert (part.cost <= part.counts @ row * (1 + 1e-12)).all()
            assert (np.diff(part.cost) > 0).all()
            assert (np.diff(part.capacity_req_per_s) > 0).all()


def test_where_a_search_is_given_up_no_good_template_vanishes(monkeypatch):
    """A share of a best per GPU that no template has would leave out what is on offer."""
    searched = 0

    def hasty_cheapest(*args, **options):
        nonlocal searched
        least, found = cheapest(*args, **options)
        searched += found is not None
        return (least if found is None else 0.5 * least), found

    for seed in range(20):
        rng = np.random.default_rng(50_000 + seed)
        tables, limits = random_tables(rng), random_limits(rng)
        exact = dynamic(tables, limits)
        with monkeypatch.context() as patch:
            patch.setattr(dynamic_pricer, "cheapest", hasty_cheapest)
            hasty = dynamic(tables, limits)
        assert 0 <= hasty._least_per_gpu <= exact._least_per_gpu * (1 + 1e-12)
    assert searched > 20


class GivenUp:
    """A place whose searches end at a bound that falls, beside templates of 1, 2, ... req/s."""

    def at_hand(self, target):
        rate = max(1.0, float(np.ceil(target)))
        return Offer(10.0 * rate, rate, Placed(((0,) * int(rate),), (1,)))

    def search(self, target, budget):
        return min(budget, 9.0 - target), self.at_hand(target)


@pytest.mark.parametrize("ask", ["staircase", "useful"])
def test_a_later_bound_is_not_below_an_earlier_one(ask):
    # At the lowest rate nothing costs less than 9; later searches know less than that.
    found = getattr(JointClimb([GivenUp()], None), ask)(4.0)
    assert [step.offer.cost for step in found] == [9.0]
    assert found[0].offer.capacity_req_per_s == 4.0


def test_an_infinite_cost_says_that_there_is_no_such_pipeline():
    empty = 0
    for seed in range(60):
        rng = np.random.default_rng(60_000 + seed)
        tables, room = random_tables(rng), random_room(rng)
        pipelines = PaperPipelines(tables, 4)
        question = Question(
            prices=random_prices(rng, tables),
            rows=np.ascontiguousarray(room.units, dtype=np.float64),
            limits=room.slots.astype(np.float64),
        )
        target = float(rng.uniform(0.1, 8.0))
        for stages in range(2, pipelines.most_stages + 1):
            weights = np.zeros(len(question.limits))
            # A low budget: that nothing is below it says little, the horizon asks for the rest.
            least, found = cheapest(
                pipelines, stages, target, question, 0.5, weights, horizon=np.inf
            )
            there_are_some = (
                pipelines.listing(stages, target, question, np.inf, np.zeros(len(weights)))
                is not None
            )
            assert not (least == np.inf and there_are_some)
            assert found is None or there_are_some
            empty += least == np.inf
    assert empty > 5


def test_a_search_that_finds_nothing_below_a_budget_tells_what_it_knows_beyond():
    beyond = 0
    for seed in range(40):
        rng = np.random.default_rng(70_000 + seed)
        tables, limits = random_tables(rng), random_limits(rng)
        prices, room = random_prices(rng, tables), random_room(rng)
        pricer = dynamic(tables, limits)
        target = float(rng.uniform(0.1, 6.0))
        exact, _ = pricer._climb(pricer._question(prices, room)).search(target)
        budget = 0.5 * min(exact, 4.0)
        least, found = pricer._climb(pricer._question(prices, room)).search(target, budget)
        assert found is None
        assert budget <= least <= exact * (1 + 1e-9)
        beyond += budget < least
    assert beyond > 3


def test_a_listing_of_two_stages_is_given_up_too():
    # Ten contents for the first and ten for the last stage: 100 pairs, all of them pipelines.
    contents = np.ones(10, dtype=np.int64), np.full(10, 2), np.linspace(10.0, 1.0, 10)
    nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    middles, others = np.empty((1, 3, 5)), np.empty((4, 3, 5))
    complete(*contents, *nothing, *contents, middles, others, True)
    choice = np.empty((2, 2), dtype=np.int64)

    def listed(patience):
        used = np.ascontiguousarray(contents[2][:, None])
        return list_pipelines(
            *contents,
            used,
            *nothing,
            np.zeros((0, 1)),
            *contents,
            used,
            middles,
            others[1],
            100.0,
            0.0,
            True,
            np.array([100.0]),
            patience,
            choice,
        )

    assert listed(9) == TOO_LONG
    assert listed(100) == 1
    assert choice[0].tolist() == [9, 9]


def test_some_searches_are_given_up_and_some_end_in_an_error(monkeypatch):
    """So that the test before is about something."""
    monkeypatch.setattr(bounded, "FEW_LISTED", 1)
    monkeypatch.setattr(bounded, "LONGEST_LISTING", 1)
    monkeypatch.setattr(bounded, "MANY_TURNS", 1)
    below, errors = 0, 0
    for seed in range(12):
        rng = np.random.default_rng(40_000 + seed)
        tables, limits = random_tables(rng), random_limits(rng)
        pricer = dynamic(tables, limits)
        for _ in range(4):
            prices, rooms = questions(rng, tables)
            try:
                found = pricer.staircases(prices, rooms, 4.0)
            except TooManyError:
                errors += 1
                continue
            below += any(
                (part.cost < part.counts @ row * (1 - 1e-9)).any()
                for row, part in zip(prices, found, strict=True)
            )
    assert below > 0
    assert errors < 40


def test_known_templates_are_given_again_without_a_search(monkeypatch):
    rng = np.random.default_rng(7)
    tables, limits = random_tables(rng), random_limits(rng)
    pricer = dynamic(tables, limits)
    prices, rooms = questions(rng, tables)
    searched = pricer.staircases(prices, rooms, 4.0)
    monkeypatch.setattr(pricer, "_climb", None)
    again = pricer.staircases(prices, rooms, 4.0, known_only=True)
    rates = np.linspace(0.0, 4.0, 41)[1:]
    np.testing.assert_allclose(
        least_costs(again, 4.0, rates), least_costs(searched, 4.0, rates), rtol=1e-9
    )
    other = prices * rng.uniform(1.0, 1.3, prices.shape)
    for row, room, part in zip(
        other, rooms, pricer.staircases(other, rooms, 4.0, known_only=True), strict=True
    ):
        assert (part.counts @ room.units <= room.slots).all()
        np.testing.assert_allclose(part.counts @ row, part.cost, rtol=1e-12)
        assert (np.diff(part.cost) > 0).all()
        assert (np.diff(part.capacity_req_per_s) > 0).all()


def test_of_two_rooms_with_the_same_prices_the_first_one_sells():
    rng = np.random.default_rng(3)
    tables, limits = random_tables(rng), random_limits(rng)
    prices, rooms = questions(rng, tables)
    one = dynamic(tables, limits).staircases(prices[:1], rooms[:1], 4.0)
    first, second = dynamic(tables, limits).staircases(
        np.array([prices[0], prices[0]]), [rooms[0], rooms[0]], 4.0
    )
    assert len(one[0].cost) > 0
    assert first.cost.tolist() == one[0].cost.tolist()
    assert len(second.cost) == 0


def test_covers_by_hand():
    covers = Covers(float(CELLS))  # a cell is 1 req/s
    assert covers.cost_of(1.0) == np.inf
    assert covers.reach(100.0) == 0.0
    covers.add(10.0, 4.0)
    covers.add(3.5, 1.5)
    # Three and a half by one copy; 13 by both (4 + 1.5, the 3.5 rounded down to 3); 13.5 by 2 * 4
    # or by 4 * 1.5, since copies of one template are not rounded.
    assert covers.cost_of(3.5) == 1.5
    assert covers.cost_of(13.0) == 5.5
    assert covers.cost_of(13.5) == 6.0
    assert covers.reach(1.5) == 3.5
    assert covers.reach(5.5) == 13.0
    assert covers.reach(6.0) == 14.0
    covers.add(1.0, 0.0)
    assert covers.reach(0.0) == np.inf
    assert covers.cost_of(50.0) == 0.0
