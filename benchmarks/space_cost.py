"""What stock vLLM's placements cost against the paper's, and what narrows the difference.

    python -m benchmarks.space_cost                  # the extended setup
    python -m benchmarks.space_cost --setup core
    python -m benchmarks.space_cost --smoke          # a few seconds: same code, tiny sizes

Table 1 prices, phases summed over regions in every row but the last, nothing in force. Three things
change from the first row to the last, one at a time: the placements, the size of the slices that
templates may be cut from nodes, and the capacity rule. ``worth w``: nodes are drawn until their
rent is w times that of the exact homogeneous plan under abundance (``benchmarks.peers.draw_nodes``,
seed 0).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from benchmarks.machine import machine
from benchmarks.peers import ABUNDANT_GPUS, draw_nodes, timed, with_nodes

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.homogeneous import homogeneous
from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import Phase
from coral_solver.performance.capacity import separable_tables
from coral_solver.templates.catalogue import CatalogueOptions, TemplateCatalogue, TemplateMethod
from coral_solver.templates.describe import describe_paper
from coral_solver.templates.library import LibraryOptions, TemplateLibrary
from coral_solver.templates.partitions import MAX_NODES, PartitionTable
from coral_solver.templates.placements import Placements, join_placements
from coral_solver.templates.search import SearchLimits, search_paper_space
from coral_solver.templates.template_list import PhaseTemplates, TemplateList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers import Row

    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.hardware import GpuPool, NodeConfig
    from coral_solver.domain.workload import ServedModel

WORTHS = (3.0, 1.75, 1.25)


class OneNodeAStage:
    """Templates with one node a stage under the paper's capacity rule.

    What stock vLLM can place, with the paper's rates: a node's rate is its best split into tensor
    parallel groups that work side by side, each pipeline stage has a share of the SLO, and there
    is no queueing. The search is that of the ``paper`` space with one partition only.

    Parameters
    ----------
    same_size
        All stages have the same number of GPUs, as stock vLLM demands.
    one_decode_stage
        Decode instances are no pipelines, as stock vLLM demands of consumers of KV transfers.
    max_nodes
        Longest pipeline.
    """

    def __init__(self, *, same_size: bool, one_decode_stage: bool, max_nodes: int) -> None:
        self._same_size = same_size
        self._one_decode_stage = one_decode_stage
        self._max_nodes = max_nodes
        self._found: dict[tuple[object, ...], TemplateList] = {}

    @property
    def scope(self) -> str:
        """In words: which templates the bounds hold for."""
        return "placements with one node a stage under the paper's capacity rule"

    def templates(self, model: ServedModel, configs: Sequence[NodeConfig]) -> TemplateList:
        """Return every template that carries more than its parts."""
        key = (model.id, *configs)
        if key not in self._found:
            parts = [
                PhaseTemplates(
                    phase=phase,
                    placements=self._placements(model, phase, tuple(configs)),
                    describe=describe_paper(model),
                )
                for phase in model.serving.phases
            ]
            self._found[key] = TemplateList(model.id, model.targets_digest, configs, parts)
        return self._found[key]

    def _placements(
        self, model: ServedModel, phase: Phase, configs: tuple[NodeConfig, ...]
    ) -> Placements:
        short = self._one_decode_stage and phase is Phase.DECODE
        max_nodes = 1 if short else self._max_nodes
        sizes = sorted({config.gpu_count for config in configs}) if self._same_size else [0]
        found = []
        for size in sizes:
            members = [c for c in configs if c.gpu_count == size or not self._same_size]
            tables = separable_tables(model, phase, members, max_nodes)
            with mock.patch("coral_solver.templates.search.partition_table", _singletons):
                placements = search_paper_space(tables, SearchLimits(max_nodes=max_nodes, rho=12.0))
            index = np.array([configs.index(config) for config in members], dtype=np.uint8)
            found.append(placements.renumbered(index))
        return join_placements(found)


def _singletons(size: int) -> PartitionTable:
    """Return the one partition of nodes into stages of one node, for every pattern."""
    masks = np.zeros((1, MAX_NODES), dtype=np.int64)
    masks[0, :size] = 1 << np.arange(size)
    start = np.zeros((1 << (size - 1), size + 2), dtype=np.int64)
    start[:, size + 1] = 1
    return PartitionTable(masks, start)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One row of the table: placements, slices, capacity rule, pairing."""

    name: str
    source: TemplateSource
    whole_nodes_only: bool
    sum_regions: bool = True
    prepared: bool = True
    """Whether stage 1 is done before the clock starts: always where there is a library."""


