"""The only module that knows OR-Tools MathOpt: one call, every outcome and every fault named."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from ortools.math_opt import model_pb2
from ortools.math_opt.python import mathopt
from ortools.math_opt.solvers.gscip import gscip_pb2

from coral_solver.domain.errors import SolverError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from coral_solver.allocation.program import Program

_SEED = 20251
_FEASIBILITY_TOLERANCE = 1e-9  # SCIP's own 1e-6 loses an instance if a million are wanted
_ABSOLUTE_GAP = 1e-9  # without one, a level whose best value is 0 is never proven


class MipStatus(StrEnum):
    """How one integer program ended."""

    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"
    INFEASIBLE = "INFEASIBLE"
    NO_SOLUTION = "NO_SOLUTION"


@dataclass(frozen=True, slots=True, kw_only=True)
class MipResult:
    """Answer of one integer program.

    Attributes
    ----------
    status
        ``OPTIMAL``: proven to the gap. ``FEASIBLE``: a limit hit, with a solution.
        ``NO_SOLUTION``: a limit hit, without one.
    values
        By variable, integers rounded; None without a solution.
    bound
        No solution is better than this; infinite where nothing is known.
    """

    status: MipStatus
    values: NDArray[np.float64] | None
    bound: float


def solve_mip(
    program: Program,
    objective: Mapping[int, float],
    *,
    maximize: bool,
    time_limit_s: float,
    relative_gap: float,
    hint: NDArray[np.float64] | None = None,
) -> MipResult:
    """Solve an integer program with GSCIP, on one thread and with a fixed seed.

    Parameters
    ----------
    program
        Variables and rows.
    objective
        Coefficient by variable.
    maximize
        Sense of the objective.
    time_limit_s
        Always set; a limit that is not positive gives ``NO_SOLUTION`` at once.
    relative_gap
        Share of the value at which to stop.
    hint
        A full solution to start from, by variable.

    Raises
    ------
    SolverError
        If the solver fails, or reports an outcome that this program cannot have.
    """
    unknown = float("inf") if maximize else -float("inf")
    if time_limit_s <= 0:
        return MipResult(status=MipStatus.NO_SOLUTION, values=None, bound=unknown)
    try:
        model = mathopt.Model.from_model_proto(_to_proto(program, objective, maximize=maximize))
        variables = list(model.variables())
        hints = []
        if hint is not None:
            start = dict(zip(variables, hint.tolist(), strict=True))
            hints.append(mathopt.SolutionHint(variable_values=start))
        result = mathopt.solve(
            model,
            mathopt.SolverType.GSCIP,
            params=mathopt.SolveParameters(
                time_limit=datetime.timedelta(seconds=time_limit_s),
                relative_gap_tolerance=relative_gap,
                absolute_gap_tolerance=_ABSOLUTE_GAP,
                threads=1,
                random_seed=_SEED,
                gscip=gscip_pb2.GScipParameters(
                    real_params={"numerics/feastol": _FEASIBILITY_TOLERANCE}
                ),
            ),
            model_params=mathopt.ModelSolveParameters(solution_hints=hints),
        )
        reason = result.termination.reason
        bound = float(result.termination.objective_bounds.dual_bound)
        found = result.variable_values(variables) if result.has_primal_feasible_solution() else None
    # MathOpt reports some faults as AttributeError, TypeError or ValueError (OR-Tools 9.15).
    except Exception as error:
        message = f"the solver failed on a model of {len(program.lower)} variables: {error}"
        raise SolverError(message) from error

    if found is not None:
        values = np.asarray(found, dtype=np.float64)
        values = np.where(program.integer, np.round(values), values)
        proven = reason is mathopt.TerminationReason.OPTIMAL
        status = MipStatus.OPTIMAL if proven else MipStatus.FEASIBLE
        return MipResult(status=status, values=values, bound=bound)
    if reason in (
        mathopt.TerminationReason.INFEASIBLE,
        # Every variable of our programs has two finite bounds.
        mathopt.TerminationReason.INFEASIBLE_OR_UNBOUNDED,
    ):
        return MipResult(status=MipStatus.INFEASIBLE, values=None, bound=unknown)
    if reason is mathopt.TerminationReason.NO_SOLUTION_FOUND:
        return MipResult(status=MipStatus.NO_SOLUTION, values=None, bound=bound)
    raise SolverError(f"the solver ended with {reason.name}: {result.termination.detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LpResult:
    """Optimum of a linear program.

    Attributes
    ----------
    value
        The least objective.
    values
        By variable.
    duals
        By row: what one more on the right side would add to the objective.
    """

    value: float
    values: NDArray[np.float64]
    duals: NDArray[np.float64]


def solve_lp(
    program: Program, objective: Mapping[int, float], *, time_limit_s: float
) -> LpResult | None:
    """Minimise without integrality, by GLOP: GSCIP gives no duals.

    Parameters
    ----------
    program, objective
        As for ``solve_mip``.
    time_limit_s
        Always set; without time, or without an optimum, there is no result.

    Raises
    ------
    SolverError
        If the solver fails.
    """
    if time_limit_s <= 0:
        return None
    try:
        proto = _to_proto(program, objective, maximize=False)
        proto.variables.integers[:] = [False] * len(program.lower)
        model = mathopt.Model.from_model_proto(proto)
        result = mathopt.solve(
            model,
            mathopt.SolverType.GLOP,
            params=mathopt.SolveParameters(
                time_limit=datetime.timedelta(seconds=time_limit_s), threads=1
            ),
        )
        if result.termination.reason is not mathopt.TerminationReason.OPTIMAL:
            return None
        return LpResult(
            value=float(result.objective_value()),
            values=np.asarray(result.variable_values(list(model.variables()))),
            duals=np.asarray(result.dual_values(list(model.linear_constraints()))),
        )
    # MathOpt reports some faults as AttributeError, TypeError or ValueError (OR-Tools 9.15).
    except Exception as error:
        message = f"the solver failed on a model of {len(program.lower)} variables: {error}"
        raise SolverError(message) from error


def _to_proto(
    program: Program, objective: Mapping[int, float], *, maximize: bool
) -> model_pb2.ModelProto:
    """Write the program as MathOpt's message: far faster than one Python object per term."""
    proto = model_pb2.ModelProto()
    proto.variables.ids.extend(range(len(program.lower)))
    proto.variables.lower_bounds.extend(program.lower)
    proto.variables.upper_bounds.extend(program.upper)
    proto.variables.integers.extend(program.integer)
    proto.objective.maximize = maximize
    for variable in sorted(objective):
        if objective[variable] != 0.0:
            proto.objective.linear_coefficients.ids.append(variable)
            proto.objective.linear_coefficients.values.append(objective[variable])
    proto.linear_constraints.ids.extend(range(len(program.row_lower)))
    proto.linear_constraints.lower_bounds.extend(program.row_lower)
    proto.linear_constraints.upper_bounds.extend(program.row_upper)
    order = np.lexsort((program.entry_variable, program.entry_row))
    proto.linear_constraint_matrix.row_ids.extend(np.array(program.entry_row)[order].tolist())
    proto.linear_constraint_matrix.column_ids.extend(
        np.array(program.entry_variable)[order].tolist()
    )
    proto.linear_constraint_matrix.coefficients.extend(
        np.array(program.entry_value)[order].tolist()
    )
    return proto
