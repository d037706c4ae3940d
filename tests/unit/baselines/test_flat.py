"""The one-shot integer program against the two stages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.allocation.support import running

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.solver import MipResult, MipStatus
from coral_solver.baselines.flat import FlatLimits, flat
from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.errors import InvalidInputError, SolverError
from coral_solver.domain.hardware import PoolNode, PoolScaling
from coral_solver.domain.plan import PlanningProblem, SolveStatus
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import ServingMode
from coral_solver.templates.library import LibraryOptions, TemplateLibrary

OPTIONS = AllocationOptions(time_limit_s=60.0, whole_nodes_only=True, sum_regions=True)
SHAPES = {("L40S", 1), ("L4", 2), ("A10G", 2)}


def small(demand: float, *names: str, regions: int = 1, nodes: int = 2) -> PlanningProblem:
    """Return a piece of the paper's core setup."""
    setup = paper_setup("core")
    pools = tuple(
        replace(
            pool,
            scaling=PoolScaling.FIXED,
            nodes=tuple(PoolNode(f"{pool.name}-{i}", pool.key.gpus_per_node) for i in range(nodes)),
        )
        for pool in setup.pools[PriceSheet.TABLE_1]
        if pool.key[:2] in SHAPES and pool.key.region in setup.regions[:regions]
    )
    models = tuple(
        replace(model, demand_req_per_s=demand)
        for model in setup.models
        if model.arch.name in names
    )
    return PlanningProblem(models=models, pools=pools)


@pytest.mark.parametrize(
    ("problem", "max_nodes", "copies"),
    [
        (small(2, "phi-4-14b"), 2, 2),
        (small(1, "qwen3-32b"), 3, 2),
        (small(1, "phi-4-14b", regions=2, nodes=1), 2, 1),
    ],
)
def test_one_shot_and_two_stages_cost_the_same(problem, max_nodes, copies):
    library = TemplateLibrary(LibraryOptions(space=PlacementSpace.PAPER, max_nodes=max_nodes))
    two_stages = allocate(problem, library, options=OPTIONS)
    limits = FlatLimits(max_nodes=max_nodes, rho=12.0, copies=copies)
    one_shot = flat(problem, limits=limits, options=OPTIONS)
    assert one_shot.status is two_stages.status is SolveStatus.OPTIMAL
    assert sum(two_stages.unmet_req_per_s.values()) == 0
    assert one_shot.cost_usd_per_hour == pytest.approx(two_stages.cost_usd_per_hour, rel=1e-4)


def test_a_demand_that_cannot_be_met_has_no_solution():
    limits = FlatLimits(max_nodes=2, rho=12.0, copies=1)
    plan = flat(small(1000, "phi-4-14b"), limits=limits, options=OPTIONS)
    assert plan.status is SolveStatus.NO_SOLUTION
    assert plan.instances == ()
    assert plan.outcomes[0].reason == "CapacityShort"


def test_what_a_broken_solver_returns_is_no_plan(monkeypatch):
    # Every variable at 1: each phase has a replica of one stage and one of two, all of them on
    # every kind of node, and there is one node of a kind.
    def broken(program, *_cost, **_limits):
        return MipResult(status=MipStatus.OPTIMAL, values=np.ones(len(program.lower)), bound=0.0)

    monkeypatch.setattr("coral_solver.baselines.flat.solve_mip", broken)
    limits = FlatLimits(max_nodes=2, rho=12.0, copies=1)
    with pytest.raises(SolverError, match="no node left"):
        flat(small(1, "phi-4-14b", nodes=1), limits=limits, options=OPTIONS)


def test_everything_that_the_program_does_not_know_is_refused_at_once():
    given = small(1, "phi-4-14b")
    (pool, *others) = given.pools
    template = (
        allocate(
            given,
            TemplateLibrary(LibraryOptions(space=PlacementSpace.PAPER, max_nodes=1)),
            options=OPTIONS,
        )
        .instances[0]
        .template
    )
    odd = replace(
        given,
        models=(replace(given.models[0], serving=ServingMode.AUTO, min_replicas=1),),
        pools=(replace(pool, scaling=PoolScaling.ELASTIC, max_nodes=3), *others),
        in_force=(running("held-1", template, pool, pool.nodes[0].name),),
    )
    with pytest.raises(InvalidInputError) as refused:
        flat(
            odd,
            limits=FlatLimits(max_nodes=2, rho=12.0, copies=1),
            options=AllocationOptions(),
        )
    text = str(refused.value)
    for part in ("paper's rules", "fixed pools", "disaggregated models", "starts from nothing"):
        assert part in text
