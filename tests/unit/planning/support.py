"""A planner over given templates, so that every number of a test can be worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.allocation.support import source

from coral_solver.allocation.allocate import allocate
from coral_solver.domain.plan import ObjectiveLevel
from coral_solver.planning.facts import InstanceFacts, PlanFacts
from coral_solver.planning.planner import Planner, PlanningOptions, PlanningResult

if TYPE_CHECKING:
    from coral_solver.domain.clock import ManualClock
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.planning.planner import Progress


class GivenPlanner(Planner):
    """Plans with given templates; remembers the problems, and may take its time."""

    def __init__(
        self,
        *templates: ServingTemplate,
        clock: ManualClock | None = None,
        takes_s: float = 0.0,
    ) -> None:
        super().__init__(PlanningOptions(with_baselines=False))
        self._source = source(*templates)
        self._given_clock = clock
        self._takes_s = takes_s
        self.asked: list[PlanningProblem] = []

    def plan(self, problem: PlanningProblem, *, progress: Progress | None = None) -> PlanningResult:
        self.asked.append(problem)
        if progress is not None:
            progress("stage 2: allocation", None)
        if self._given_clock is not None:
            self._given_clock.advance(self._takes_s)
        return PlanningResult(plan=allocate(problem, self._source))


def level(
    name: str, value: float, bound: float | None = None, *, sense: str = "min"
) -> ObjectiveLevel:
    """Make a level; without a bound it is proven."""
    return ObjectiveLevel(
        level=name, sense=sense, value=value, bound=value if bound is None else bound, gap=0.0
    )


def served(value: float, bound: float | None = None, name: str = "served_share") -> ObjectiveLevel:
    return level(name, value, bound, sense="max")


def cost(value: float, bound: float | None = None) -> ObjectiveLevel:
    return level("cost_usd_per_hour", value, bound)


def facts(
    *levels: ObjectiveLevel,
    usd: float = 10.0,
    demand: dict[str, float] | None = None,
    unmet: dict[str, float] | None = None,
    without_template: frozenset[str] = frozenset(),
    instances: tuple[InstanceFacts, ...] = (),
    opened: dict[str, int] | None = None,
) -> PlanFacts:
    demand = demand or {"a": 10.0}
    unmet = {**dict.fromkeys(demand, 0.0), **(unmet or {})}
    return PlanFacts(
        status="OPTIMAL",
        cost_usd_per_hour=usd,
        rent_usd_per_hour=usd,
        switching_usd_per_hour=0.0,
        demand_req_per_s=demand,
        capacity_req_per_s=demand,
        unmet_req_per_s=unmet,
        usd_per_hour=dict.fromkeys(demand, usd),
        models_without_template=without_template,
        instances=instances,
        opened_nodes=opened or {},
        objective=levels,
        bound_scope="made up",
    )


def instance(
    name: str, *nodes: str | None, model: str = "a", template: str = "t", pool: str = "r1/L4x1/od"
) -> InstanceFacts:
    return InstanceFacts(
        name=name,
        model=model,
        phase="WHOLE",
        template=template,
        gpu="L4",
        gpus=len(nodes),
        pools=(pool,),
        nodes=nodes,
        gpus_by_pool={pool: len(nodes)},
        capacity_req_per_s=1.0,
        usd_per_hour=1.0,
    )
