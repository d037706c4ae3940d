"""The rule that makes a plan without a solver, and the trimming of what nobody needs."""

from __future__ import annotations

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

from coral_solver.allocation.allocate import allocate_greedily
from coral_solver.allocation.assignment import assign
from coral_solver.allocation.columns import build_space
from coral_solver.allocation.decision import standing
from coral_solver.allocation.greedy import greedy_decision, kept_decision
from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.trim import trimmed
from coral_solver.domain.plan import Policy, ScarcityPolicy
from coral_solver.domain.workload import Phase, ServingMode

L4, L4X2, T4 = config("L4"), config("L4", 2), config("T4")


def greedily(given, *templates, capped=True, worst_off_first=True):
    return allocate_greedily(
        given, source(*templates), capped=capped, worst_off_first=worst_off_first
    )


def rate(plan, name):
    return next(o.capacity_req_per_s for o in plan.outcomes if o.model_id.endswith(name))


def test_the_model_that_is_worst_off_buys_next():
    given = problem([model("a", 4), model("b", 4)], [pool("L4", 1, [1] * 4)])
    templates = template("a", 1, L4), template("b", 1, L4)
    plan = greedily(given, *templates)
    assert (rate(plan, "a"), rate(plan, "b")) == (2, 2)
    plan = greedily(given, *templates, worst_off_first=False)
    assert (rate(plan, "a"), rate(plan, "b")) == (4, 0)


def test_a_higher_class_buys_first():
    policy = Policy(scarcity=ScarcityPolicy.PRIORITY)
    given = problem(
        [model("a", 4), model("b", 3, priority=1)], [pool("L4", 1, [1] * 4)], policy=policy
    )
    plan = greedily(given, template("a", 1, L4), template("b", 1, L4))
    assert (rate(plan, "a"), rate(plan, "b")) == (1, 3)


def test_uncapped_the_best_rate_per_usd_wins_whatever_is_needed():
    # Demand 1: the x2 carries 4 for 2 USD, the single 1 for 1 USD.
    given = problem([model("a", 1)], [pool("L4", 2, [2])])
    templates = template("a", 1, L4), template("a", 4, L4X2)
    assert greedily(given, *templates, capped=False).rent_usd_per_hour == 2
    assert greedily(given, *templates, capped=True).rent_usd_per_hour == 1


def test_the_phase_that_lags_behind_buys_next():
    # Prefill carries 2, decode 1: one prefill and two decode for a demand of 2.
    given = problem([model("a", 2, serving=ServingMode.DISAGGREGATED)], [pool("L4", 1, [1] * 3)])
    plan = greedily(
        given,
        template("a", 2, L4, phase=Phase.PREFILL),
        template("a", 1, L4, phase=Phase.DECODE),
    )
    assert rate(plan, "a") == 2
    assert plan.rent_usd_per_hour == 3


def test_replicas_are_bought_after_the_demand():
    given = problem([model("a", 1, min_replicas=3)], [pool("L4", 2, [2, 2])])
    plan = greedily(given, template("a", 1.5, L4X2), template("a", 0.6, L4))
    assert len(plan.instances) == 3


@pytest.mark.parametrize("seed", range(30))
def test_what_the_rule_decides_satisfies_every_row_of_the_model(seed):
    rng = seeded(seed)
    pools = [
        pool("L4", 4, [rng.randint(0, 4) for _ in range(3)]),
        pool("L4", 6, [6] * rng.randint(0, 2), region="r2", max_nodes=rng.randint(0, 3)),
        pool("T4", 1, [1] * rng.randint(0, 3), region="r2"),
    ]
    templates = [
        template(name, rng.uniform(0.5, 2), *parts, phase=phase)
        for name in "ab"
        for phase in Phase
        for parts in ([L4], [L4X2], [L4, T4])
    ]
    old = [
        running(f"old-{i}", templates[rng.randint(0, 1)], p, *[node.name])
        for i, (p, node) in enumerate((p, n) for p in pools[:2] for n in p.nodes)
    ]
    old.append(running("old-9", templates[1], pools[1], None))
    given = problem(
        [model("a", 6, serving=ServingMode.AUTO), model("b", 5, serving=ServingMode.AUTO)],
        sorted(pools, key=lambda p: p.key),
        in_force=sorted(old, key=lambda i: i.name),
    )
    space = build_space(given, source(*templates), AllocationOptions())
    rows = PlanModel(space)
    for decision in (
        kept_decision(space),
        greedy_decision(space, capped=True, worst_off_first=True),
        trimmed(space, greedy_decision(space, capped=False, worst_off_first=False)),
    ):
        assign(space, decision)
        values = rows.values(decision)
        program = rows.program
        totals = [0.0] * len(program.row_lower)
        for row, variable, value in zip(
            program.entry_row, program.entry_variable, program.entry_value, strict=True
        ):
            totals[row] += value * values[variable]
        assert all(t <= up + 1e-9 for t, up in zip(totals, program.row_upper, strict=True))
        assert all(t >= low - 1e-9 for t, low in zip(totals, program.row_lower, strict=True))
        assert all(values <= [up + 1e-9 for up in program.upper])
        assert all(values >= [low - 1e-9 for low in program.lower])


def test_trimming_drops_what_no_target_needs_and_nothing_else():
    given = problem([model("a", 2)], [pool("L4", 1, [1] * 5), pool("T4", 1, [1])])
    space = build_space(
        given, source(template("a", 1, L4), template("a", 0.5, T4)), AllocationOptions()
    )
    decision = greedy_decision(space, capped=True, worst_off_first=True)
    wasteful = type(decision)(
        started=decision.started + 1, kept=decision.kept, drawn=decision.drawn + 1
    )
    lean = trimmed(space, wasteful)
    assert standing(space, lean).capacity_req_per_s[0] == pytest.approx(2)
    assert int(lean.drawn.sum()) == int(lean.started.sum()) == 2
