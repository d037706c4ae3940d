"""What a plan costs beside its peers: the paper's comparison, in our reading.

    python -m benchmarks.peers                      # everything
    python -m benchmarks.peers --setup core         # or extended
    python -m benchmarks.peers --quick              # Table 1 prices, one scarce draw
    python -m benchmarks.peers --smoke              # a few seconds: same code, tiny sizes

Paper rules for everybody (arXiv 2605.04357): ``paper`` placement space and capacity rule, whole
nodes, prefill and decode summed over regions (Cauchy: inside a region). Nothing is in force. Every
plan passes the checker. What each peer does is in the docstrings of ``coral_solver.baselines``;
docs/peers.md has the tables and says where and why they differ from the paper's.

``abundant``: ABUNDANT_GPUS GPUs in every (node configuration, region) cell on offer. ``scarce``:
nodes are drawn one by one (``draw_nodes``) until their rent is SCARCE_WORTH times that of the exact
homogeneous plan under abundance; draws with the seeds 0, 1, ...
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from statistics import geometric_mean
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.machine import machine

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.cauchy import cauchy, cauchy_greedy, cauchy_model_by_model
from coral_solver.baselines.homogeneous import homogeneous, homogeneous_greedy
from coral_solver.baselines.joint import greedy_joint
from coral_solver.baselines.melange import melange, melange_unbounded
from coral_solver.catalog import DemandMix, PriceSheet, paper_setup
from coral_solver.domain.hardware import GpuPool, PoolNode, PoolScaling
from coral_solver.domain.plan import AllocationPlan, PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.templates.library import LibraryOptions, TemplateLibrary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ABUNDANT_GPUS = 128
SCARCE_WORTH = {"core": 1.25, "extended": 1.75}
NUM_DRAWS = 5

PAPER_RATIOS = {
    ("core", "even", "abundant"): "Homo 1.62, Cauchy 1.60",
    ("core", "large-heavy", "abundant"): "Homo 1.82, Cauchy 1.78",
    ("core", "small-heavy", "abundant"): "Homo ~1.1, Cauchy ~1.1",
    ("extended", "even", "abundant"): "Homo 3.14, Cauchy 2.66",
    ("extended", "large-heavy", "abundant"): "Homo 2.79, Cauchy 3.47",
    ("extended", "small-heavy", "abundant"): "Homo 2.34, Cauchy 1.64",
    ("core", "even", "scarce"): "goodput 1.24 of Homo at its cost; 1.51 cheaper than Cauchy",
    ("extended", "even", "scarce"): (
        "goodput 7.64 of Homo at 1.52 of its cost; 2.39 of Cauchy at 1/1.25 of its cost"
    ),
}
"""Figures of the paper: cost of a peer over Coral's, or what the text says for scarce GPUs."""


class Peer(NamedTuple):
    """A way to plan, with its name in the table and the form that its rule has here."""

    name: str
    form: str
    plan: Callable[..., AllocationPlan]


