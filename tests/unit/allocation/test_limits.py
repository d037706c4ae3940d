"""Whatever the solver does, there is an answer, and it says what it is."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from tests.unit.allocation.support import (
    config,
    model,
    pool,
    problem,
    running,
    seeded,
    source,
    template,
)

from coral_solver.allocation import cheapest, settled
from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.check import check_plan
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.solver import MipResult, MipStatus
from coral_solver.domain.clock import ManualClock
from coral_solver.domain.errors import InvalidInputError, PlanCheckError, SolverError
from coral_solver.domain.hardware import PoolNode
from coral_solver.domain.plan import Policy, ScarcityPolicy, SolveStatus

L4, L4X2, T4 = config("L4"), config("L4", 2), config("T4")
POOLS = [pool("L4", 4, [4, 4], start_time_s=300), pool("T4", 1, [1] * 6, gpu_usd=0.4)]
TEMPLATES = [
    template("a", 1, L4),
    template("a", 2.3, L4X2),
    template("b", 1.4, L4, T4),
    template("b", 0.6, T4),
]
PLENTY = problem([model("a", 3), model("b", 2)], POOLS)
SCARCE = problem([model("a", 9), model("b", 9)], POOLS)


@pytest.mark.parametrize("given", [PLENTY, SCARCE])
@pytest.mark.parametrize("limit_s", [0.0, -1.0])
def test_without_time_a_rule_makes_the_plan(given, limit_s):
    plan = allocate(given, source(*TEMPLATES), options=AllocationOptions(time_limit_s=limit_s))
    assert plan.status is SolveStatus.NO_SOLUTION
    assert plan.instances
    for level in plan.objective:
        assert level.bound >= level.value if level.sense == "max" else level.bound <= level.value


@pytest.mark.parametrize("limit_s", [1e-6, 1e-3, 0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("policy", list(ScarcityPolicy))
def test_a_tiny_limit_never_gives_a_false_bound(limit_s, policy):
    rng = seeded(7)
    models = [
        model(name, rng.uniform(5, 15), priority=rng.randint(0, 1), headroom=0.2, min_replicas=1)
        for name in "abcd"
    ]
    pools = [pool(gpu, 8, [8, 5, 3], gpu_usd=rng.uniform(0.5, 2)) for gpu in ("L4", "T4", "A10G")]
    templates = [
        template(name, rng.uniform(0.3, 1) * n**1.1, *[config(gpu, n)] * stages)
        for name in "abcd"
        for gpu in ("L4", "T4", "A10G")
        for n in (1, 2, 4)
        for stages in (1, 2)
    ]
    given = problem(models, pools, policy=Policy(scarcity=policy))
    best = allocate(given, source(*templates), options=AllocationOptions(time_limit_s=20))
    short = AllocationOptions(time_limit_s=limit_s)
    plan = allocate(given, source(*templates), options=short)
    assert best.status is SolveStatus.OPTIMAL
    # The first level is bounded over all plans; the proven optimum may not pass the bound.
    assert plan.objective[0].bound >= best.objective[0].value - 1e-6
    assert plan.objective[0].value <= best.objective[0].bound + 1e-6


def test_time_is_read_from_the_clock():
    class Ticking(ManualClock):
        """Ten seconds pass between any two readings."""

        def monotonic_s(self) -> float:
            self.advance(10)
            return super().monotonic_s()

    clock = Ticking(datetime(2026, 1, 1, tzinfo=UTC))
    plan = allocate(
        PLENTY, source(*TEMPLATES), options=AllocationOptions(time_limit_s=5), clock=clock
    )
    assert plan.status is SolveStatus.NO_SOLUTION
    assert plan.solve_s >= 10


@pytest.mark.parametrize("given", [PLENTY, SCARCE])
def test_a_solver_that_crashes_leaves_a_checked_plan(monkeypatch, given):
    def crash(*_args, **_kwargs):
        raise SolverError("the solver failed: numerical trouble")

    for module in (settled, cheapest):
        monkeypatch.setattr(module, "solve_mip", crash)
    plan = allocate(given, source(*TEMPLATES))
    assert plan.status is SolveStatus.ERROR
    assert "numerical trouble" in plan.bound_scope
    assert plan.instances
    check_plan(given, plan)


def test_a_solution_that_breaks_the_rows_is_not_believed(monkeypatch):
    def lie(program, _objective, **_kwargs):
        values = np.array(program.upper)
        return MipResult(status=MipStatus.OPTIMAL, values=values, bound=0.0)

    for module in (settled, cheapest):
        monkeypatch.setattr(module, "solve_mip", lie)
    plan = allocate(SCARCE, source(*TEMPLATES))
    assert plan.status is SolveStatus.ERROR
    check_plan(SCARCE, plan)


def test_the_plan_in_force_is_the_start_and_the_last_resort():
    # The rule would buy six T4 for b; what is in force does the same on less.
    old = [
        running("b-0000-1", TEMPLATES[3], POOLS[1], POOLS[1].nodes[5].name),
        running("a-0000-1", TEMPLATES[1], POOLS[0], POOLS[0].nodes[1].name),
    ]
    given = problem([model("a", 2), model("b", 0.5)], POOLS, in_force=old)
    plan = allocate(given, source(*TEMPLATES), options=AllocationOptions(time_limit_s=0))
    assert set(plan.instances) == set(old)


def test_progress_names_the_levels():
    seen = []
    allocate(SCARCE, source(*TEMPLATES), progress=seen.append)
    assert seen[0] == "cheapest plan that serves everything"
    assert "served_share" in seen
    assert seen[-1] == "cheapest plan"


def test_a_direct_caller_has_its_problem_validated_too():
    broken = problem([model("a", float("nan"))], [pool("L4", 2, [3])])
    with pytest.raises(InvalidInputError, match="demand nan") as caught:
        allocate(broken, source())
    assert len(caught.value.problems) == 2  # the demand, and 3 free GPUs of 2


@pytest.mark.parametrize("gap", [-0.1, 1.0, float("nan")])
def test_options_that_cannot_mean_anything_are_refused_together(gap):
    with pytest.raises(InvalidInputError, match="relative_gap") as caught:
        AllocationOptions(relative_gap=gap, time_limit_s=float("nan"))
    assert len(caught.value.problems) == 2


def test_a_fault_of_our_own_is_not_hidden(monkeypatch):
    def forget(*_args, **kwargs):
        raise PlanCheckError(("made up",))

    monkeypatch.setattr("coral_solver.allocation.allocate.check_plan", forget)
    with pytest.raises(PlanCheckError, match="made up"):
        allocate(PLENTY, source(*TEMPLATES))


def test_a_cluster_of_ten_times_the_size_is_planned():
    nodes = [PoolNode(f"n{i:03d}", 8) for i in range(250)]
    big = pool("L4", 8, [])
    given = problem(
        [model(name, 100.0) for name in "abcdefghij"],
        [*(replace_nodes(big, region, nodes) for region in ("r1", "r2"))],
    )
    templates = [
        template(name, 1.0 * n, config("L4", n)) for name in "abcdefghij" for n in (1, 2, 4, 8)
    ]
    plan = allocate(given, source(*templates))
    assert plan.status is SolveStatus.OPTIMAL
    assert plan.cost_usd_per_hour == pytest.approx(1000)


def replace_nodes(given, region, nodes):
    key = given.key._replace(region=region)
    named = tuple(PoolNode(f"{region}-{n.name}", n.free_gpus) for n in nodes)
    return type(given)(key=key, node_usd_per_hour=8.0, nodes=named, start_time_s=0.0)
