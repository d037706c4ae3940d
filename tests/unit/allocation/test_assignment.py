"""Instances on nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

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

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.assignment import assign
from coral_solver.allocation.columns import build_space
from coral_solver.allocation.decision import Decision
from coral_solver.allocation.options import AllocationOptions
from coral_solver.domain.errors import SolverError

L4, L4X2, L4X4 = config("L4"), config("L4", 2), config("L4", 4)


def nodes_of(plan, pick):
    return [s.node for i in plan.instances if i.template.model_id.endswith(pick) for s in i.slices]


def test_slices_go_where_they_leave_the_largest_pieces():
    # The x2 goes to the node with three free GPUs, the single to what is left of it.
    l4 = pool("L4", 4, [4, 3])
    plan = allocate(
        problem([model("a"), model("b")], [l4]),
        source(template("a", 1, L4), template("b", 1, L4X2)),
    )
    assert nodes_of(plan, "a") == nodes_of(plan, "b") == [l4.nodes[1].name]


def test_the_stages_of_an_instance_share_a_node_where_one_has_room():
    l4 = pool("L4", 4, [4, 4])
    plan = allocate(problem([model(demand=2)], [l4]), source(template("a", 1, L4X2, L4X2)))
    assert [len({s.node for s in i.slices}) for i in plan.instances] == [1, 1]


def test_kept_instances_stay_put_and_the_rest_goes_around_them():
    l4 = pool("L4", 4, [4, 4], start_time_s=360)
    what = template("a", 1, L4)
    old = [running(f"a-0000-{i}", what, l4, l4.nodes[1].name) for i in range(3)]
    plan = allocate(
        problem([model("a", 3), model("b", 1)], [l4], in_force=old),
        source(what, template("b", 1, L4X4)),
    )
    assert set(old) <= set(plan.instances)
    assert nodes_of(plan, "b") == [l4.nodes[0].name]


def test_of_interchangeable_instances_the_first_by_name_stay():
    l4 = pool("L4", 1, [1] * 4)
    what = template("a", 1, L4)
    old = [running(f"a-0000-{i}", what, l4, l4.nodes[i].name) for i in range(4)]
    plan = allocate(problem([model("a", 2)], [l4], in_force=old[::-1]), source(what))
    assert plan.instances == tuple(old[:2])


@pytest.mark.parametrize("seed", range(30))
def test_every_decision_that_fits_is_placed_without_overlap(seed):
    rng = seeded(seed)
    l4 = pool("L4", 8, [rng.randint(1, 8) for _ in range(3)])
    templates = [template("a", 1, c) for c in (L4, L4X2, L4X4)]
    plan = allocate(
        problem([model("a", 100)], [l4]),
        source(
            *(
                replace(
                    t,
                    prediction=replace(
                        t.prediction, capacity_req_per_s=t.gpu_count * rng.uniform(1, 1.2)
                    ),
                )
                for t in templates
            )
        ),
    )
    used = Counter()
    for instance in plan.instances:
        for part, (_, node) in zip(instance.template.config_counts, instance.slices, strict=True):
            used[node] += part.gpu_count
    assert used == {node.name: node.free_gpus for node in l4.nodes}


def test_a_decision_that_does_not_fit_is_refused():
    given = problem([model("a", 9)], [pool("L4", 2, [1, 1])])
    space = build_space(given, source(template("a", 1, L4)), AllocationOptions())
    nothing = Decision(
        started=np.zeros(len(space.columns), dtype=np.int64),
        kept=np.zeros(len(space.keeps), dtype=np.int64),
        drawn=np.zeros(len(space.draws), dtype=np.int64),
    )
    assert assign(space, nothing).instances == ()
    too_much = replace(nothing, started=nothing.started + 3, drawn=nothing.drawn + 3)
    with pytest.raises(SolverError, match="does not fit on the nodes"):
        assign(space, too_much)
    without_slices = replace(nothing, started=nothing.started + 1)
    with pytest.raises(SolverError, match="without slices"):
        assign(space, without_slices)
