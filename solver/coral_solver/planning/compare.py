"""Two plans side by side: what they cost, what they serve, what starts and what stops."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.planning.difference import COST_STEP, SHARE_STEP, Difference, difference

if TYPE_CHECKING:
    from coral_solver.planning.facts import InstanceFacts, PlanFacts


class _What(NamedTuple):
    """What makes instances equal but for their nodes."""

    template: str
    phase: str
    gpu: str
    gpus: int
    pools: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceChange:
    """Equal instances of one model in both plans.

    Attributes
    ----------
    template, phase, gpu, gpus, pools
        What runs; see ``InstanceFacts``.
    kept
        Instances on the same nodes in both plans.
    moved
        Instances in both plans, on other nodes.
    started, stopped
        Instances in one plan only.
    """

    template: str
    phase: str
    gpu: str
    gpus: int
    pools: tuple[str, ...]
    kept: int
    moved: int
    started: int
    stopped: int


class Pair(NamedTuple):
    """A number in both plans; None where a plan does not have what it is about."""

    before: float | None
    after: float | None

    @property
    def change(self) -> float:
        """After minus before; what is not there counts as 0."""
        return (self.after or 0.0) - (self.before or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """One model in both plans.

    Attributes
    ----------
    model
        Its id.
    demand_req_per_s, capacity_req_per_s, unmet_req_per_s, usd_per_hour
        Before and after.
    instances
        What runs before or after, by template and pools.
    """

    model: str
    demand_req_per_s: Pair
    capacity_req_per_s: Pair
    unmet_req_per_s: Pair
    usd_per_hour: Pair
    instances: tuple[InstanceChange, ...]

    @property
    def differs(self) -> bool:
        """Whether anything about the model is another."""
        return (
            _differ(self.demand_req_per_s)
            or _differ(self.unmet_req_per_s)
            or _differ(self.usd_per_hour)
            or any(item.moved or item.started or item.stopped for item in self.instances)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanComparison:
    """Two plans side by side.

    Attributes
    ----------
    before, after
        The plans.
    difference
        Cost and service, and what of it is proven.
    models
        One for each model of either plan, by id.
    gpus_by_pool
        GPUs in use by pool, for pools that either plan uses.
    opened_nodes
        Nodes that are paid in elastic pools.
    """

    before: PlanFacts
    after: PlanFacts
    difference: Difference
    models: tuple[ModelChange, ...]
    gpus_by_pool: dict[str, Pair]
    opened_nodes: dict[str, Pair]

    @property
    def kept(self) -> int:
        """Instances on the same nodes in both plans."""
        return sum(item.kept for model in self.models for item in model.instances)

    @property
    def moved(self) -> int:
        """Instances in both plans, on other nodes."""
        return sum(item.moved for model in self.models for item in model.instances)

    @property
    def started(self) -> int:
        """Instances in the second plan only."""
        return sum(item.started for model in self.models for item in model.instances)

    @property
    def stopped(self) -> int:
        """Instances in the first plan only."""
        return sum(item.stopped for model in self.models for item in model.instances)

    @property
    def differs(self) -> bool:
        """Whether the plans decide anything differently, or at another cost."""
        cost = Pair(self.before.cost_usd_per_hour, self.after.cost_usd_per_hour)
        return (
            _differ(cost)
            or any(model.differs for model in self.models)
            or any(pair.before != pair.after for pair in self.opened_nodes.values())
        )


def compare_plans(before: PlanFacts, after: PlanFacts) -> PlanComparison:
    """Put two plans side by side.

    Parameters
    ----------
    before, after
        Plans from any source. They may be for different problems; what that does to the cost is
        part of the difference then.

    Returns
    -------
    PlanComparison
        Instances are matched by model, template, pools and nodes, never by name: names are given
        anew where nothing is in force.
    """
    ids = sorted({*before.demand_req_per_s, *after.demand_req_per_s})
    pools = before.gpus_by_pool(), after.gpus_by_pool()
    return PlanComparison(
        before=before,
        after=after,
        difference=difference(before, after),
        models=tuple(_model(model_id, before, after) for model_id in ids),
        gpus_by_pool={
            name: Pair(pools[0].get(name, 0), pools[1].get(name, 0))
            for name in sorted({*pools[0], *pools[1]})
        },
        opened_nodes={
            name: Pair(before.opened_nodes.get(name, 0), after.opened_nodes.get(name, 0))
            for name in sorted({*before.opened_nodes, *after.opened_nodes})
        },
    )


def _model(model_id: str, before: PlanFacts, after: PlanFacts) -> ModelChange:
    return ModelChange(
        model=model_id,
        demand_req_per_s=Pair(
            before.demand_req_per_s.get(model_id), after.demand_req_per_s.get(model_id)
        ),
        capacity_req_per_s=Pair(
            before.capacity_req_per_s.get(model_id), after.capacity_req_per_s.get(model_id)
        ),
        unmet_req_per_s=Pair(
            before.unmet_req_per_s.get(model_id), after.unmet_req_per_s.get(model_id)
        ),
        usd_per_hour=Pair(before.usd_per_hour.get(model_id), after.usd_per_hour.get(model_id)),
        instances=_instances(model_id, before, after),
    )


def _instances(model_id: str, before: PlanFacts, after: PlanFacts) -> tuple[InstanceChange, ...]:
    first, second = _places(model_id, before), _places(model_id, after)
    changes = []
    for what in sorted({*first, *second}):
        had, has = first[what], second[what]
        kept = (had & has).total()
        both = min(had.total(), has.total())
        changes.append(
            InstanceChange(
                **what._asdict(),
                kept=kept,
                moved=both - kept,
                started=has.total() - both,
                stopped=had.total() - both,
            )
        )
    return tuple(changes)


def _places(model_id: str, plan: PlanFacts) -> defaultdict[_What, Counter[tuple[str | None, ...]]]:
    """Count a model's instances by what they are and by their nodes."""
    found: defaultdict[_What, Counter[tuple[str | None, ...]]] = defaultdict(Counter)
    for instance in plan.instances:
        if instance.model == model_id:
            found[_what(instance)][instance.nodes] += 1
    return found


def _what(instance: InstanceFacts) -> _What:
    return _What(instance.template, instance.phase, instance.gpu, instance.gpus, instance.pools)


def _differ(pair: Pair) -> bool:
    if pair.before is None or pair.after is None:
        return pair.before is not pair.after
    return abs(pair.change) > max(SHARE_STEP, COST_STEP * abs(pair.before))
