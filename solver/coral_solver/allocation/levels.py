"""Solves the levels of the objective one after the other, each fixing the ones before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.objective import (
    COST_LEVEL,
    priority_classes,
    soft_shortfall,
)
from coral_solver.allocation.options import SHARE_TOLERANCE
from coral_solver.allocation.ranking import rank_decision
from coral_solver.allocation.solver import MipStatus, solve_mip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.allocation.decision import Decision
    from coral_solver.allocation.model import PlanModel
    from coral_solver.allocation.objective import PriorityClass
    from coral_solver.allocation.program import Program
    from coral_solver.allocation.solver import MipResult
    from coral_solver.domain.clock import Clock

_EVERYTHING_SHARE = 0.4
"""Share of the time for trying to meet every wish, where it is not known that they can be met."""

_SERVED_SHARE = 0.7
"""Share of the time left that the served levels may take together."""

_STEP_SHARE = 0.4
"""Share of what is left of that which one step may take: the worst off come first."""


@dataclass(slots=True)
class LevelBounds:
    """What is proven about the levels.

    Attributes
    ----------
    bounds
        By name of a level; a level that is missing has no bound but the trivial one.
    solved
        Whether the solver gave at least one solution.
    """

    bounds: dict[str, float] = field(default_factory=dict)
    solved: bool = False


def solve_levels(
    space: SearchSpace,
    model: PlanModel,
    *,
    stay: Decision,
    rule: Decision,
    clock: Clock,
    deadline_s: float,
    progress: Callable[[str], None],
) -> tuple[Decision, LevelBounds]:
    """Search the best decision, level by level.

    The usual case needs one solve: every wish of every model can be met, and only the cost is
    open. Where GPUs are short, each priority class is served leximin, class by class, then the
    soft wishes, then the cost.

    Parameters
    ----------
    space
        What there is to choose from.
    model
        Its variables and rows.
    stay
        What is in force, as far as it is useful. It is the answer if nothing is proven to be
        better by more than the gap: a plan does not change for nothing.
    rule
        A decision that fits: a first solution, and the answer if the solver finds none.
    clock, deadline_s
        When to stop, as a reading of ``clock.monotonic_s``.
    progress
        Called with a few words when a solve begins.

    Returns
    -------
    Decision
        The best one found.
    LevelBounds
        Bounds that hold for it.

    Raises
    ------
    SolverError
        If the solver fails.
    """
    search = _Search(space, model, rule, clock=clock, deadline_s=deadline_s, progress=progress)
    search.consider(stay)
    if not search.meet_every_wish():
        search.serve_by_level()
    search.prefer(stay)
    return search.best, search.found


class _Exceptions(NamedTuple):
    """Binaries of the models that may have less than a share."""

    share: float
    less: dict[int, int]


class _Search:
    """The program as fixed so far, and the best decision so far."""

    def __init__(
        self,
        space: SearchSpace,
        model: PlanModel,
        start: Decision,
        *,
        clock: Clock,
        deadline_s: float,
        progress: Callable[[str], None],
    ) -> None:
        self.best = start
        self.found = LevelBounds()
        self._space = space
        self._models = space.problem.models
        self._model = model
        self._program = model.program.copy()
        self._exceptions: list[_Exceptions] = []
        self._clock = clock
        self._deadline_s = deadline_s
        self._progress = progress
        self._classes = priority_classes(space.problem)
        self._rank_of_best = rank_decision(space, model, start)
        for group in self._classes:
            self._bound_unplaceable(group)

    def consider(self, candidate: Decision) -> None:
        """Remember a decision if it is the best so far."""
        rank = rank_decision(self._space, self._model, candidate)
        if rank.is_better_than(self._rank_of_best):
            self.best, self._rank_of_best = candidate, rank

    def prefer(self, candidate: Decision) -> None:
        """Choose a decision that serves as well as the best one and costs no more than the gap.

        The gap counts from the bound where the best decision is proven, so that the chosen one is
        proven too.
        """
        rank, best = rank_decision(self._space, self._model, candidate), self._rank_of_best
        if best._replace(cost_usd_per_hour=rank.cost_usd_per_hour).is_better_than(rank):
            return
        gap = self._space.options.relative_gap
        least = self.found.bounds[COST_LEVEL]
        if best.cost_usd_per_hour * (1.0 - gap) > least:
            least = best.cost_usd_per_hour
        if rank.cost_usd_per_hour * (1.0 - gap) <= least:
            self.best, self._rank_of_best = candidate, rank

    def meet_every_wish(self) -> bool:
        """Solve for the cost with every target and every replica as a hard row.

        Returns
        -------
        bool
            False if that is impossible, or if the time did not allow to find out.
        """
        program = self._program.copy()
        for variable in self._model.served.values():
            program.lower[variable] = program.upper[variable]
        for variable in self._model.missing_replicas.values():
            program.upper[variable] = 0.0
        words = "cheapest plan that serves everything"
        if not self._meets_every_wish():
            limit_s = _EVERYTHING_SHARE * self._remaining_s()
            result = self._solve(words, program, self._model.cost, limit_s=limit_s, hint=None)
            if result.values is None:
                return False
            self.found.bounds[COST_LEVEL] = result.bound
            if result.status is MipStatus.OPTIMAL:
                return True
        # It is possible: all the time that is left goes into the cost.
        result = self._solve(
            words,
            program,
            self._model.cost,
            limit_s=self._remaining_s(),
            hint=self._model.values(self.best),
        )
        bound = self.found.bounds.get(COST_LEVEL, result.bound)
        self.found.bounds[COST_LEVEL] = max(bound, result.bound)
        return True

    def serve_by_level(self) -> None:
        """Serve what can be served, class by class; then the wishes; then the cost."""
        until_s = self._clock.monotonic_s() + _SERVED_SHARE * self._remaining_s()
        steps = len(self._model.served)
        for group in self._classes:
            members = [index for index in group.models if index in self._model.served]
            self._leximin(group, members, until_s=until_s, steps=steps)
            steps -= len(members)
        for position, group in enumerate(self._classes):
            self._grant_wishes(
                group, limit_s=self._remaining_s() / (len(self._classes) - position + 1)
            )
        result = self._solve(
            "cheapest plan",
            self._program,
            self._model.cost,
            limit_s=self._remaining_s(),
            hint=self._values(),
        )
        self.found.bounds[COST_LEVEL] = result.bound

    def _leximin(
        self, group: PriorityClass, members: list[int], *, until_s: float, steps: int
    ) -> None:
        """Raise the smallest share as far as possible, then the second smallest, and so on.

        The ``position``-th smallest share is at least ``t`` if at most ``position - 1`` models
        have less: binaries pick them. Which models those are stays open to the levels after.
        """
        ahead = len(self._zero_members(group))
        reached = 0.0
        for position in range(1, len(members) + 1):
            program = self._program.copy()
            least = program.add_variable(0.0, 1.0)
            less = {index: program.add_variable(0, 1, integer=True) for index in members}
            program.add_row([(b, 1.0) for b in less.values()], upper=float(position - 1))
            for index in members:
                served = self._model.served[index]
                program.add_row([(least, 1.0), (served, -1.0), (less[index], -1.0)], upper=0.0)
            share = sorted(self._share(index) for index in members)[position - 1]
            hint = self._values()
            hint = np.append(hint, [share, *(float(self._share(i) < share) for i in members)])
            result = self._solve(
                f"{group.served_level(ahead + position)}",
                program,
                {least: 1.0},
                maximize=True,
                limit_s=(until_s - self._clock.monotonic_s())
                * max(_STEP_SHARE, 1.0 / max(1, steps - position + 1)),
                hint=hint,
            )
            self.found.bounds[group.served_level(ahead + position)] = min(1.0, result.bound)
            shares = sorted(self._share(index) for index in members)
            if shares[position - 1] > reached * (1.0 + SHARE_TOLERANCE):
                reached = shares[position - 1]
                self._fix_share(members, reached, exceptions=position - 1)
            if reached >= 1.0:
                return
            if result.values is None:
                # Time is up. What this class has stays what it is at least.
                for index in members:
                    self._fix_share([index], self._share(index), exceptions=0)
                return

    def _fix_share(self, members: list[int], share: float, *, exceptions: int) -> None:
        """Demand a share of all members but a few."""
        least = share * (1.0 - SHARE_TOLERANCE)
        if exceptions == 0:
            for index in members:
                served = self._model.served[index]
                self._program.lower[served] = max(self._program.lower[served], least)
            return
        less = {index: self._program.add_variable(0, 1, integer=True) for index in members}
        self._program.add_row([(b, 1.0) for b in less.values()], upper=float(exceptions))
        for index in members:
            row = [(self._model.served[index], -1.0), (less[index], -least)]
            self._program.add_row(row, upper=-least)
        self._exceptions.append(_Exceptions(least, less))

    def _grant_wishes(self, group: PriorityClass, *, limit_s: float) -> None:
        """Come as close to headroom and replicas as what is fixed allows, and fix that."""
        terms: dict[int, float] = {}
        constant = self.found.bounds[group.wishes_level]
        for index in group.models:
            if index in self._model.served and self._models[index].headroom > 0:
                served = self._model.served[index]
                terms[served] = -1.0 / self._program.upper[served]
                constant += 1.0
            if index in self._model.missing_replicas:
                missing = self._model.missing_replicas[index]
                terms[missing] = 1.0 / self._models[index].min_replicas
        if not terms:
            return
        result = self._solve(
            f"{group.wishes_level}", self._program, terms, limit_s=limit_s, hint=self._values()
        )
        self.found.bounds[group.wishes_level] = max(
            self.found.bounds[group.wishes_level], constant + result.bound
        )
        values = self._values()
        reached = sum(value * values[variable] for variable, value in terms.items())
        self._program.add_row(terms.items(), upper=reached + SHARE_TOLERANCE)

    def _zero_members(self, group: PriorityClass) -> list[int]:
        """Return the models with templates and a demand that nothing free can serve now."""
        return [
            index
            for index in group.models
            if self._models[index].demand_req_per_s > 0
            and self._space.known[index].can_serve
            and index not in self._space.placeable
        ]

    def _bound_unplaceable(self, group: PriorityClass) -> None:
        """State what is plain without a solve: nothing runs for models that fit nowhere."""
        for position, _ in enumerate(self._zero_members(group), start=1):
            self.found.bounds[group.served_level(position)] = 0.0
        self.found.bounds[group.wishes_level] = sum(
            soft_shortfall(self._models[index], 0.0, 0.0)
            for index in group.models
            if index not in self._space.placeable
        )

    def _solve(
        self,
        words: str,
        program: Program,
        objective: Mapping[int, float],
        *,
        limit_s: float,
        hint: NDArray[np.float64] | None,
        maximize: bool = False,
    ) -> MipResult:
        """Solve one program and remember its decision if it is the best so far."""
        self._progress(words)
        result = solve_mip(
            program,
            objective,
            maximize=maximize,
            time_limit_s=limit_s,
            relative_gap=self._space.options.relative_gap,
            hint=hint,
        )
        if result.values is not None:
            self.found.solved = True
            self.consider(self._model.decision(result.values))
        return result

    def _values(self) -> NDArray[np.float64]:
        """Complete the best decision to a solution of the program as fixed so far."""
        values = self._model.values(self.best)
        for fixed in self._exceptions:
            less = [float(values[self._model.served[index]] < fixed.share) for index in fixed.less]
            values = np.append(values, less)
        return values

    def _share(self, index: int) -> float:
        """Return the served share of one model in the best decision."""
        return self._rank_of_best.shares[index]

    def _meets_every_wish(self) -> bool:
        """Return whether the best decision serves all that anything can run for."""
        rank = self._rank_of_best
        return all(
            rank.shares.get(index, 1.0) >= 1.0 and rank.shortfalls[index] == 0.0
            for index in {*self._model.served, *self._model.missing_replicas}
        )

    def _remaining_s(self) -> float:
        return self._deadline_s - self._clock.monotonic_s()