DESCRIBED, CAPPED, STRONGEST = "as described", "as described, capped", "strongest: exact, joint"
PEERS = (
    Peer("homogeneous_greedy", DESCRIBED, partial(homogeneous_greedy, capped=False)),
    Peer("homogeneous_greedy_capped", CAPPED, partial(homogeneous_greedy, capped=True)),
    Peer("homogeneous", STRONGEST, homogeneous),
    Peer("cauchy_greedy", DESCRIBED, partial(cauchy_greedy, capped=False)),
    Peer("cauchy_greedy_capped", CAPPED, partial(cauchy_greedy, capped=True)),
    Peer("cauchy_model_by_model", "exact per model", cauchy_model_by_model),
    Peer("cauchy", STRONGEST, cauchy),
    Peer("melange", "bounded: exact per model", melange),
    Peer("greedy_joint", "all templates, by a rule", greedy_joint),
)
PLACEABLE = "can be placed"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One plan in the numbers of the table."""

    name: str
    form: str
    usd_per_hour: float
    served_req_per_s: float
    least_share: float
    status: str
    gap: float
    seconds: float
    note: str = ""

    @classmethod
    def of(cls, name: str, form: str, plan: AllocationPlan, seconds: float, note: str = "") -> Row:
        """Sum up a plan: rent, and what is served of the demand."""
        served = [
            (o.demand_req_per_s - o.unmet_req_per_s, o.demand_req_per_s) for o in plan.outcomes
        ]
        return cls(
            name=name,
            form=form,
            usd_per_hour=plan.rent_usd_per_hour,
            served_req_per_s=sum(got for got, _ in served),
            least_share=min(got / wanted for got, wanted in served),
            status=str(plan.status),
            gap=max(level.gap for level in plan.objective),
            seconds=seconds,
            note=note,
        )


def with_nodes(pools: Iterable[GpuPool], counts: Callable[[GpuPool], int]) -> tuple[GpuPool, ...]:
    """Return fixed pools with a number of wholly free nodes each."""
    return tuple(
        replace(
            pool,
            scaling=PoolScaling.FIXED,
            nodes=tuple(
                PoolNode(f"{pool.name}-{i:03d}", pool.key.gpus_per_node)
                for i in range(counts(pool))
            ),
        )
        for pool in pools
    )


def draw_nodes(
    pools: Sequence[GpuPool], worth_usd_per_hour: float, seed: int
) -> tuple[GpuPool, ...]:
    """Return pools with nodes drawn one by one until they are worth a rent.

    A cell is drawn with a probability that is inverse to the size of its nodes, so that every
    cell has the same expected number of GPUs. The last node drawn may exceed the worth.
    """
    rng = Random(seed)  # noqa: S311 - a repeatable draw, no secret
    weights = [1.0 / pool.key.gpus_per_node for pool in pools]
    counts: Counter[str] = Counter()
    worth = 0.0
    while worth < worth_usd_per_hour:
        (pool,) = rng.choices(pools, weights)
        counts[pool.name] += 1
        worth += pool.node_usd_per_hour
    return with_nodes(pools, lambda pool: counts[pool.name])


def timed(name: str, form: str, plan: Callable[[], AllocationPlan]) -> Row:
    """Plan, and measure the process time of it."""
    start_s = time.process_time()
    found = plan()
    return Row.of(name, form, found, time.process_time() - start_s)


def compare(
    problem: PlanningProblem, library: TemplateLibrary, options: AllocationOptions
) -> list[Row]:
    """Return Coral's row, then those of all peers; stage 1 is done before."""
    library.prepare(problem)
    joint = partial(allocate, problem, library, options=options)
    rows = [timed("coral", "exact, joint, mixed replicas", joint)]
    for peer in PEERS:
        plan = partial(peer.plan, problem, library, options=options)
        rows.append(timed(peer.name, peer.form, plan))
    start_s = time.process_time()
    endless = melange_unbounded(problem, library, options=options)
    homeless = endless.homeless_slices
    note = f"{homeless} nodes do not exist" if homeless else PLACEABLE
    seconds = time.process_time() - start_s
    rows.append(Row.of("melange_unbounded", "as published", endless.plan, seconds, note))
    return rows


def print_table(title: str, rows: Sequence[Row], paper: str) -> None:
    """Print one comparison as a Markdown table."""
    coral = rows[0]
    print(f"\n#### {title}\n")
    print(f"Paper: {paper or 'no figure'}.\n")
    print(
        "| plan | form | USD/h | / Coral | served req/s | / Coral | least share | status | gap | "
        "CPU s |"
    )
    print(f"|{'---|' * 10}")
    for row in rows:
        name = f"{row.name} ({row.note})" if row.note else row.name
        print(
            f"| {name} | {row.form} | {row.usd_per_hour:.2f} | "
            f"{row.usd_per_hour / coral.usd_per_hour:.3f} | {row.served_req_per_s:.2f} | "
            f"{row.served_req_per_s / coral.served_req_per_s:.3f} | {row.least_share:.3f} | "
            f"{row.status} | {row.gap:.1e} | {row.seconds:.2f} |",
            flush=True,
        )


def print_draws(title: str, draws: Sequence[Sequence[Row]], paper: str) -> None:
    """Print the mean of several scarce draws: geometric means of the ratios, and the worst."""
    print(f"\n#### {title}\n")
    print(f"Paper: {paper or 'no figure'}. {len(draws)} draws; geometric means.\n")
    print(
        "| plan | form | USD/h / Coral | served / Coral (worst draw) | served per USD / Coral | "
        "least share | gap (worst) | statuses |"
    )
    print(f"|{'---|' * 8}")
    for index, first in enumerate(draws[0]):
        rows = [draw[index] for draw in draws]
        corals = [draw[0] for draw in draws]
        pairs = list(zip(rows, corals, strict=True))
        usd = [max(r.usd_per_hour, 1e-9) / c.usd_per_hour for r, c in pairs]
        served = [max(r.served_req_per_s, 1e-9) / c.served_req_per_s for r, c in pairs]
        per_usd = [s / u for s, u in zip(served, usd, strict=True)]
        statuses = Counter(row.status for row in rows)
        name = first.name
        if any(row.note for row in rows):
            placed = sum(row.note == PLACEABLE for row in rows)
            name += f" ({PLACEABLE} in {placed} of {len(rows)})"
        print(
            f"| {name} | {first.form} | {geometric_mean(usd):.3f} | "
            f"{geometric_mean(served):.3f} ({min(served):.3f}) | {geometric_mean(per_usd):.3f} | "
            f"{min(row.least_share for row in rows):.3f} | {max(row.gap for row in rows):.1e} | "
            f"{', '.join(f'{n} {status}' for status, n in sorted(statuses.items()))} |",
            flush=True,
        )


