"""The rows of stage 2 over some columns, with what the levels so far have settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.options import SHARE_TOLERANCE
from coral_solver.allocation.pool import Choice, moved
from coral_solver.allocation.solver import solve_mip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.allocation.ground import Ground
    from coral_solver.allocation.incumbent import Incumbent, LevelBounds
    from coral_solver.allocation.program import Program
    from coral_solver.allocation.solver import MipResult


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


class Settled:
    """What the levels so far have settled; every solve for later levels goes through here.

    Parameters
    ----------
    ground
        What plans are made of.
    incumbent
        The best plan so far; better ones are put into it.
    found
        Told when the solver has given a solution.
    """

    def __init__(self, ground: Ground, incumbent: Incumbent, found: LevelBounds) -> None:
        self._incumbent = incumbent
        self._found = found
        self._fixes: list[Fix] = []
        self._gap = ground.options.relative_gap
        self._budget_usd_per_hour = ground.problem.policy.budget_usd_per_hour

    def add(self, members: Iterable[int], share: float, *, exceptions: int = 0) -> None:
        """Fix that all of some models but a few have a share that the best plan gives them."""
        self._fixes.append(Fix(tuple(members), share * (1.0 - SHARE_TOLERANCE), exceptions))

    def floors(self, models: Iterable[int]) -> dict[int, float]:
        """Return by model the share that it has in any case."""
        floors = dict.fromkeys(models, 0.0)
        for fix in self._fixes:
            if fix.exceptions == 0:
                for index in fix.members:
                    floors[index] = max(floors[index], fix.share)
        return floors

    def open(self, space: SearchSpace) -> FixedProgram:
        """Return the program over some columns with all that is fixed, and with the budget."""
        model = PlanModel(space)
        program = model.program.copy()
        if self._budget_usd_per_hour is not None:
            program.add_row(model.rent.items(), lower=0.0, upper=self._budget_usd_per_hour)
        all_less = []
        for fix in self._fixes:
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

    def solve(
        self,
        opened: FixedProgram,
        program: Program,
        objective: Mapping[int, float],
        *,
        limit_s: float,
        hint: NDArray[np.float64] | None = None,
        maximize: bool = False,
    ) -> MipResult:
        """Solve one program and remember its plan if it is the best so far."""
        result = solve_mip(
            program,
            objective,
            maximize=maximize,
            time_limit_s=limit_s,
            relative_gap=self._gap,
            hint=hint,
        )
        if result.values is not None:
            self._found.solved = True
            self._incumbent.consider(Choice(opened.space, opened.model.decision(result.values)))
        return result
