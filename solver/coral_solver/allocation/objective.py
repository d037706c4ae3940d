"""The levels of the objective: their names, and their values for a plan."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_solver.allocation.columns import target_req_per_s
from coral_solver.allocation.options import SHARE_TOLERANCE
from coral_solver.domain.plan import ScarcityPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.workload import ServedModel

COST_LEVEL = "cost_usd_per_hour"
BUDGET_LEVEL = "weighted_served_req_per_s"


@dataclass(frozen=True, kw_only=True)
class PriorityClass:
    """Models that are served with equal right.

    Attributes
    ----------
    suffix
        What the names of the class's levels end in; empty if there is one class only by policy.
    models
        Indices of the models.
    """

    suffix: str
    models: tuple[int, ...]

    def served_level(self, position: int) -> str:
        """Return the name of the level of the ``position``-th smallest share, from 1."""
        return f"served_share{self.suffix}" + (f"_{position}" if position > 1 else "")

    @property
    def wishes_level(self) -> str:
        """Name of the level of the soft wishes."""
        return f"soft_shortfall{self.suffix}"


def priority_classes(problem: PlanningProblem) -> list[PriorityClass]:
    """Return the classes in the order in which they are served."""
    if problem.policy.scarcity is ScarcityPolicy.PROPORTIONAL:
        return [PriorityClass(suffix="", models=tuple(range(len(problem.models))))]
    members: dict[int, list[int]] = defaultdict(list)
    for index, model in enumerate(problem.models):
        members[model.priority].append(index)
    return [
        PriorityClass(suffix=f"_p{priority}", models=tuple(members[priority]))
        for priority in sorted(members, reverse=True)
    ]


def served_share(model: ServedModel, capacity_req_per_s: float) -> float:
    """Return the share of the raw demand that is served; 1 within the solver's tolerance."""
    share = capacity_req_per_s / model.demand_req_per_s
    return 1.0 if share >= 1.0 - SHARE_TOLERANCE else share


def weight(model: ServedModel) -> int:
    """Return what one request per second of a model counts where a budget is short."""
    return 1 + model.priority


def weighted_served_req_per_s(
    models: Sequence[ServedModel], capacities_req_per_s: Sequence[float]
) -> float:
    """Return the demand that is served, each model's with its weight."""
    return sum(
        weight(model) * model.demand_req_per_s * min(1.0, served_share(model, capacity))
        for model, capacity in zip(models, capacities_req_per_s, strict=True)
        if model.demand_req_per_s > 0
    )


def reported_shares(shares: Sequence[float]) -> list[float]:
    """Return shares in ascending order, up to the first full one: what leximin compares."""
    ordered = sorted(shares)
    full = sum(share >= 1.0 for share in ordered)
    return ordered[: len(ordered) - full + 1] if full else ordered


def soft_shortfall(model: ServedModel, capacity_req_per_s: float, replicas: float) -> float:
    """Return the share of the target that is not reached, plus that of the replicas.

    The target counts only where it has headroom in it: without, it is the demand of the levels
    before.
    """
    shortfall = 0.0
    if model.headroom > 0 and model.demand_req_per_s > 0:
        shortfall += max(0.0, 1.0 - capacity_req_per_s / target_req_per_s(model))
    if model.min_replicas > 0:
        shortfall += max(0.0, 1.0 - replicas / model.min_replicas)
    return shortfall if shortfall > SHARE_TOLERANCE else 0.0
