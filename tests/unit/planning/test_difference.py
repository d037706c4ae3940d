"""What two plans' difference proves, and what the gaps leave open."""

from __future__ import annotations

import pytest
from tests.unit.planning.support import cost, facts, level, served

from coral_solver.planning.difference import Effect, difference

FULL = served(1.0)


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        # Both proven: 12 - 10 = +2.
        (cost(10), cost(12), Effect.DEARER),
        (cost(12), cost(10), Effect.CHEAPER),
        # Before lies in [9, 10], after in [9.5, 12]: the best after may cost less than before.
        (cost(10, 9), cost(12, 9.5), Effect.NO_DIFFERENCE_PROVEN),
        # After in [10.5, 12] is dearer than anything in [9, 10].
        (cost(10, 9), cost(12, 10.5), Effect.DEARER),
        (cost(12, 10.5), cost(10, 9), Effect.CHEAPER),
        # Equal values alone prove nothing: the second may cost 8.
        (cost(10), cost(10, 8), Effect.NO_DIFFERENCE_PROVEN),
        (cost(10), cost(10), Effect.SAME),
        # Both within 1e-4 of their bounds, 1e-4 apart: closer than the gaps can tell.
        (cost(10, 9.9995), cost(10.0005, 9.9995), Effect.SAME),
    ],
)
def test_costs_are_compared_with_their_bounds(before, after, effect):
    found = difference(facts(FULL, before, usd=before.value), facts(FULL, after, usd=after.value))
    assert found.effect is effect
    assert found.cost_usd_per_hour == pytest.approx(after.value - before.value)
    assert found.is_proven is (effect in (Effect.DEARER, Effect.CHEAPER))
    assert found.level == ("cost_usd_per_hour" if found.is_proven else None)


def test_the_difference_of_the_best_plans_lies_between_the_bounds():
    found = difference(facts(FULL, cost(10, 9)), facts(FULL, cost(12, 10.5), usd=12))
    # Least: 10.5 - 10; most: 12 - 9.
    assert found.least_usd_per_hour == pytest.approx(0.5)
    assert found.most_usd_per_hour == pytest.approx(3.0)


def test_served_demand_comes_before_cost():
    before = facts(served(0.8), cost(10), unmet={"a": 2.0})
    after = facts(served(0.9), cost(30), usd=30, unmet={"a": 1.0})
    gained = difference(before, after)
    assert (gained.effect, gained.level) == (Effect.SERVES_MORE, "served_share")
    assert gained.unmet_req_per_s == pytest.approx(-1.0)
    assert gained.unmet_by_model == {"a": pytest.approx(-1.0)}
    assert difference(after, before).effect is Effect.SERVES_LESS


def test_a_gain_within_the_gap_of_the_served_level_proves_nothing_further_down():
    # 0.8 may really be 0.95; that the second costs half says nothing then.
    before = facts(served(0.8, 0.95), cost(10))
    after = facts(served(0.9, 0.95), cost(5), usd=5)
    assert difference(before, after).effect is Effect.NO_DIFFERENCE_PROVEN


def test_equal_service_is_compared_by_cost_even_where_more_might_be_served():
    before = facts(served(0.8, 0.95), cost(10))
    after = facts(served(0.8, 0.95), cost(5), usd=5)
    assert difference(before, after).effect is Effect.CHEAPER


def test_a_level_that_one_plan_does_not_report_is_met_in_full():
    # The second smallest share is reported only where the smallest is short.
    short = facts(served(0.5), served(0.7, name="served_share_2"), cost(10))
    half = facts(served(0.5), cost(10))
    assert difference(short, half).level == "served_share_2"
    assert difference(short, half).effect is Effect.SERVES_MORE
    assert difference(half, short).effect is Effect.SERVES_LESS


def test_levels_of_classes_are_compared_in_the_order_of_the_classes():
    high, low = "served_share_p10", "served_share_p0"
    before = facts(served(1.0, name=high), served(0.2, name=low), cost(10))
    after = facts(
        served(0.9, name=high),
        served(0.95, name=f"{high}_2"),
        served(1.0, name=low),
        cost(10),
    )
    assert difference(before, after).level == high
    assert difference(before, after).effect is Effect.SERVES_LESS


def test_headroom_and_replicas_come_between_service_and_cost():
    before = facts(FULL, level("soft_shortfall", 0.5), cost(10))
    after = facts(FULL, level("soft_shortfall", 0.0), cost(20), usd=20)
    assert difference(before, after).effect is Effect.MEETS_MORE_WISHES
    assert difference(after, before).effect is Effect.MEETS_FEWER_WISHES


def test_a_model_that_loses_its_last_template_is_served_less_although_its_level_is_gone():
    before = facts(FULL, cost(10))
    after = facts(FULL, cost(0), usd=0.0, unmet={"a": 10.0}, without_template=frozenset({"a"}))
    assert difference(before, after).effect is Effect.SERVES_LESS
    assert difference(after, before).effect is Effect.SERVES_MORE
