"""Time of a plan for the paper's core setup, stage 1 included: cold and warm template cache.

    python -m benchmarks.plan_core

Each row is a process of its own. The kernels' compiled code is made before the first row, as in
our image; `cold` starts from an empty template cache, `warm` from the one that `cold` left. Prices
are the paper's Table 1; every pool has the same number of nodes, since the paper's availability
is not public.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import machine

from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.hardware import PoolNode, PoolScaling
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.planning.planner import Planner, PlanningOptions


def core_problem(nodes_per_pool: int) -> PlanningProblem:
    """Return the paper's core setup with the same number of nodes in every pool."""
    setup = paper_setup("core")
    pools = tuple(
        replace(
            pool,
            scaling=PoolScaling.FIXED,
            nodes=tuple(
                PoolNode(f"{pool.name}-{i:03d}", pool.key.gpus_per_node)
                for i in range(nodes_per_pool)
            ),
        )
        for pool in setup.pools[PriceSheet.TABLE_1]
    )
    return PlanningProblem(models=setup.models, pools=pools)


def measure(
    space: PlacementSpace, cache_dir: Path, nodes_per_pool: int, max_nodes: int
) -> dict[str, object]:
    """Plan once in this process and return its times and figures."""
    problem = core_problem(nodes_per_pool)
    planner = Planner(
        PlanningOptions(space=space, cache_dir=cache_dir, max_nodes=max_nodes, with_baselines=False)
    )
    start_s = time.perf_counter()
    result = planner.plan(problem)
    return {
        "plan_s": time.perf_counter() - start_s,
        "templates_s": result.templates_s,
        "allocation_s": result.allocation_s,
        "status": str(result.plan.status),
        "cost_usd_per_hour": result.plan.cost_usd_per_hour,
        "gap": result.plan.objective[-1].gap,
        "unmet_req_per_s": sum(result.plan.unmet_req_per_s.values()),
    }


def in_own_process(
    space: PlacementSpace, cache_dir: Path, nodes_per_pool: int, max_nodes: int
) -> dict[str, object]:
    """Run ``measure`` in a fresh interpreter; adds the whole process's time."""
    start_s = time.perf_counter()
    shown = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.plan_core",
            "--space",
            space,
            "--child",
            str(cache_dir),
            "--nodes-per-pool",
            str(nodes_per_pool),
            "--max-nodes",
            str(max_nodes),
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(shown.stdout) | {"process_s": time.perf_counter() - start_s}


def main() -> None:
    """Print the table, or one measurement as JSON in a child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes-per-pool", type=int, default=12)
    parser.add_argument("--space", type=PlacementSpace, choices=list(PlacementSpace))
    parser.add_argument("--max-nodes", type=int, default=6, help="N_max")
    parser.add_argument("--smoke", action="store_true", help="small templates, one space")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.space, arguments.max_nodes = PlacementSpace.VLLM, 1
    size = (arguments.nodes_per_pool, arguments.max_nodes)
    if arguments.child:
        print(json.dumps(measure(arguments.space, arguments.child, *size)))
        return
    print(f"{machine()}\ncore setup, {arguments.nodes_per_pool} nodes per pool")
    print("space  cache  process_s  plan_s  stage1_s  stage2_s  status    USD/h     gap      unmet")
    for space in [arguments.space] if arguments.space else list(PlacementSpace):
        with tempfile.TemporaryDirectory() as folder:
            in_own_process(space, Path(folder) / "compile", *size)
            for cache in ("cold", "warm"):
                row = in_own_process(space, Path(folder) / "templates", *size)
                print(
                    f"{space:6} {cache:6} {row['process_s']:9.2f} {row['plan_s']:7.2f} "
                    f"{row['templates_s']:9.2f} {row['allocation_s']:9.2f}  {row['status']:9} "
                    f"{row['cost_usd_per_hour']:8.3f} {row['gap']:8.1e} "
                    f"{row['unmet_req_per_s']:7.2f}"
                )


if __name__ == "__main__":
    main()