def ways(max_nodes: int) -> list[Way]:
    """Return what is compared, from the paper's way to the operator's."""
    paper = TemplateLibrary(LibraryOptions(space=PlacementSpace.PAPER, max_nodes=max_nodes))
    longer = TemplateCatalogue(
        CatalogueOptions(
            space=PlacementSpace.PAPER, max_nodes=2 * max_nodes, method=TemplateMethod.PRICING
        )
    )
    vllm = TemplateLibrary(LibraryOptions(space=PlacementSpace.VLLM, max_nodes=max_nodes))
    any_size = OneNodeAStage(same_size=False, one_decode_stage=False, max_nodes=max_nodes)
    same_size = OneNodeAStage(same_size=True, one_decode_stage=False, max_nodes=max_nodes)
    stock = OneNodeAStage(same_size=True, one_decode_stage=True, max_nodes=max_nodes)
    return [
        Way(name="paper rule: paper space", source=paper, whole_nodes_only=True),
        Way(
            name=f"paper space, N_max {2 * max_nodes}",
            source=longer,
            whole_nodes_only=True,
            prepared=False,
        ),
        Way(name="one node a stage, any t", source=any_size, whole_nodes_only=True),
        Way(name="one node a stage, same t", source=same_size, whole_nodes_only=True),
        Way(name="... and decode in one stage (stock vLLM)", source=stock, whole_nodes_only=True),
        Way(name="... and slices of nodes", source=stock, whole_nodes_only=False),
        Way(name="any t, with slices of nodes", source=any_size, whole_nodes_only=False),
        Way(name="operator's rule: vllm space, whole nodes", source=vllm, whole_nodes_only=True),
        Way(name="... and slices of nodes", source=vllm, whole_nodes_only=False),
        Way(
            name="... and phases paired in a region",
            source=vllm,
            whole_nodes_only=False,
            sum_regions=False,
        ),
    ]


def print_level(title: str, rows: Sequence[Row]) -> None:
    """Print one availability level."""
    first = rows[0]
    print(f"\n#### {title}\n")
    print(
        "| placements | USD/h | / first row | served req/s | least share | status | gap | CPU s |"
    )
    print(f"|{'---|' * 8}")
    for row in rows:
        print(
            f"| {row.name} | {row.usd_per_hour:.2f} | "
            f"{row.usd_per_hour / max(first.usd_per_hour, 1e-9):.3f} | "
            f"{row.served_req_per_s:.2f} | {row.least_share:.3f} | {row.status} | {row.gap:.1e} | "
            f"{row.seconds:.2f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--setup", choices=["core", "extended"], default="extended")
    parser.add_argument("--worth", type=float, action="append", help="scarcity; 3, 1.75, 1.25")
    parser.add_argument("--max-nodes", type=int, default=6)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds per solve")
    parser.add_argument("--smoke", action="store_true", help="a few seconds in all")
    arguments = parser.parse_args()
    name = "core" if arguments.smoke else arguments.setup
    max_nodes = 2 if arguments.smoke else arguments.max_nodes
    limit_s = 5.0 if arguments.smoke else arguments.limit
    setup = paper_setup(name)
    pools = setup.pools[PriceSheet.TABLE_1]
    compared = ways(max_nodes)
    abundant = with_nodes(pools, lambda pool: ABUNDANT_GPUS // pool.key.gpus_per_node)
    whole = AllocationOptions(time_limit_s=limit_s, whole_nodes_only=True, sum_regions=True)
    estimate = homogeneous(
        PlanningProblem(models=setup.models, pools=abundant), compared[0].source, options=whole
    ).rent_usd_per_hour
    levels: list[tuple[str, tuple[GpuPool, ...]]] = [("abundant", abundant)]
    for worth in WORTHS[:1] if arguments.smoke else arguments.worth or WORTHS:
        levels.append((f"worth {worth:g}", draw_nodes(pools, worth * estimate, seed=0)))
    print(machine())
    for level, offered in levels:
        problem = PlanningProblem(models=setup.models, pools=offered)
        rows = []
        for way in compared:
            options = replace(
                whole, whole_nodes_only=way.whole_nodes_only, sum_regions=way.sum_regions
            )
            if way.prepared:
                configs = configs_on_offer(offered, whole_nodes_only=way.whole_nodes_only)
                for model in setup.models:
                    way.source.templates(model, configs)
            plan = partial(allocate, problem, way.source, options=options)
            rows.append(timed(way.name, "", plan))
        print_level(f"{name} setup, N_max {max_nodes}, {level}", rows)


if __name__ == "__main__":
    main()
