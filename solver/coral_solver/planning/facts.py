"""What a plan comes down to, wherever it is from: a solve, a file, a ServingPlan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.plan import AllocationPlan, ObjectiveLevel, ServingInstance

WITHOUT_TEMPLATE = "NoTemplate"
"""Reason of an outcome whose model nothing on offer can serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """One instance of a plan.

    Attributes
    ----------
    name
        Its name in the plan.
    model, phase
        What it serves.
    template
        Id of its template.
    gpu, gpus
        GPU type(s), joined by ``+``, and number of GPUs.
    pools, nodes
        Pool names, in order and each once, and nodes slice by slice; a node is None where an
        elastic pool is to open one.
    gpus_by_pool
        GPUs by pool name; empty where the source of the plan does not say.
    capacity_req_per_s, usd_per_hour
        What it carries, and its rent.
    """

    name: str
    model: str
    phase: str
    template: str
    gpu: str
    gpus: int
    pools: tuple[str, ...]
    nodes: tuple[str | None, ...]
    gpus_by_pool: Mapping[str, int]
    capacity_req_per_s: float
    usd_per_hour: float

    @classmethod
    def of(cls, instance: ServingInstance) -> InstanceFacts:
        """Sum up an instance."""
        template = instance.template
        by_pool: dict[str, int] = {}
        for config, piece in zip(template.configs, instance.slices, strict=True):
            pool = str(piece.pool)
            by_pool[pool] = by_pool.get(pool, 0) + config.gpu_count
        return cls(
            name=instance.name,
            model=template.model_id,
            phase=str(template.phase),
            template=template.id,
            gpu=template.gpu,
            gpus=template.gpu_count,
            pools=tuple(by_pool),
            nodes=tuple(piece.node for piece in instance.slices),
            gpus_by_pool=by_pool,
            capacity_req_per_s=template.capacity_req_per_s,
            usd_per_hour=instance.usd_per_hour,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """A plan in the numbers that plans are compared by.

    Attributes
    ----------
    status
        How its solve ended.
    cost_usd_per_hour, rent_usd_per_hour, switching_usd_per_hour
        Rent plus starting charge, and its parts.
    demand_req_per_s, capacity_req_per_s, unmet_req_per_s, usd_per_hour
        By model id.
    models_without_template
        Models that nothing on offer can serve.
    instances
        What runs, sorted by name.
    opened_nodes
        Nodes that are paid in elastic pools, by pool name.
    objective
        Levels as solved, in their order.
    bound_scope
        In words: what the bounds hold for.
    """

    status: str
    cost_usd_per_hour: float
    rent_usd_per_hour: float
    switching_usd_per_hour: float
    demand_req_per_s: Mapping[str, float]
    capacity_req_per_s: Mapping[str, float]
    unmet_req_per_s: Mapping[str, float]
    usd_per_hour: Mapping[str, float]
    models_without_template: frozenset[str]
    instances: tuple[InstanceFacts, ...]
    opened_nodes: Mapping[str, int]
    objective: tuple[ObjectiveLevel, ...]
    bound_scope: str

    @classmethod
    def of(cls, plan: AllocationPlan) -> PlanFacts:
        """Sum up a plan."""
        outcomes = {outcome.model_id: outcome for outcome in plan.outcomes}
        return cls(
            status=str(plan.status),
            cost_usd_per_hour=plan.cost_usd_per_hour,
            rent_usd_per_hour=plan.rent_usd_per_hour,
            switching_usd_per_hour=plan.switching_usd_per_hour,
            demand_req_per_s={name: found.demand_req_per_s for name, found in outcomes.items()},
            capacity_req_per_s={name: found.capacity_req_per_s for name, found in outcomes.items()},
            unmet_req_per_s={name: found.unmet_req_per_s for name, found in outcomes.items()},
            usd_per_hour={name: found.usd_per_hour for name, found in outcomes.items()},
            models_without_template=frozenset(
                name for name, found in outcomes.items() if found.reason == WITHOUT_TEMPLATE
            ),
            instances=tuple(InstanceFacts.of(instance) for instance in plan.instances),
            opened_nodes=dict(plan.opened_nodes),
            objective=plan.objective,
            bound_scope=plan.bound_scope,
        )

    @property
    def served_req_per_s(self) -> float:
        """Raw demand that is served, all models together."""
        return sum(self.demand_req_per_s.values()) - sum(self.unmet_req_per_s.values())

    @property
    def cost_gap(self) -> float | None:
        """Gap of the level of the cost; None where the plan has none."""
        return next((x.gap for x in reversed(self.objective) if "cost" in x.level), None)

    def gpus_of(self, model_id: str) -> dict[str, int]:
        """Return how many GPUs of which type(s) a model runs on, most first."""
        found: dict[str, int] = {}
        for instance in self.instances:
            if instance.model == model_id:
                found[instance.gpu] = found.get(instance.gpu, 0) + instance.gpus
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def gpus_by_pool(self) -> dict[str, int]:
        """Return how many GPUs of each pool are in use."""
        found: dict[str, int] = {}
        for instance in self.instances:
            for pool, gpus in instance.gpus_by_pool.items():
                found[pool] = found.get(pool, 0) + gpus
        return dict(sorted(found.items()))
