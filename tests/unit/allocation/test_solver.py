"""The wrapper around MathOpt: every outcome has a name, every fault is ours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from coral_solver.allocation.program import Program
from coral_solver.allocation.solver import MipStatus, solve_mip
from coral_solver.domain.errors import SolverError


def knapsack():
    """Return 3x + 4y <= 10 with 0 <= x, y <= 3, whole."""
    program = Program()
    x, y = (program.add_variable(0, 3, integer=True) for _ in range(2))
    program.add_row([(x, 3.0), (y, 4.0)], upper=10.0)
    return program, x, y


def test_an_optimum_is_proven_and_whole():
    program, x, y = knapsack()
    result = solve_mip(program, {x: 5.0, y: 6.0}, maximize=True, time_limit_s=10, relative_gap=0.0)
    assert result.status is MipStatus.OPTIMAL
    assert result.values.tolist() == [2, 1]  # 16; three x are 15, two y 12
    assert result.bound == pytest.approx(16)


def test_an_infeasible_program_is_an_outcome():
    program, x, y = knapsack()
    program.add_row([(x, 1.0), (y, 1.0)], lower=4.0, upper=9.0)
    result = solve_mip(program, {x: 1.0}, maximize=False, time_limit_s=10, relative_gap=0.0)
    assert result.status is MipStatus.INFEASIBLE
    assert result.values is None


@pytest.mark.parametrize("limit_s", [0.0, -3.0, 1e-9])
def test_no_time_gives_no_solution_and_no_fault(limit_s):
    program, x, y = knapsack()
    result = solve_mip(
        program, {x: 5.0, y: 6.0}, maximize=True, time_limit_s=limit_s, relative_gap=0.0
    )
    assert result.status is MipStatus.NO_SOLUTION
    assert result.bound >= 16


@pytest.mark.parametrize("coefficient", [math.nan, math.inf])
def test_a_number_that_the_solver_refuses_is_a_solver_error(coefficient):
    program, x, _ = knapsack()
    program.add_row([(x, coefficient)], upper=1.0)
    with pytest.raises(SolverError, match="the solver failed on a model of 2 variables"):
        solve_mip(program, {x: 1.0}, maximize=True, time_limit_s=1, relative_gap=0.0)


def test_a_start_that_breaks_a_row_does_no_harm():
    program, x, y = knapsack()
    result = solve_mip(
        program,
        {x: 5.0, y: 6.0},
        maximize=True,
        time_limit_s=10,
        relative_gap=0.0,
        hint=np.array([3.0, 3.0]),
    )
    assert result.bound == pytest.approx(16)


def test_terms_of_one_variable_add_up():
    program, x, y = knapsack()
    program.add_row([(x, 1.0), (y, 1.0), (x, 1.0), (y, -1.0)], upper=2.0)
    assert program.entry_value[2:] == [2.0]
    assert program.copy() == program
