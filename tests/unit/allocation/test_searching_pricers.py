"""Stage 2 where templates are found by a search for their price, without a library."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.templates.test_library import served

from coral_solver.allocation.allocate import AllocationOptions, allocate
from coral_solver.allocation.pricing_problem import PricingProblem
from coral_solver.catalog import gpu_type
from coral_solver.domain.hardware import CapacityKind, GpuPool, PoolKey, PoolNode
from coral_solver.domain.plan import PlanningProblem, SolveStatus
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import ServingMode
from coral_solver.templates.catalogue import CatalogueOptions, TemplateCatalogue, TemplateMethod
from coral_solver.templates.contents import TooManyError
from coral_solver.templates.dynamic_pricer import DynamicPricer

USD_PER_GPU_HOUR = {"L4": 0.8, "A10G": 1.0, "L40S": 1.9}


def pool(rng, gpu, count, region):
    kind = gpu_type(gpu)
    key = PoolKey(kind.name, count, kind.link, region, CapacityKind.ON_DEMAND)
    return GpuPool(
        key=key,
        node_usd_per_hour=USD_PER_GPU_HOUR[gpu] * count * rng.uniform(0.9, 1.2),
        nodes=tuple(PoolNode(f"{key}-{n}", count) for n in range(int(rng.integers(1, 5)))),
        site_factor=float(rng.choice([1.0, 1.0, 0.9])),
    )


def problem(rng):
    models = tuple(
        served(
            id=f"model-{i}",
            demand_req_per_s=float(rng.uniform(2.0, 12.0)),
            serving=ServingMode.DISAGGREGATED if i else ServingMode.AGGREGATED,
            min_replicas=int(rng.integers(0, 3)),
        )
        for i in range(2)
    )
    pools = tuple(
        pool(rng, gpu, count, region)
        for gpu in USD_PER_GPU_HOUR
        for count in (1, 2)
        for region in ("east", "west")
    )
    return PlanningProblem(models=models, pools=pools)


def plan_by(method, wanted, *, sum_regions):
    source = TemplateCatalogue(
        CatalogueOptions(space=PlacementSpace.PAPER, max_nodes=3, rho=100.0, method=method)
    )
    options = AllocationOptions(whole_nodes_only=True, sum_regions=sum_regions)
    return allocate(wanted, source, options=options)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sum_regions", [True, False])
def test_plans_and_bounds_agree_with_those_of_a_library(seed, sum_regions):
    wanted = problem(np.random.default_rng(seed))
    listed = plan_by(TemplateMethod.LIBRARY, wanted, sum_regions=sum_regions)
    searched = plan_by(TemplateMethod.PRICING, wanted, sum_regions=sum_regions)
    for one, two in zip(listed.objective, searched.objective, strict=True):
        assert one.level == two.level
        assert one.value == pytest.approx(two.value, rel=3e-4, abs=1e-5)


def test_most_rounds_look_at_known_templates_only(monkeypatch):
    rounds = []
    solve = PricingProblem.solve

    def counted(self, prices, blocks=None, *, known_only=False):
        rounds.append(known_only)
        return solve(self, prices, blocks, known_only=known_only)

    monkeypatch.setattr(PricingProblem, "solve", counted)
    wanted = problem(np.random.default_rng(1))
    plan_by(TemplateMethod.PRICING, wanted, sum_regions=True)
    assert True in rounds
    rounds.clear()
    plan_by(TemplateMethod.LIBRARY, wanted, sum_regions=True)
    assert rounds
    assert True not in rounds


def test_a_plan_is_made_where_every_search_is_given_up(monkeypatch):
    def give_up(*_args, **_options):
        raise TooManyError

    monkeypatch.setattr(DynamicPricer, "staircase", give_up)
    monkeypatch.setattr(DynamicPricer, "staircases", give_up)
    monkeypatch.setattr(DynamicPricer, "within", give_up)
    plan = plan_by(TemplateMethod.PRICING, problem(np.random.default_rng(0)), sum_regions=True)
    assert plan.status is SolveStatus.ERROR
    assert "templates cannot be priced" in plan.bound_scope
