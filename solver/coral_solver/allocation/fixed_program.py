"""The rows of stage 2 over some columns, with what the levels so far have settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.pool import moved

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.allocation.pool import Choice
    from coral_solver.allocation.program import Program


class Fix(NamedTuple):
    """What a level has settled: all of some models but a few have a share at least."""

    members: tuple[int, ...]
    share: float
    exceptions: int


class FixedProgram(NamedTuple):
    """The program as fixed so far.

    Attributes
    ----------
    space, model
        What its variables mean.
    program
        Variables and rows.
    less
        By fix with exceptions: its share, and by model the binary that says that it has less.
    """

    space: SearchSpace
    model: PlanModel
    program: Program
    less: tuple[tuple[float, dict[int, int]], ...]

    def values(self, choice: Choice) -> NDArray[np.float64]:
        """Complete a plan to a solution."""
        values = self.model.values(moved(choice.decision, choice.space, self.space))
        for share, binaries in self.less:
            served = [values[self.model.served[index]] for index in binaries]
            values = np.append(values, [float(value < share) for value in served])
        return values


def open_program(
    space: SearchSpace, fixes: Iterable[Fix], budget_usd_per_hour: float | None
) -> FixedProgram:
    """Return the program over some columns with all that is fixed.

    Parameters
    ----------
    space
        The columns.
    fixes
        What the levels so far have settled.
    budget_usd_per_hour
        Most rent of all instances together; None: no limit.
    """
    model = PlanModel(space)
    program = model.program.copy()
    if budget_usd_per_hour is not None:
        program.add_row(model.rent.items(), lower=0.0, upper=budget_usd_per_hour)
    all_less = []
    for fix in fixes:
        if fix.exceptions == 0:
            for index in fix.members:
                served = model.served[index]
                program.lower[served] = max(program.lower[served], fix.share)
            continue
        less = {index: program.add_variable(0, 1, integer=True) for index in fix.members}
        program.add_row([(b, 1.0) for b in less.values()], upper=float(fix.exceptions))
        for index in fix.members:
            row = [(model.served[index], -1.0), (less[index], -fix.share)]
            program.add_row(row, upper=-fix.share)
        all_less.append((fix.share, less))
    return FixedProgram(space, model, program, tuple(all_less))