@dataclass(frozen=True, kw_only=True)
class Case:
    """All rows of one setup, mix and price sheet; Coral's is the first of each."""

    setup: str
    mix: DemandMix
    sheet: PriceSheet
    rows: Sequence[Row]
    draws: Sequence[Sequence[Row]]


def run_setup(
    name: str,
    mix: DemandMix,
    sheet: PriceSheet,
    *,
    seeds: Sequence[int],
    options: AllocationOptions,
    library: TemplateLibrary,
) -> Case:
    """Plan one setup, mix and price sheet with every peer, abundant and scarce."""
    setup = paper_setup(name, mix)
    pools = setup.pools[sheet]
    abundant = PlanningProblem(
        models=setup.models,
        pools=with_nodes(pools, lambda pool: ABUNDANT_GPUS // pool.key.gpus_per_node),
    )
    rows = compare(abundant, library, options)
    estimate = next(row.usd_per_hour for row in rows if row.name == "homogeneous")
    draws = []
    for seed in seeds:
        drawn = draw_nodes(pools, SCARCE_WORTH[name] * estimate, seed)
        draws.append(compare(replace(abundant, pools=drawn), library, options))
    return Case(setup=name, mix=mix, sheet=sheet, rows=rows, draws=draws)


SUMMARY = (
    "homogeneous_greedy",
    "homogeneous_greedy_capped",
    "homogeneous",
    "cauchy_greedy",
    "cauchy_greedy_capped",
    "cauchy",
    "melange",
    "greedy_joint",
)


def print_summary(cases: Sequence[Case]) -> None:
    """Print rent over Coral's under abundance, and what is served per USD where GPUs are scarce."""
    titles = (
        "Rent over Coral's, abundant (the paper: Homo, Cauchy)",
        "Served demand over Coral's / rent over Coral's, scarce (geometric means over the draws)",
    )
    for title in titles:
        print(f"\n#### {title}\n")
        print(f"| setup | demand | prices | {' | '.join(SUMMARY)} | paper |")
        print(f"|{'---|' * (len(SUMMARY) + 4)}")
        for case in cases:
            level = "abundant" if title == titles[0] else "scarce"
            cells = []
            for name in SUMMARY:
                if level == "abundant":
                    row = next(row for row in case.rows if row.name == name)
                    cells.append(f"{row.usd_per_hour / case.rows[0].usd_per_hour:.2f}")
                    continue
                served, usd = [], []
                for draw in case.draws:
                    row = next(row for row in draw if row.name == name)
                    served.append(row.served_req_per_s / draw[0].served_req_per_s)
                    usd.append(row.usd_per_hour / draw[0].usd_per_hour)
                cells.append(f"{geometric_mean(served):.2f} / {geometric_mean(usd):.2f}")
            paper = PAPER_RATIOS.get((case.setup, case.mix, level), "no figure")
            print(
                f"| {case.setup} | {case.mix} | {case.sheet} | {' | '.join(cells)} | {paper} |",
                flush=True,
            )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--setup", action="append", choices=["core", "extended"])
    parser.add_argument("--mix", action="append", type=DemandMix, choices=list(DemandMix))
    parser.add_argument("--sheet", action="append", type=PriceSheet, choices=list(PriceSheet))
    parser.add_argument("--quick", action="store_true", help="Table 1 prices, one scarce draw")
    parser.add_argument("--draws", type=int, default=NUM_DRAWS, help="scarce draws, seeds 0, 1, ..")
    parser.add_argument("--smoke", action="store_true", help="a few seconds in all")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds per solve")
    arguments = parser.parse_args()
    setups = ["core"] if arguments.smoke else arguments.setup or ["core", "extended"]
    mixes = arguments.mix or ([DemandMix.EVEN] if arguments.smoke else list(DemandMix))
    quick = arguments.quick or arguments.smoke
    sheets = arguments.sheet or ([PriceSheet.TABLE_1] if quick else list(PriceSheet))
    seeds = range(1 if quick else arguments.draws)
    limit_s = 5.0 if arguments.smoke else arguments.limit
    options = AllocationOptions(time_limit_s=limit_s, whole_nodes_only=True, sum_regions=True)
    print(machine())
    cases = []
    for setup in setups:
        max_nodes = 2 if arguments.smoke else 6
        library = TemplateLibrary(LibraryOptions(space=PlacementSpace.PAPER, max_nodes=max_nodes))
        for mix in mixes:
            for sheet in sheets:
                print(f"{setup}, {mix}, {sheet}", file=sys.stderr, flush=True)
                cases.append(
                    run_setup(setup, mix, sheet, seeds=seeds, options=options, library=library)
                )
    print_summary(cases)
    for case in cases:
        where = f"{case.setup}, {case.mix} demand, {case.sheet} prices"
        for level, show, rows in (
            ("abundant", print_table, case.rows),
            ("scarce", print_draws, case.draws),
        ):
            paper = PAPER_RATIOS.get((case.setup, case.mix, level), "")
            show(f"{where}, {level}", rows, paper)


if __name__ == "__main__":
    main()
