"""Random small problems for stage 2, with every feature that it has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tests.unit.allocation.support import FakeSource, config, model, pool, problem, source, template

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.options import AllocationOptions
from coral_solver.domain.hardware import CapacityKind
from coral_solver.domain.plan import Policy, ScarcityPolicy
from coral_solver.domain.workload import Phase, ServingMode

if TYPE_CHECKING:
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.template import ServingTemplate

MODELS = ("a", "b", "c")
GPUS = ("L4", "T4")
SIZES = (1, 2, 4)

run = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def pools(draw):
    """Draw one to four pools, fixed and elastic, in up to two regions."""
    keys = st.tuples(
        st.sampled_from(GPUS),
        st.sampled_from([1, 2, 4, 6]),
        st.sampled_from(["r1", "r2"]),
        st.sampled_from([CapacityKind.ON_DEMAND, CapacityKind.SPOT]),
    )
    made = []
    for gpu, size, region, kind in draw(st.lists(keys, min_size=1, max_size=4, unique=True)):
        free = draw(st.lists(st.integers(0, size), max_size=3))
        made.append(
            pool(
                gpu,
                size,
                free,
                region=region,
                kind=kind,
                gpu_usd=draw(st.sampled_from([0.0, 0.4, 1.0, 1.7])),
                max_nodes=draw(st.sampled_from([None, None, 1, 4])),
                start_time_s=draw(st.sampled_from([0.0, 300.0])),
                site_factor=draw(st.sampled_from([1.0, 1.0, 0.8])),
            )
        )
    return made


@st.composite
def templates(draw):
    """Draw templates of one to three node configurations for every model."""
    made = []
    for name in MODELS:
        for _ in range(draw(st.integers(0, 4))):
            parts = draw(
                st.lists(
                    st.tuples(st.sampled_from(GPUS), st.sampled_from(SIZES)),
                    min_size=1,
                    max_size=3,
                )
            )
            phase = draw(st.sampled_from([Phase.WHOLE, Phase.WHOLE, Phase.PREFILL, Phase.DECODE]))
            rate = draw(st.integers(1, 30)) / 10
            made.append(template(name, rate, *(config(*p) for p in parts), phase=phase))
    return list({(t.model_id, t.id): t for t in made}.values())


@st.composite
def problems(draw):
    """Draw a problem with its templates."""
    demanded = [
        model(
            name,
            draw(st.sampled_from([0.0, 0.7, 2.0, 6.0])),
            serving=ServingMode.AUTO,
            headroom=draw(st.sampled_from([0.0, 0.0, 0.3])),
            priority=draw(st.integers(0, 1)),
            min_replicas=draw(st.sampled_from([0, 0, 1])),
        )
        for name in MODELS
    ]
    policy = Policy(scarcity=draw(st.sampled_from(list(ScarcityPolicy))))
    return problem(demanded, draw(pools()), policy=policy), draw(templates())


@dataclass(frozen=True)
class Scenario:
    """A problem, its templates, and the rules that it is solved under."""

    problem: PlanningProblem
    templates: tuple[ServingTemplate, ...]
    options: AllocationOptions

    @property
    def source(self) -> FakeSource:
        return source(*self.templates)

    def changed(self, **changes) -> Scenario:
        return replace(self, problem=replace(self.problem, **changes))

    def solve(self):
        return allocate(self.problem, self.source, options=self.options)


def without_wishes(models):
    """Return the models with raw demands only: one level of service, then the cost."""
    return tuple(replace(m, headroom=0.0, min_replicas=0) for m in models)


@st.composite
def scenarios(draw, *, wishes=True):
    """Draw a problem with its rules; in half of the cases another plan is in force."""
    given, made = draw(problems())
    if not wishes:
        given = replace(given, models=without_wishes(given.models))
    options = AllocationOptions(
        whole_nodes_only=draw(st.booleans()), sum_regions=draw(st.booleans())
    )
    scenario = Scenario(given, tuple(made), options)
    return _with_a_plan_in_force(draw, scenario) if draw(st.booleans()) else scenario


def _with_a_plan_in_force(draw, scenario):
    """Put the plan for some other demands in force."""
    factors = [draw(st.sampled_from([0.3, 0.8, 1.0, 2.0])) for _ in scenario.problem.models]
    before = scenario.changed(
        models=tuple(
            replace(m, demand_req_per_s=m.demand_req_per_s * factor)
            for m, factor in zip(scenario.problem.models, factors, strict=True)
        )
    )
    return scenario.changed(in_force=before.solve().instances)


@st.composite
def tiny_scenarios(draw):
    """Draw a scenario that can be solved by trying everything: 2 models, up to 4 nodes."""
    made = []
    for name in MODELS[:2]:
        for _ in range(draw(st.integers(1, 2))):
            parts = draw(
                st.lists(st.sampled_from([config("L4"), config("L4", 2)]), min_size=1, max_size=2)
            )
            phase = draw(st.sampled_from([Phase.WHOLE, Phase.PREFILL, Phase.DECODE]))
            made.append(template(name, draw(st.integers(3, 20)) / 10, *parts, phase=phase))
    chosen = []
    for region, size in (("r1", 2), ("r2", draw(st.sampled_from([1, 2])))):
        free = draw(st.lists(st.integers(0, size), max_size=2))
        elastic = draw(st.booleans())
        chosen.append(
            pool(
                "L4",
                size,
                free,
                region=region,
                gpu_usd=draw(st.sampled_from([0.6, 1.0])),
                max_nodes=max(1, len(free)) if elastic else None,
                start_time_s=draw(st.sampled_from([0.0, 600.0])),
                site_factor=draw(st.sampled_from([1.0, 0.8])),
            )
        )
    demanded = [
        model(name, draw(st.sampled_from([0.5, 1.1, 2.0])), serving=ServingMode.AUTO)
        for name in MODELS[:2]
    ]
    options = AllocationOptions(
        whole_nodes_only=draw(st.booleans()), sum_regions=draw(st.booleans())
    )
    different = tuple({(t.model_id, t.id): t for t in made}.values())
    scenario = Scenario(problem(demanded, chosen), different, options)
    return _with_a_plan_in_force(draw, scenario) if draw(st.booleans()) else scenario
