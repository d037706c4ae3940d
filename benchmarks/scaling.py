"""How time and gap grow along each axis: `N_max`, node configurations, regions, models.

    python -m benchmarks.scaling

One axis grows at a time, from the size of the paper's extended setup: 6 models, 20 node
configurations, 3 regions, N_max 6; the last row has all of them at their largest. What is beyond
the setup is made up from real parts:

* node configurations: further GPU types of the catalogue, at list prices (the L40, which no list
  sells, at 0.7 of an L40S), in nodes of 1, 2, 4 and 8;
* regions: copies of the three, with prices up to 5 % apart;
* models: all 12 of the catalogue, again and again with latency targets 5 % looser each time, so
  that no two share their templates; demands log-uniform from 1 to 50 req/s, fixed seed.

Every pool has the same number of nodes, 3 for 6 models in 60 pools and in proportion.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from random import Random
from typing import NamedTuple

from benchmarks.instance_gpus import SIZES
from benchmarks.instances import (
    DEMAND_REQ_PER_S,
    NEAREST_PAPER_MODEL,
    PAPER_MODELS,
    RHO_OFF,
)
from benchmarks.machine import machine
from benchmarks.solving import Solver

from coral_solver.allocation.allocate import AllocationOptions
from coral_solver.catalog import gpu_type, model_arch, paper_setup
from coral_solver.domain.hardware import CapacityKind, GpuPool, PoolKey, PoolNode
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import ServedModel, Slo
from coral_solver.templates.catalogue import CatalogueOptions, TemplateMethod

GPU_USD_PER_HOUR = {
    "L40S": 1.861,
    "L4": 0.8048,
    "A10G": 1.006,
    "H100": 6.88,
    "A100-80GB": 3.43,
    "H200": 7.91,
    "B200": 14.24,
    "A100-40GB": 2.74,
    "RTX-PRO-6000": 3.36,
    "L40": 1.30,
}
"""Price of one GPU, on demand, AWS us-east (`catalog/data/prices.csv`); the first five types are
the extended setup's, the L40's is assumed."""


class Size(NamedTuple):
    """How large a problem is."""

    max_nodes: int = 6
    configs: int = 20
    regions: int = 3
    models: int = 6


AXES: dict[str, tuple[Size, ...]] = {
    "N_max": tuple(Size(max_nodes=n) for n in (6, 8, 10, 12)),
    "node configurations": tuple(Size(configs=n) for n in (20, 28, 40)),
    "regions": tuple(Size(regions=n) for n in (3, 6, 10)),
    "models": tuple(Size(models=n) for n in (6, 12, 25, 50, 100)),
    "all": (Size(max_nodes=12, configs=40, regions=10, models=100),),
}
SMOKE_AXES = {"models": (Size(max_nodes=1, configs=4, regions=1, models=2),)}


def problem_of(size: Size) -> PlanningProblem:
    """Make the problem of one size."""
    rng = Random("coral scaling")  # noqa: S311 - not for secrets
    targets = {model.arch.name: model for model in paper_setup("extended").models}
    names = (*PAPER_MODELS, *NEAREST_PAPER_MODEL)
    models = []
    for i in range(size.models):
        name, turn = names[i % len(names)], i // len(names)
        like = targets[NEAREST_PAPER_MODEL.get(name, name)]
        low, high = DEMAND_REQ_PER_S
        models.append(_model(like, name, turn, round(low * (high / low) ** rng.random(), 1)))
    gpus = list(GPU_USD_PER_HOUR)[: size.configs // len(SIZES)]
    num_pools = size.regions * size.configs
    nodes_per_pool = max(1, round(3 * size.models / 6 * 60 / num_pools))
    pools = [
        _pool(gpu, count, region, nodes_per_pool)
        for region in range(size.regions)
        for gpu in gpus
        for count in SIZES
    ]
    return PlanningProblem(
        models=tuple(sorted(models, key=lambda model: model.id)),
        pools=tuple(sorted(pools, key=lambda pool: pool.key)),
    )


def _model(like: ServedModel, name: str, turn: int, demand_req_per_s: float) -> ServedModel:
    arch = model_arch(name)
    looser = 1.05**turn
    return replace(
        like,
        id=f"scaling/{name}-{turn}",
        arch=arch,
        precision=arch.native_precision,
        slo=Slo(
            ttft_s=like.slo.ttft_s * looser,
            tpot_s=like.slo.tpot_s * looser,
            attainment=like.slo.attainment,
        ),
        demand_req_per_s=demand_req_per_s,
    )


def _pool(gpu: str, gpu_count: int, region: int, nodes: int) -> GpuPool:
    kind = gpu_type(gpu)
    key = PoolKey(kind.name, gpu_count, kind.link, f"region-{region:02d}", CapacityKind.ON_DEMAND)
    return GpuPool(
        key=key,
        node_usd_per_hour=GPU_USD_PER_HOUR[gpu] * gpu_count * (1 + 0.05 * (region % 5) / 4),
        nodes=tuple(PoolNode(f"{key}-{n:04d}", gpu_count) for n in range(nodes)),
    )


def measure(size: Size, limit_s: float, space: PlacementSpace, method: TemplateMethod) -> str:
    """Solve one size from nothing and return its row."""
    problem = problem_of(size)
    is_paper = space is PlacementSpace.PAPER
    solver = Solver(
        CatalogueOptions(space=space, max_nodes=size.max_nodes, rho=RHO_OFF, method=method)
    )
    start_cpu_s = time.process_time()
    prepare_s = solver.load(problem)
    prepare_cpu_s = time.process_time() - start_cpu_s
    solved = solver.solve(
        problem,
        AllocationOptions(
            time_limit_s=max(limit_s - prepare_s, 0.0),
            whole_nodes_only=is_paper,
            sum_regions=is_paper,
        ),
    )
    plan = solved.plan
    shares = [1 - outcome.unmet_req_per_s / outcome.demand_req_per_s for outcome in plan.outcomes]
    return (
        f"{size.max_nodes} | {size.configs} | {size.regions} | {size.models} "
        f"| {prepare_s:.2f} s | {solved.solve_s:.2f} s | {prepare_cpu_s + solved.cpu_s:.2f} s "
        f"| {plan.status} | {solved.gap:.1e} | {plan.cost_usd_per_hour:.2f} "
        f"| {min(shares):.1%} | {statistics.mean(shares):.1%} |"
    )


def main() -> None:
    """Print the curves as one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for both stages")
    parser.add_argument("--space", type=PlacementSpace, default=PlacementSpace.PAPER)
    parser.add_argument("--method", type=TemplateMethod, default=TemplateMethod.AUTO)
    parser.add_argument("--axis", choices=list(AXES), action="append", dest="axes")
    parser.add_argument("--smoke", action="store_true", help="one tiny size")
    arguments = parser.parse_args()
    axes = SMOKE_AXES if arguments.smoke else AXES
    print(
        f"{machine()}; {arguments.space} space, templates by {arguments.method}, "
        f"limit {arguments.limit:g} s\n"
    )
    print(
        "| axis | N_max | configurations | regions | models | stage 1 | stage 2 | CPU | status "
        "| worst gap | USD/h | least served | mean served |"
    )
    print("|---" * 13 + "|")
    for axis in arguments.axes or axes:
        for size in axes[axis]:
            print(
                f"| {axis} | {measure(size, arguments.limit, arguments.space, arguments.method)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
