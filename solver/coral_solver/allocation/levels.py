"""Solves the levels of the objective: all at once where that is possible, else one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.allocation.cheapest import CheapestSearch
from coral_solver.allocation.incumbent import Incumbent, LevelBounds, is_within_budget
from coral_solver.allocation.objective import COST_LEVEL
from coral_solver.allocation.pool import Choice
from coral_solver.allocation.scarce import ScarceSearch

if TYPE_CHECKING:
    from collections.abc import Callable

    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.allocation.decision import Decision
    from coral_solver.allocation.master import Relaxation
    from coral_solver.allocation.pool import ColumnPool
    from coral_solver.domain.clock import Clock

_EVERYTHING_SHARE = 0.4
"""Share of the time for trying to meet every wish, where it is not known that they can be met."""


def solve_levels(
    relaxation: Relaxation,
    pool: ColumnPool,
    *,
    stay: Decision,
    rule: Decision,
    space: SearchSpace,
    clock: Clock,
    deadline_s: float,
    progress: Callable[[str], None],
) -> tuple[Choice, LevelBounds]:
    """Search the best decision, level by level.

    The usual case needs one solve: every wish of every model can be met, and only the cost is
    open. Where GPUs are short, each priority class is served leximin, class by class, then the
    soft wishes, then the cost.

    Parameters
    ----------
    relaxation
        What bounds are made of.
    pool
        Columns that are known so far; more are added.
    stay
        What is in force, as far as it is useful. It is the answer if nothing is proven to be
        better by more than the gap: a plan does not change for nothing.
    rule
        A decision that fits, within the budget: a first solution, and the answer if the solver
        finds none.
    space
        What ``stay`` and ``rule`` are about.
    clock, deadline_s
        When to stop, as a reading of ``clock.monotonic_s``.
    progress
        Called with a few words when a solve begins.

    Returns
    -------
    Choice
        The best one found.
    LevelBounds
        Bounds that hold for it.

    Raises
    ------
    SolverError
        If the solver fails.
    """
    found = LevelBounds()
    incumbent = Incumbent(Choice(space, rule))
    incumbent.consider(Choice(space, stay))
    scarce = ScarceSearch(
        relaxation,
        pool,
        incumbent,
        found,
        time_left_s=lambda: deadline_s - clock.monotonic_s(),
        progress=progress,
    )
    progress("cheapest plan that serves everything")
    is_met = incumbent.rank.meets_every_wish(space.placeable)
    now_s = clock.monotonic_s()
    give_up_s = now_s + _EVERYTHING_SHARE * (deadline_s - now_s)
    if now_s < deadline_s:
        search = CheapestSearch(
            relaxation,
            pool,
            incumbent=incumbent.best if is_met else None,
            # Once it is possible, all the time that is left goes into the cost.
            time_left_s=lambda: (
                (
                    deadline_s
                    if search.best is not None and is_within_budget(search.best)
                    else give_up_s
                )
                - clock.monotonic_s()
            ),
        )
        search.run()
        if search.best is None or not is_within_budget(search.best):
            scarce.run()
        else:
            found.solved = search.solved
            found.bounds[COST_LEVEL] = search.bound
            incumbent.consider(search.best)
    incumbent.prefer(
        Choice(space, stay),
        least_usd_per_hour=found.bounds.get(COST_LEVEL, 0.0),
        gap=relaxation.ground.options.relative_gap,
    )
    return incumbent.best, found
