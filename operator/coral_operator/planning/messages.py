"""What the operator and its planning process say to each other.

Only domain types travel: the operator's own process must not import the solver, whose native
libraries cost 100 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.plan import (
        AllocationPlan,
        PeerOutcome,
        PlanMargin,
        PlanningProblem,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningRequest:
    """A problem to plan.

    Attributes
    ----------
    problem
        What to plan.
    time_limit_s
        Limit of the solve.
    cache_dir
        Folder where template libraries are kept; None: in memory only.
    """

    problem: PlanningProblem
    time_limit_s: float
    cache_dir: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningAnswer:
    """A plan that passed the checker.

    Attributes
    ----------
    plan
        The joint decision.
    baselines
        What other ways to plan would do with the same problem, by name.
    margin
        What the policy's margin costs; None where it asks for none.
    templates_s, allocation_s, baselines_s
        Time of stage 1, of stage 2, and of the other ways.
    """

    plan: AllocationPlan
    baselines: Mapping[str, PeerOutcome]
    margin: PlanMargin | None = None
    templates_s: float
    allocation_s: float
    baselines_s: float


class PlanningFault(NamedTuple):
    """Why there is no plan: reason and message of the fault that planning raised."""

    reason: str
    message: str


LENGTH_BYTES = 8
"""Every message is its length in so many bytes, big end first, then its pickle."""
