"""The random instances of the benchmarks: the same everywhere, and what their page says."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from benchmarks.instances import FEATURE_SETS, Features, instance, supply_factor

from coral_solver.allocation.allocate import allocate_greedily
from coral_solver.domain.hardware import CapacityKind, PoolScaling
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.validate import validate_problem
from coral_solver.domain.workload import ServingMode
from coral_solver.templates.catalogue import TemplateCatalogue

SEEDS = range(24)


def facts(seed, features=FEATURE_SETS["rho"]):
    """Return all that is drawn, in words."""
    problem, options = instance(seed, features)
    return [
        *((m.id, m.demand_req_per_s, m.serving.value) for m in problem.models),
        *(
            (p.name, p.node_usd_per_hour, p.max_nodes, [n.free_gpus for n in p.nodes])
            for p in problem.pools
        ),
        (options.library.space.value, options.library.max_nodes, options.library.rho),
        (options.allocation.whole_nodes_only, options.allocation.sum_regions),
    ]


def digest_of_all():
    drawn = repr([facts(seed) for seed in SEEDS] + [facts(0, FEATURE_SETS["all"])])
    return hashlib.sha256(drawn.encode()).hexdigest()[:16]


def test_the_published_instances_are_the_ones_that_were_fixed():
    # A change here makes every published distribution that of another set: say so beside it.
    assert digest_of_all() == "f943cb61b127a1fc"


def test_another_process_draws_the_same(pytestconfig):
    code = "from tests.unit.benchmarks.test_instances import digest_of_all as d; print(d())"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(pytestconfig.rootpath)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == digest_of_all()


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_every_set_has_the_features_that_it_is_named_after(name):
    features = FEATURE_SETS[name]
    problem, options = instance(6, features)
    validate_problem(problem)
    assert bool(problem.in_force) == features.switching
    assert (options.library.space is PlacementSpace.VLLM) == features.vllm
    assert options.allocation.whole_nodes_only == (not (features.slices or features.vllm))
    assert options.allocation.sum_regions == (not (features.regional or features.vllm))
    partly = any(
        node.free_gpus < pool.key.gpus_per_node for pool in problem.pools for node in pool.nodes
    )
    assert partly == (features.slices or features.vllm)
    elastic = any(pool.scaling is PoolScaling.ELASTIC for pool in problem.pools)
    assert elastic == features.elastic
    assert any(m.serving is ServingMode.AUTO for m in problem.models) == features.mixed


def test_instances_span_both_sheets_and_all_degrees_of_scarcity():
    problems = [instance(seed)[0] for seed in SEEDS]
    for seed, problem in zip(SEEDS, problems, strict=True):
        kinds = {pool.key.kind for pool in problem.pools}
        assert (CapacityKind.SPOT in kinds) <= (seed % 2 == 1)  # Table 1 has no spot price
        assert len(problem.models) == 6
        assert all(1.0 <= m.demand_req_per_s <= 50.0 for m in problem.models)
    assert {gpus for p in problems for gpus in {pool.key.gpus_per_node for pool in p.pools}} == {
        1, 2, 4, 8,
    }  # fmt: skip
    assert len({pool.key.region for p in problems for pool in p.pools}) == 3
    factors = [supply_factor(seed) for seed in range(200)]
    assert min(factors) < 3.2 < 55 < max(factors)


def test_what_is_in_force_fits_and_can_stay():
    problem, _ = instance(5, Features(switching=True, slices=True))
    assert problem.in_force
    free = {(p.key, n.name): n.free_gpus for p in problem.pools for n in p.nodes}
    for item in problem.in_force:
        for config, (pool, node) in zip(item.template.configs, item.slices, strict=True):
            free[pool, node] -= config.gpu_count
    assert min(free.values()) >= 0
    targets = {model.id: model.targets_digest for model in problem.models}
    assert all(i.template.made_for == targets[i.template.model_id] for i in problem.in_force)


def test_four_times_the_demand_comes_with_four_times_the_gpus():
    one, four = (instance(4, Features(demand_scale=scale))[0] for scale in (1.0, 4.0))
    assert sum(m.demand_req_per_s for m in four.models) == pytest.approx(
        4 * sum(m.demand_req_per_s for m in one.models), abs=0.5
    )
    gpus = [sum(pool.free_gpus for pool in p.pools) for p in (one, four)]
    assert gpus[1] == pytest.approx(4 * gpus[0], rel=0.25)  # nodes are whole


def test_a_rule_serves_an_instance_from_single_nodes():
    problem, options = instance(1)
    plan = allocate_greedily(
        problem,
        TemplateCatalogue(replace(options.library, max_nodes=1)),
        capped=True,
        worst_off_first=True,
        options=options.allocation,
    )
    assert plan.instances
