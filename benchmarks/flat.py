"""The paper's one-shot integer program beside the two stages: the same cost, far slower.

    python -m benchmarks.flat
    python -m benchmarks.flat --smoke                # the smallest instance only

Small instances from the core setup: one region, a few node configurations with three nodes each,
Table 1 prices. Stage 1 is part of the time of the two stages. CPU time.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.machine import machine
from benchmarks.peers import with_nodes

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.flat import FlatLimits, flat
from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.templates.library import LibraryOptions, TemplateLibrary

if TYPE_CHECKING:
    from collections.abc import Sequence

CASES = (
    # models, node configurations of one region, req/s per model, N_max, copies
    (("phi-4-14b",), (("L40S", 1), ("A10G", 2)), 2.0, 2, 2),
    (("phi-4-14b",), (("L40S", 1), ("L4", 2), ("A10G", 2)), 3.0, 3, 2),
    (("qwen3-32b",), (("L40S", 1), ("L4", 2), ("A10G", 2)), 1.0, 3, 2),
    (("gpt-oss-20b", "phi-4-14b"), (("L40S", 1), ("L4", 2), ("A10G", 2)), 2.0, 3, 2),
    (("qwen3-32b",), (("L40S", 1), ("L40S", 2), ("L4", 2), ("A10G", 2)), 2.0, 3, 3),
    (("qwen3-32b",), (("L40S", 1), ("L40S", 2), ("L4", 4), ("A10G", 4)), 3.0, 4, 3),
    (
        ("gpt-oss-20b", "phi-4-14b", "qwen3-32b"),
        (("L40S", 1), ("L4", 2), ("A10G", 1), ("A10G", 2)),
        2.0,
        3,
        3,
    ),
)
"""Small instances for the one-shot program; three nodes in every pool, Table 1 prices."""


def run_cases(cases: Sequence[tuple], limit_s: float) -> None:
    """Print the table."""
    print(
        "| models | configurations | req/s | N_max | two stages USD/h | CPU s | one shot USD/h | "
        "gap | CPU s | time ratio |"
    )
    print(f"|{'---|' * 10}")
    options = AllocationOptions(time_limit_s=limit_s, whole_nodes_only=True, sum_regions=True)
    setup = paper_setup("core")
    for names, shapes, demand, max_nodes, copies in cases:
        pools = [
            pool
            for pool in setup.pools[PriceSheet.TABLE_1]
            if pool.key.region == setup.regions[0] and pool.key[:2] in shapes
        ]
        problem = PlanningProblem(
            models=tuple(
                replace(model, demand_req_per_s=demand)
                for model in setup.models
                if model.arch.name in names
            ),
            pools=with_nodes(pools, lambda _: 3),
        )
        library = TemplateLibrary(LibraryOptions(space=PlacementSpace.PAPER, max_nodes=max_nodes))
        start_s = time.process_time()
        plan = allocate(problem, library, options=options)
        stages_s = time.process_time() - start_s
        start_s = time.process_time()
        limits = FlatLimits(max_nodes=max_nodes, rho=12.0, copies=copies)
        one_shot = flat(problem, limits=limits, options=options)
        flat_s = time.process_time() - start_s
        print(
            f"| {', '.join(names)} | {', '.join(f'{gpu} x{n}' for gpu, n in shapes)} | "
            f"{demand:g} | {max_nodes} | {plan.cost_usd_per_hour:.4f} | {stages_s:.2f} | "
            f"{one_shot.cost_usd_per_hour:.4f} ({one_shot.status}) | "
            f"{one_shot.objective[-1].gap:.1e} | {flat_s:.2f} | {flat_s / stages_s:.0f} |",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds in all")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds per solve")
    arguments = parser.parse_args()
    print(f"{machine()}\n")
    run_cases(CASES[:1] if arguments.smoke else CASES, arguments.limit)


if __name__ == "__main__":
    main()
