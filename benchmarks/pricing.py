"""Templates by their price: a library's scan against the search without a library.

    python -m benchmarks.pricing [--smoke]

Staircases up to 25 req/s for each model and phase of the extended setup (`paper` space, no memory
cap) at random prices, 0.7 to 1.5 times the paper's, once with room for everything and once with 0
to 7 nodes of each kind. Times are CPU time of one process, the median of the questions.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.hardware import Link, NodeConfig, configs_on_offer
from coral_solver.domain.pricing import Room
from coral_solver.domain.template import PlacementSpace
from coral_solver.templates.catalogue import CatalogueOptions, TemplateCatalogue, TemplateMethod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.domain.workload import ServedModel

ENOUGH_REQ_PER_S = 25.0
NO_CAP = 1e6
MORE_GPUS = (
    ("H200", Link.NVLINK),
    ("B200", Link.NVLINK),
    ("A100-40GB", Link.NVLINK),
    ("RTX-PRO-6000", Link.PCIE),
    ("L40", Link.PCIE),
)
"""With the extended setup's five types: 40 node configurations."""


def price_of(config: NodeConfig) -> float:
    """Return a price for a configuration: the paper's where it has one, otherwise 3 per GPU."""
    for pool in paper_setup("extended").pools[PriceSheet.TABLE_1]:
        if (pool.key.gpu, pool.key.gpus_per_node) == (config.gpu, config.gpu_count):
            return pool.node_usd_per_hour
    return 3.0 * config.gpu_count


def measure(
    models: Sequence[ServedModel],
    configs: Sequence[NodeConfig],
    max_nodes: int,
    method: TemplateMethod,
    questions: int,
) -> list[tuple[str, str, float, float, float, float]]:
    """Return name, phase, steps, seconds to the first answer, medians of open and scarce room."""
    catalogue = TemplateCatalogue(
        CatalogueOptions(space=PlacementSpace.PAPER, max_nodes=max_nodes, rho=NO_CAP, method=method)
    )
    base = np.array([price_of(config) for config in configs])
    units = np.eye(len(configs), dtype=np.int64)
    rows = []
    for model in models:
        for phase in model.serving.phases:
            start_s = time.process_time()
            pricer = catalogue.pricer(model, phase, configs)
            ready_s = time.process_time() - start_s
            if pricer is None:
                continue
            rng = np.random.default_rng(0)
            steps, times = [], ([], [])
            for _ in range(questions):
                prices = base * rng.uniform(0.7, 1.5, len(configs))
                for slots, kept in zip(
                    (np.full(len(configs), 100), rng.integers(0, 8, len(configs))),
                    times,
                    strict=True,
                ):
                    start_s = time.process_time()
                    found = pricer.staircase(prices, Room(units, slots), ENOUGH_REQ_PER_S)
                    kept.append(time.process_time() - start_s)
                    steps.append(len(found.cost))
            rows.append(
                (
                    model.arch.name,
                    phase.value.lower(),
                    statistics.mean(steps),
                    ready_s,
                    statistics.median(times[0]),
                    statistics.median(times[1]),
                )
            )
    return rows


def main() -> None:
    """Print a table by model and phase for each size, and their sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a tiny size of everything")
    smoke = parser.parse_args().smoke
    setup = paper_setup("extended")
    twenty = configs_on_offer(setup.pools[PriceSheet.TABLE_1], whole_nodes_only=True)
    forty = tuple(
        sorted(
            [*twenty, *(NodeConfig(gpu, n, link) for gpu, link in MORE_GPUS for n in (1, 2, 4, 8))]
        )
    )
    library, pricing = TemplateMethod.LIBRARY, TemplateMethod.PRICING
    cases = [
        (library, 6, twenty),
        (pricing, 6, twenty),
        (pricing, 12, twenty),
        (pricing, 6, forty),
        (pricing, 12, forty),
    ]
    models, questions = setup.models, 5
    if smoke:
        cases = [(library, 2, twenty[:4]), (pricing, 2, twenty[:4])]
        models, questions = setup.models[:2], 1
    for method, max_nodes, configs in cases:
        rows = measure(models, configs, max_nodes, method, questions)
        print(f"\n{method}, N_max {max_nodes}, {len(configs)} node configurations\n")
        print("| model | phase | steps | ready (s) | staircase (ms) | with little room (ms) |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for name, phase, steps, ready_s, open_s, scarce_s in rows:
            print(
                f"| {name} | {phase} | {steps:.0f} | {ready_s:.2f} | {1000 * open_s:.2f} "
                f"| {1000 * scarce_s:.2f} |"
            )
        sums = [sum(row[i] for row in rows) for i in (3, 4, 5)]
        print(f"| all | | | {sums[0]:.2f} | {1000 * sums[1]:.1f} | {1000 * sums[2]:.1f} |")
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nPeak memory of the process: {peak_gib:.2f} GiB")


if __name__ == "__main__":
    main()
