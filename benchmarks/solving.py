"""One timed solve, the same in every benchmark of stage 2."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_solver.allocation.allocate import allocate
from coral_solver.domain.clock import WallClock
from coral_solver.templates.catalogue import TemplateCatalogue

if TYPE_CHECKING:
    from coral_solver.allocation.allocate import AllocationOptions
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem
    from coral_solver.templates.catalogue import CatalogueOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """A plan and what it took.

    Attributes
    ----------
    prepare_s, solve_s
        Time of stage 1 and of stage 2, by the solver's clock.
    cpu_s
        CPU time of both, all threads.
    """

    plan: AllocationPlan
    prepare_s: float
    solve_s: float
    cpu_s: float

    @property
    def total_s(self) -> float:
        """Time of both stages."""
        return self.prepare_s + self.solve_s

    @property
    def gap(self) -> float:
        """Largest gap of any level."""
        return max(level.gap for level in self.plan.objective)


class CpuClock(WallClock):
    """Counts the CPU time of this process: for machines that do other work beside.

    Stage 2 runs on one thread, so that its CPU time is what it would take alone; only limits
    inside the MIP solver go on in wall time and come too early.
    """

    def monotonic_s(self) -> float:
        """Return the CPU time of this process so far, of all its threads."""
        return time.process_time()


class Solver:
    """Keeps its templates between solves, as a planner does.

    Parameters
    ----------
    templates
        Which templates.
    clock
        For the times and the time limit; the machine's if None.
    """

    def __init__(self, templates: CatalogueOptions, clock: Clock | None = None) -> None:
        self._source = TemplateCatalogue(templates)
        self._clock = clock or WallClock()

    def load(self, problem: PlanningProblem, *, whole_nodes_only: bool | None = None) -> float:
        """Build or load the templates of a problem; return the time."""
        start_s = self._clock.monotonic_s()
        self._source.prepare(problem, whole_nodes_only=whole_nodes_only)
        return self._clock.monotonic_s() - start_s

    def solve(self, problem: PlanningProblem, options: AllocationOptions) -> Solved:
        """Plan, and take the time."""
        start_cpu_s = time.process_time()
        prepare_s = self.load(problem, whole_nodes_only=options.whole_nodes_only)
        start_s = self._clock.monotonic_s()
        plan = allocate(problem, self._source, options=options, clock=self._clock)
        return Solved(
            plan=plan,
            prepare_s=prepare_s,
            solve_s=self._clock.monotonic_s() - start_s,
            cpu_s=time.process_time() - start_cpu_s,
        )
