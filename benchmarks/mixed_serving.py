"""Where mixing aggregated and disaggregated serving of one model in one plan pays.

    python -m benchmarks.mixed_serving
    python -m benchmarks.mixed_serving --smoke       # two demands

One model at a time, ``vllm`` space, the operator's rules: H100, A100, L40S, L4 and A10G nodes of 8
GPUs, four of each, Table 1 prices, slices allowed. The same problem with ``serving: Aggregated``,
``Disaggregated`` and ``Auto``; Auto may use templates of all phases in one solve. It wins where a
pair of prefill and decode instances is the cheapest way to serve most of the demand, and one
aggregated instance the cheapest way to serve what the pair leaves over.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.machine import machine
from benchmarks.peers import with_nodes

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.options import AllocationOptions
from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.plan import PlanningProblem, SolveStatus
from coral_solver.domain.workload import Phase, ServingMode
from coral_solver.templates.library import TemplateLibrary

if TYPE_CHECKING:
    from coral_solver.domain.plan import AllocationPlan
    from coral_solver.domain.workload import ServedModel

MODELS = ("gpt-oss-120b", "phi-4-14b", "qwen3-32b")
DEMANDS_REQ_PER_S = tuple(float(demand) for demand in range(2, 42, 3))
NODES, GPUS_PER_NODE = 4, 8


class Compared(NamedTuple):
    """Plans of one model and demand by serving mode."""

    aggregated: AllocationPlan
    disaggregated: AllocationPlan
    auto: AllocationPlan

    @property
    def auto_wins(self) -> bool:
        """Whether Auto is proven to be strictly cheaper than both, and all serve everything."""
        proven = all(plan.status is SolveStatus.OPTIMAL for plan in self)
        served = not any(sum(plan.unmet_req_per_s.values()) > 0 for plan in self)
        alone = min(self.aggregated.objective[-1].bound, self.disaggregated.objective[-1].bound)
        return proven and served and self.auto.cost_usd_per_hour < alone

    @property
    def saved_share(self) -> float:
        """How much cheaper Auto is than the better of the two."""
        alone = min(self.aggregated.cost_usd_per_hour, self.disaggregated.cost_usd_per_hour)
        return 1.0 - self.auto.cost_usd_per_hour / alone


def compare(model: ServedModel, demand_req_per_s: float, library: TemplateLibrary) -> Compared:
    """Plan one model with each serving mode."""
    setup = paper_setup("extended")
    pools = with_nodes(
        (
            pool
            for pool in setup.pools[PriceSheet.TABLE_1]
            if pool.key.region == setup.regions[0] and pool.key.gpus_per_node == GPUS_PER_NODE
        ),
        lambda _: NODES,
    )
    plans = []
    for mode in (ServingMode.AGGREGATED, ServingMode.DISAGGREGATED, ServingMode.AUTO):
        asked = replace(model, demand_req_per_s=demand_req_per_s, serving=mode)
        problem = PlanningProblem(models=(asked,), pools=pools)
        plans.append(allocate(problem, library, options=AllocationOptions(time_limit_s=20.0)))
    return Compared(*plans)


def in_words(plan: AllocationPlan) -> str:
    """Say what a plan runs, for example ``1 whole, 2 prefill, 1 decode``."""
    phases = [instance.template.phase for instance in plan.instances]
    counts = [(phases.count(phase), phase.value.lower()) for phase in (Phase.WHOLE, *Phase)]
    return ", ".join(f"{count} {phase}" for count, phase in dict.fromkeys(counts) if count)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds in all")
    arguments = parser.parse_args()
    models = MODELS[:1] if arguments.smoke else MODELS
    demands = DEMANDS_REQ_PER_S[-2:] if arguments.smoke else DEMANDS_REQ_PER_S
    library = TemplateLibrary()
    served = {model.arch.name: model for model in paper_setup("extended").models}
    print(machine())
    print("\nUSD/h, rent and starting charge.\n")
    print("| model | req/s | Aggregated | Disaggregated | Auto | saved | Auto runs | gap |")
    print(f"|{'---|' * 8}")
    wins = total = 0
    for name in models:
        for demand in demands:
            found = compare(served[name], demand, library)
            total += 1
            wins += found.auto_wins
            saved = f"{found.saved_share:.1%}" if found.auto_wins else "-"
            print(
                f"| {name} | {demand:g} | {found.aggregated.cost_usd_per_hour:.2f} | "
                f"{found.disaggregated.cost_usd_per_hour:.2f} | "
                f"{found.auto.cost_usd_per_hour:.2f} | {saved} | {in_words(found.auto)} | "
                f"{max(plan.objective[-1].gap for plan in found):.1e} |",
                flush=True,
            )
    print(f"\nAuto is proven strictly cheaper than both in {wins} of {total} cases.")


if __name__ == "__main__":
    main()
