"""From a problem to a checked plan: what the planner adds to its two stages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from coral_solver.allocation.allocate import allocate
from coral_solver.domain.clock import ManualClock
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import PlanningProblem, Policy
from coral_solver.planning.planner import Planner, PlanningOptions

if TYPE_CHECKING:
    from coral_solver.domain.plan import AllocationPlan

NOTHING = PlanningProblem(models=(), pools=())


def test_a_problem_that_cannot_mean_anything_is_refused_before_stage_1() -> None:
    steps: list[str] = []
    broken = PlanningProblem(models=(), pools=(), policy=Policy(payback_horizon_s=0.0))
    with pytest.raises(InvalidInputError, match="payback_horizon_s"):
        Planner().plan(broken, progress=lambda step, _share: steps.append(step))
    assert steps == []


@pytest.mark.parametrize(
    ("took_s", "peers_s"),
    [
        (0.25, 1.25),  # what the plan took, plus 1 s
        (29.5, 30.0),  # the limit
    ],
)
def test_the_peers_get_little_more_time_than_the_plan_took(
    took_s: float, peers_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    limits_s = []

    def slow(*arguments: Any, **options: Any) -> AllocationPlan:
        clock.advance(took_s)
        return allocate(*arguments, **options)

    def peers(*_arguments: Any, options: Any, **_others: Any) -> dict[str, AllocationPlan]:
        limits_s.append(options.time_limit_s)
        return {}

    monkeypatch.setattr("coral_solver.planning.planner.allocate", slow)
    monkeypatch.setattr("coral_solver.planning.planner.run_baselines", peers)
    Planner(PlanningOptions(time_limit_s=30.0), clock=clock).plan(NOTHING)
    assert limits_s == [peers_s]
