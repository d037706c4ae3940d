"""The planning problem and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.domain.profile import points_of_models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.hardware import GpuPool, PoolKey
    from coral_solver.domain.profile import MeasuredPoint
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel


class ScarcityPolicy(StrEnum):
    """Who is served when GPUs are short."""

    PROPORTIONAL = "Proportional"
    PRIORITY = "Priority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What concerns all models together.

    Attributes
    ----------
    scarcity
        ``PROPORTIONAL``: leximin of the served share. ``PRIORITY``: class by class.
    payback_horizon_s
        Time over which the one-off cost of starting an instance is spread.
    robustness
        Share of the lower half of each prediction's error bar to plan with, in [0, 1]: 0 plans
        with the prediction itself, 1 with the lower end of its bar.
    budget_usd_per_hour
        Most rent of all instances together. Where not everything can be served for it, as much
        demand as possible is, each model's weighted by 1 + its priority, and ``scarcity`` has no
        say. None: no limit.
    """

    scarcity: ScarcityPolicy = ScarcityPolicy.PROPORTIONAL
    payback_horizon_s: float = 3600.0
    robustness: float = 0.0
    budget_usd_per_hour: float | None = None


class NodeSlice(NamedTuple):
    """Where one node configuration of an instance runs.

    ``node`` is None where an elastic pool is to open a node for it.
    """

    pool: PoolKey
    node: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingInstance:
    """One running copy of a template.

    Attributes
    ----------
    name
        Stable and unique over all models; it names the Kubernetes children.
    template
        What runs.
    region
        Every slice of an instance lies in one region.
    slices
        One entry per node configuration, in the order of ``template.stages`` and, inside a stage,
        of its ``configs``.
    usd_per_hour
        Rent of the slices. In elastic pools whole nodes are paid, see ``AllocationPlan``.
    """

    name: str
    template: ServingTemplate
    region: str
    slices: tuple[NodeSlice, ...]
    usd_per_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningProblem:
    """Everything that one plan is made from.

    Attributes
    ----------
    models
        Models of all services, sorted by id.
    pools
        GPU pools, sorted by key.
    policy
        What concerns all models together.
    in_force
        Instances that run now or are starting; keeping one costs no switching charge.
    profiles
        Measured points; they correct the predictions of the deployments that they are near to.
    """

    models: tuple[ServedModel, ...]
    pools: tuple[GpuPool, ...]
    policy: Policy = field(default_factory=Policy)
    in_force: tuple[ServingInstance, ...] = ()
    profiles: tuple[MeasuredPoint, ...] = ()


def with_measurements(problem: PlanningProblem) -> PlanningProblem:
    """Return a problem whose models carry what their predictions are to be made with.

    Parameters
    ----------
    problem
        Profiles and policy are handed to the models they concern; what the models carried before
        is replaced, so that doing it twice changes nothing.
    """
    models = tuple(
        replace(
            model,
            # Without sources: the name of a profile changes no number, and no cached template.
            measured=tuple(
                sorted(
                    (replace(p, source="") for p in points_of_models(problem.profiles, [model])),
                    key=repr,
                )
            ),
            robustness=problem.policy.robustness,
        )
        for model in problem.models
    )
    return replace(problem, models=models)


class SolveStatus(StrEnum):
    """How a solve ended; worse last."""

    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"
    NO_SOLUTION = "NO_SOLUTION"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveLevel:
    """One level of the lexicographic objective, as solved.

    Attributes
    ----------
    level
        Name, for example ``served_share`` or ``cost_usd_per_hour``.
    sense
        ``min`` or ``max``.
    value
        Value of the plan.
    bound
        No plan within ``AllocationPlan.bound_scope`` is better than this.
    gap
        ``|value - bound| / max(|value|, |bound|, 1e-9)``: in [0, 1] where both have one sign.
    """

    level: str
    sense: str
    value: float
    bound: float
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutcome:
    """What the plan does for one model.

    Attributes
    ----------
    model_id
        The model.
    demand_req_per_s
        Raw demand.
    capacity_req_per_s
        Rate that the instances can carry together, phases paired region by region.
    unmet_req_per_s
        Raw demand that is not served; never negative.
    usd_per_hour
        Rent of the model's instances.
    reason
        CamelCase word: ``Served``, ``NoDemand``, ``NoTemplate`` or ``CapacityShort``.
    message
        One sentence for people; says what to change where something is short.
    """

    model_id: str
    demand_req_per_s: float
    capacity_req_per_s: float
    unmet_req_per_s: float
    usd_per_hour: float
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationPlan:
    """The joint decision for all models.

    Attributes
    ----------
    status
        ``OPTIMAL``: every level is proven to ``relative_gap``. ``FEASIBLE``: a time limit hit
        first; the bounds still hold.
    instances
        What runs, sorted by name.
    outcomes
        One per model, sorted by id.
    objective
        Levels in the order in which they were solved.
    bound_scope
        In words: over which templates the bounds hold.
    rent_usd_per_hour
        Rent of all instances; whole opened nodes in elastic pools.
    switching_usd_per_hour
        Starting charge spread over the payback horizon.
    opened_nodes
        Nodes that are paid in elastic pools, by pool name.
    solve_s
        Time of stage 2.
    """

    status: SolveStatus
    instances: tuple[ServingInstance, ...]
    outcomes: tuple[ModelOutcome, ...]
    objective: tuple[ObjectiveLevel, ...]
    bound_scope: str
    rent_usd_per_hour: float
    switching_usd_per_hour: float
    opened_nodes: Mapping[str, int]
    solve_s: float

    @property
    def cost_usd_per_hour(self) -> float:
        """Rent plus switching charge: the value of the cost level."""
        return self.rent_usd_per_hour + self.switching_usd_per_hour

    @property
    def unmet_req_per_s(self) -> dict[str, float]:
        """Raw demand that is not served, by model id."""
        return {outcome.model_id: outcome.unmet_req_per_s for outcome in self.outcomes}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerOutcome:
    """What a plan does, in the numbers that ways to plan are compared by.

    Attributes
    ----------
    rent_usd_per_hour
        Rent of its instances.
    unmet_req_per_s
        Raw demand of all models that it does not serve: a small rent may just serve less.
    least_served_share
        Smallest share of its demand that any model gets; 1.0 where nobody asks for anything.
        Serving much in sum may just starve one model.
    """

    rent_usd_per_hour: float
    unmet_req_per_s: float
    least_served_share: float

    @classmethod
    def of(cls, plan: AllocationPlan) -> PeerOutcome:
        """Sum up a plan."""
        return cls(
            rent_usd_per_hour=plan.rent_usd_per_hour,
            unmet_req_per_s=sum(plan.unmet_req_per_s.values()),
            least_served_share=min(
                (
                    1.0 - outcome.unmet_req_per_s / outcome.demand_req_per_s
                    for outcome in plan.outcomes
                    if outcome.demand_req_per_s > 0
                ),
                default=1.0,
            ),
        )


class PlanMargin(NamedTuple):
    """A margin against wrong predictions, and the plan without it for the same input."""

    robustness: float
    without: PeerOutcome
