"""Invariants of stage 2 where GPUs or money are short; the numbers go on from test_allocation.py.

16. Bounds by prices alone hold: no plan of an exact solve is better than what they allow.
17. Tiny problems: no plan within a budget serves more (`exhaustive.py`), and the rent keeps to it.
18. More budget never serves less.
"""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.exhaustive import Exhaustive
from tests.property.strategies import run, scenarios, tiny_scenarios

from coral_solver.allocation import pool
from coral_solver.domain.plan import SolveStatus

SLACK = 3e-4
BUDGETS = st.sampled_from([0.0, 0.5, 1.0, 1.7, 2.4, 4.0])


def by_prices_alone(scenario):
    """Solve as where there are too many templates for one integer program."""
    with patch.object(pool, "_EVERYTHING", 0):
        return scenario.solve()


def within(scenario, budget):
    policy = replace(scenario.problem.policy, budget_usd_per_hour=budget)
    return scenario.changed(policy=policy)


def free_to_start(scenario):
    """Return the scenario with nothing in force and no charge for starting: cost is rent."""
    pools = tuple(replace(p, start_time_s=0.0) for p in scenario.problem.pools)
    return scenario.changed(pools=pools, in_force=())


@run
@given(scenarios())
def test_16_bounds_by_prices_alone_hold_at_every_level(scenario):
    exact, priced = scenario.solve(), by_prices_alone(scenario)
    assert exact.status is SolveStatus.OPTIMAL
    for best, found in zip(exact.objective, priced.objective, strict=False):
        if best.level != found.level:
            break  # another number of models is served in full: a level before differs
        if best.sense == "max":
            assert found.bound >= best.value - SLACK
        else:
            assert found.bound <= best.value * (1 + SLACK) + SLACK
        if found.value != pytest.approx(best.value, rel=SLACK, abs=SLACK):
            break  # what follows is bounded for other shares


@run
@given(tiny_scenarios(), BUDGETS)
def test_17_nothing_within_a_budget_serves_more(drawn, budget):
    scenario = within(free_to_start(drawn), budget)
    most = Exhaustive(scenario.problem, scenario.templates, scenario.options).most_within(budget)
    plan = scenario.solve()
    assert plan.rent_usd_per_hour <= budget + 1e-6
    assert plan.status is SolveStatus.OPTIMAL
    assert plan.objective[0].value == pytest.approx(most, rel=SLACK, abs=SLACK)
    priced = by_prices_alone(scenario)
    assert priced.rent_usd_per_hour <= budget + 1e-6
    assert priced.objective[0].bound >= most * (1 - SLACK)


@run
@given(scenarios(), BUDGETS)
def test_18_more_budget_never_serves_less(scenario, budget):
    less, more = within(scenario, budget).solve(), within(scenario, 1.5 * budget + 0.5).solve()
    assert more.objective[0].value >= less.objective[0].value * (1 - SLACK) - SLACK
