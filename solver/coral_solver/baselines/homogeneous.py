"""Peers that give each replica one kind of node configuration only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.allocation.allocate import allocate, allocate_greedily
from coral_solver.baselines.homogeneous_source import HomogeneousSource, homogeneous_problem

__all__ = ["homogeneous", "homogeneous_greedy", "homogeneous_problem"]

if TYPE_CHECKING:
    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem


def homogeneous(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan exactly, with replicas of one kind of node configuration each.

    All models together, the same levels, capacity rows and switching charge as ``allocate``: the
    strongest form of this peer, so that what Coral gains over it comes from mixing GPU types
    inside a replica and from nothing else. Different replicas of a model may differ.

    Parameters
    ----------
    problem
        The problem. Mixed instances in force are not this peer's: it starts without them.
    source
        Where templates come from; only homogeneous ones are used.
    options, clock
        As for ``allocate``.

    Returns
    -------
    AllocationPlan
        It has passed the checker, for ``homogeneous_problem(problem)``.
    """
    return allocate(
        homogeneous_problem(problem), HomogeneousSource(source), options=options, clock=clock
    )


def homogeneous_greedy(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    capped: bool,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan as the paper's ``Homo``: model by model, best goodput per USD first.

    Models take their turn by id (under the ``Priority`` policy by class). Each starts one replica
    after the other, always the one with the most capacity per USD that still fits, until its
    target is met; the next model takes of what is left. In disaggregated serving the phase that
    lags behind in a region gets the next replica. Replicas that turn out superfluous are dropped.

    Parameters
    ----------
    problem
        The problem. Mixed instances in force are not this peer's: it starts without them.
    source
        Where templates come from; only homogeneous ones are used.
    capped
        Whether capacity beyond the rest of the model's target counts for nothing in goodput per
        USD. The paper describes the rule without; neither form is always the better one.
    options, clock
        As for ``allocate``.

    Returns
    -------
    AllocationPlan
        It has passed the checker, for ``homogeneous_problem(problem)``. It proves nothing: its
        bounds are the trivial ones.
    """
    return allocate_greedily(
        homogeneous_problem(problem),
        HomogeneousSource(source),
        capped=capped,
        worst_off_first=False,
        options=options,
        clock=clock,
    )
