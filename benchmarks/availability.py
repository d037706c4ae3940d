"""The paper's extended setup from abundant to very scarce: stage 2 with templates at hand.

    python -m benchmarks.availability

6 models in prefill and decode, 20 node configurations, 3 regions, prices of Table 1, N_max 6. Every
pool has the same number of nodes, since the paper's availability is not public. Templates are found
once for all rows and a first plan is thrown away, as in a planner that is running.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from benchmarks.machine import machine
from benchmarks.peers import with_nodes
from benchmarks.solving import Solver

from coral_solver.allocation.allocate import AllocationOptions
from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.templates.catalogue import CatalogueOptions

NODES_PER_POOL = (40, 6, 2, 1)


def extended_problem(nodes_per_pool: int) -> PlanningProblem:
    """Return the extended setup with the same number of nodes in every pool."""
    setup = paper_setup("extended")
    pools = with_nodes(setup.pools[PriceSheet.TABLE_1], lambda _: nodes_per_pool)
    return PlanningProblem(models=setup.models, pools=pools)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for a plan")
    parser.add_argument("--smoke", action="store_true", help="one model, small templates")
    arguments = parser.parse_args()
    print(f"{machine()}\n")
    print("| space | nodes in every pool | GPUs | stage 2 | status | gap | USD/h | unmet req/s |")
    print("|---" * 8 + "|")
    for space in [PlacementSpace.VLLM] if arguments.smoke else list(PlacementSpace):
        is_paper = space is PlacementSpace.PAPER
        solver = Solver(CatalogueOptions(space=space, max_nodes=1 if arguments.smoke else 6))
        options = AllocationOptions(
            time_limit_s=arguments.limit, whole_nodes_only=is_paper, sum_regions=is_paper
        )
        for turn, nodes in enumerate((NODES_PER_POOL[0], *NODES_PER_POOL)):
            problem = extended_problem(nodes)
            if arguments.smoke:
                problem = replace(problem, models=problem.models[:1])
            solved = solver.solve(problem, options)
            if turn > 0:
                plan = solved.plan
                print(
                    f"| {space} | {nodes} | {sum(pool.free_gpus for pool in problem.pools)} "
                    f"| {solved.solve_s:.2f} s | {plan.status} | {solved.gap:.1e} "
                    f"| {plan.cost_usd_per_hour:.2f} | {sum(plan.unmet_req_per_s.values()):.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
