"""The capacity rows against a packer that tries everything."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from tests.unit.allocation.support import pool, seeded

from coral_solver.allocation.capacity import AloneTenants, CapacityBlock, LooseSlices, SharedTenant
from coral_solver.allocation.program import Program
from coral_solver.allocation.solver import MipStatus, solve_mip
from coral_solver.allocation.supply import build_supplies


def fits(slices, free):
    """Try every way to put slices on nodes."""

    @cache
    def search(left, nodes):
        return not left or any(
            gpus >= left[0]
            and search(left[1:], tuple(sorted((*nodes[:i], gpus - left[0], *nodes[i + 1 :]))))
            for i, gpus in enumerate(nodes)
        )

    return search(tuple(sorted(slices, reverse=True)), tuple(sorted(free)))


def rows_hold(program, values):
    """Evaluate every bound and row."""
    totals = np.zeros(len(program.row_lower))
    for row, variable, value in zip(
        program.entry_row, program.entry_variable, program.entry_value, strict=True
    ):
        totals[row] += value * values[variable]
    return bool(
        np.all(values >= np.array(program.lower) - 1e-9)
        and np.all(values <= np.array(program.upper) + 1e-9)
        and np.all(totals <= np.array(program.row_upper) + 1e-9)
        and np.all(totals >= np.array(program.row_lower) - 1e-9)
    )


@pytest.mark.parametrize("seed", range(60))
def test_slices_satisfy_the_rows_exactly_if_they_fit(seed):
    rng = seeded(seed)
    free = [rng.randint(1, 8) for _ in range(rng.randint(1, 3))]
    (supply,) = build_supplies([pool("L4", 8, free)])
    sizes = rng.sample([1, 2, 4, 8], rng.randint(1, 4))
    for counts in product(range(3), repeat=len(sizes)):
        program = Program()
        loose = [LooseSlices(program.add_variable(0, 9, integer=True), size) for size in sizes]
        CapacityBlock(program, supply, loose=loose, alone=[], shared={})
        values = np.array(counts, dtype=float)
        slices = [size for size, n in zip(sizes, counts, strict=True) for _ in range(n)]
        assert rows_hold(program, values) == fits(slices, free), (free, slices)


@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_what_kept_instances_leave_is_exact(seed, elastic):
    rng = seeded(seed)
    count = rng.randint(2, 3)
    free = [8] * count if elastic else [rng.randint(2, 8) for _ in range(count)]
    given = pool("L4", 8, free, max_nodes=count if elastic else None)
    (supply,) = build_supplies([given])
    names = [node.name for node in given.nodes]
    used = {  # what each instance in force takes of its node; node 0 is shared by two
        "x": (0, rng.choice([1, 2, 4])),
        "y": (0, rng.choice([1, 2, 4])),
        "z": (1, rng.choice([1, 2])),
    }
    sizes = [1, 2, 4]
    for kept in product([0, 1], repeat=3):
        taken = list(free)
        for (node, gpus), k in zip(used.values(), kept, strict=True):
            taken[node] -= gpus * k
        for counts in product(range(3), repeat=len(sizes)):
            program = Program()
            keep = [program.add_variable(0, 1, integer=True) for _ in used]
            loose = [LooseSlices(program.add_variable(0, 9, integer=True), s) for s in sizes]
            block = CapacityBlock(
                program,
                supply,
                loose=loose,
                alone=[AloneTenants(keep[2], free[1], used["z"][1])],
                shared={
                    names[0]: [
                        SharedTenant(keep[0], used["x"][1]),
                        SharedTenant(keep[1], used["y"][1]),
                    ]
                },
            )
            values = np.zeros(len(program.lower))
            values[: len(keep) + len(loose)] = [*kept, *counts]
            block.complete(values)
            slices = [size for size, n in zip(sizes, counts, strict=True) for _ in range(n)]
            expected = min(taken) >= 0 and fits(slices, taken)
            assert rows_hold(program, values) == expected, (free, used, kept, slices)
            if rng.random() < 0.02:  # the completion is not the only way to satisfy the rows
                program.lower[: len(keep) + len(loose)] = [*kept, *counts]
                program.upper[: len(keep) + len(loose)] = [*kept, *counts]
                result = solve_mip(program, {}, maximize=False, time_limit_s=5, relative_gap=0.0)
                assert (result.status is not MipStatus.INFEASIBLE) == expected


def test_an_elastic_supply_counts_the_nodes_that_it_opens():
    (supply,) = build_supplies([pool("L4", 4, [], max_nodes=5)])
    program = Program()
    loose = [LooseSlices(program.add_variable(0, 9, integer=True), size) for size in (4, 2, 1)]
    block = CapacityBlock(program, supply, loose=loose, alone=[], shared={})
    values = np.zeros(len(program.lower))
    values[:3] = [1, 3, 1]  # 4 | 2 2 | 2 1
    block.complete(values)
    assert sum(value * values[variable] for variable, value in block.opened) == 3
    assert rows_hold(program, values)
