"""A budget: what is served for it, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.unit.allocation.support import config, model, pool, problem, source, template

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.check import check_plan
from coral_solver.domain.errors import InvalidInputError, PlanCheckError

# One L4 at 1 USD/h carries 1 req/s of either model.
TEMPLATES = source(template("a", 1.0, config()), template("b", 1.0, config()))


def given(budget, *, priority=0, demand=2.0):
    """Return 2 + 2 req/s on four L4."""
    models = [model("a", demand, priority=priority), model("b", demand)]
    made = problem(models, [pool(free=(1, 1, 1, 1), start_time_s=600.0)])
    return replace(made, policy=replace(made.policy, budget_usd_per_hour=budget))


def served(plan):
    return {o.model_id[-1]: o.demand_req_per_s - o.unmet_req_per_s for o in plan.outcomes}


def level(plan):
    return next(e for e in plan.objective if e.level == "weighted_served_req_per_s")


def test_a_budget_that_pays_for_everything_changes_nothing_but_the_level():
    plan = allocate(given(4.0), TEMPLATES)
    assert served(plan) == {"a": 2.0, "b": 2.0}
    assert plan.rent_usd_per_hour == pytest.approx(4.0)
    assert level(plan).value == level(plan).bound == pytest.approx(4.0)  # 2 + 2, weights 1
    assert plan.status == "OPTIMAL"


def test_priority_decides_for_whom_a_short_budget_pays():
    plan = allocate(given(3.0, priority=1), TEMPLATES)
    # Three L4: both of a's at weight 2, one of b's at weight 1.
    assert served(plan) == {"a": 2.0, "b": 1.0}
    assert level(plan).value == pytest.approx(2 * 2 + 1 * 1)
    assert plan.status == "OPTIMAL"


def test_scarcity_has_no_say_where_a_budget_is_short():
    # 3 req/s for b need three L4, 1 for a one: maximin would give both a third or more.
    models = [model("a", 6.0, priority=2), model("b", 3.0)]
    short = problem(models, [pool(free=(1, 1, 1))])
    short = replace(short, policy=replace(short.policy, budget_usd_per_hour=10.0))
    assert served(allocate(short, TEMPLATES)) == {"a": 3.0, "b": 0.0}


@pytest.mark.parametrize("budget", [0.0, 0.99])
def test_a_budget_below_the_cheapest_instance_runs_nothing(budget):
    plan = allocate(given(budget), TEMPLATES)
    assert plan.instances == ()
    assert plan.status == "OPTIMAL"


def test_what_is_in_force_goes_where_the_budget_no_longer_pays_for_it():
    running = allocate(given(None), TEMPLATES).instances
    assert len(running) == 4
    plan = allocate(replace(given(1.0), in_force=running), TEMPLATES)
    assert plan.rent_usd_per_hour == pytest.approx(1.0)
    assert plan.instances[0].name in {instance.name for instance in running}


@pytest.mark.parametrize("budget", [math.nan, math.inf, -1.0])
def test_a_budget_that_means_nothing_is_refused(budget):
    with pytest.raises(InvalidInputError, match="budget_usd_per_hour"):
        allocate(given(budget), TEMPLATES)


def test_the_checker_rejects_a_rent_over_the_budget():
    plan = allocate(given(4.0), TEMPLATES)
    with pytest.raises(PlanCheckError, match="over the budget"):
        check_plan(given(3.5), plan)
