"""``coral whatif``: the plan again, with prices, nodes, targets or demands changed."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from coral_cli.answers import answer_console, in_words, plain_table, show_comparison
from coral_cli.asking import (
    CACHE_DIR,
    MAX_NODES,
    PLAN_IN_FORCE,
    SPACE,
    SWITCHING,
    TIME_LIMIT,
    instances_in_force,
    planner_of,
    write_document,
)
from coral_cli.inputs import CLUSTER, CONTEXT, FILES, INVENTORY, KUBECONFIG, read_problem
from coral_cli.plan import OutputFormat
from coral_cli.progress import progress_on_stderr, say_on_stderr
from coral_cli.render import short_names
from coral_cli.whatif_flags import parse_changes, parse_sweep
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.template import PlacementSpace
from coral_solver.planning.whatif import sweep as swept
from coral_solver.planning.whatif import what_if, without_switching
from coral_solver.report.answers import sweep_document, what_if_document

if TYPE_CHECKING:
    from coral_cli.whatif_flags import SweepSpec
    from coral_solver.planning.facts import PlanFacts
    from coral_solver.planning.whatif import Sweep, WhatIf


class WhatIfFormat(StrEnum):
    """How a what-if is written; CSV is for sweeps."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


def whatif(
    files: Annotated[list[Path], FILES],
    cluster: Annotated[Path | None, CLUSTER] = None,
    inventory: Annotated[Path | None, INVENTORY] = None,
    kubeconfig: Annotated[Path | None, KUBECONFIG] = None,
    context: Annotated[str | None, CONTEXT] = None,
    plan: Annotated[Path | None, PLAN_IN_FORCE] = None,
    demand: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=AMOUNT",
            help="MODEL=x2, MODEL=12 (req/s) or MODEL=+3; `*` is every model.",
        ),
    ] = None,
    slo: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=TARGETS",
            help="MODEL=ttft:500ms,tpot:40ms; also x1.5, and attainment:0.99.",
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POOLS=AMOUNT",
            help="GPU[@region][/kind]=1.50 (USD/h of one GPU) or =x1.2; `*` is all.",
        ),
    ] = None,
    nodes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POOL=NUMBER",
            help="POOL=+2, POOL=-1, or POOL=0 to remove it; POOL as for --price.",
        ),
    ] = None,
    add_pool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POOL", help="GPU:GPUs per node:region:USD/h of one GPU:nodes[:kind]."
        ),
    ] = None,
    robustness: Annotated[
        float | None,
        typer.Option(help="Share of the predictions' error bars to plan with, 0 to 1."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="USD/H", help="Most rent of all instances together."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="SWEEP",
            help="Vary one number: WHAT:NAME=FROM..TO/POINTS, WHAT one of demand, price, nodes, "
            "ttft, tpot, robustness, budget.",
        ),
    ] = None,
    output: Annotated[
        WhatIfFormat, typer.Option("--output", "-o", help="Table for people, or data.")
    ] = WhatIfFormat.TABLE,
    switching: Annotated[bool, SWITCHING] = True,
    time_limit_s: Annotated[float, TIME_LIMIT] = 30.0,
    space: Annotated[PlacementSpace, SPACE] = PlacementSpace.VLLM,
    max_nodes: Annotated[int, MAX_NODES] = 6,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
) -> None:
    """Plan again with something changed: before, after and the difference.

    Flags repeat and combine; all hold together. In the examples,
    `F="-f examples/three-models.yaml --inventory examples/inventory.csv"`.

    - twice the demand of one model: `coral whatif $F --demand phi-4=x2`

    - 30 % more of everything, and a node more: `coral whatif $F --demand '*=x1.3' --nodes H100=+1`

    - a pool gone: `coral whatif $F --nodes L40S=0`

    - other prices, per GPU and hour: `coral whatif $F --price L40S=x0.7 --price H100=5.50`

    - a GPU type that is not there yet: `coral whatif $F --add-pool H200:8:us-east-2:4.50:2`

    - tighter targets: `coral whatif $F --slo phi-4=ttft:800ms,tpot:40ms`

    - what a budget buys: `coral whatif $F --sweep budget:20..100/9`

    - a table over seven demands: `coral whatif $F --sweep demand:phi-4=x0.5..x2/7`, and
      `-o csv` for a spreadsheet

    - from what runs today, where starting something costs and keeping it does not:
      `coral whatif $F --plan today.json --demand phi-4=x2`
    """
    changes = parse_changes(
        demand=demand or (),
        slo=slo or (),
        price=price or (),
        nodes=nodes or (),
        add_pool=add_pool or (),
        robustness=robustness,
        budget_usd_per_hour=budget,
    )
    spec = parse_sweep(sweep) if sweep is not None else None
    if not changes and spec is None:
        raise InvalidInputError(
            ["nothing to change: give --demand, --slo, --price, --nodes, --add-pool or --sweep"]
        )
    if output is WhatIfFormat.CSV and spec is None:
        raise InvalidInputError(["-o csv is for --sweep; -o json has everything of one change"])
    with progress_on_stderr() as step:
        read = read_problem(
            files, cluster=cluster, inventory=inventory, kubeconfig=kubeconfig, context=context
        )
        problem = read.problem if switching else without_switching(read.problem)
        if plan is not None:
            problem = replace(problem, in_force=instances_in_force(plan, problem.pools))
        planner = planner_of(space, max_nodes, time_limit_s, cache_dir)
        if spec is None:
            found = what_if(problem, changes, planner, progress=step)
        else:
            points = swept(problem, changes, spec.change, spec.values, planner, progress=step)
    if spec is None:
        _show(found, output)
    else:
        _show_sweep(points, spec, output)
    for text in read.notes:
        say_on_stderr("note", text)
    for fault in read.faulty_models:
        say_on_stderr("left out", fault)


def _show(found: WhatIf, output: WhatIfFormat) -> None:
    if output is not WhatIfFormat.TABLE:
        write_document(what_if_document(found), OutputFormat(output))
        return
    console = answer_console()
    for change in found.changes:
        console.print(Text.assemble(("What if: ", "bold"), change))
    show_comparison(console, found.comparison, "before", "after")


def _show_sweep(found: Sweep, spec: SweepSpec, output: WhatIfFormat) -> None:
    if output is WhatIfFormat.CSV:
        _write_csv(found, spec)
        return
    if output is not WhatIfFormat.TABLE:
        write_document(sweep_document(found), OutputFormat(output))
        return
    console = answer_console()
    for change in found.changes:
        console.print(Text.assemble(("What if: ", "bold"), change))
    names = short_names(list(found.before.demand_req_per_s))
    numbers = (spec.column, "cost USD/h", "served", "unmet", "gap")
    table = plain_table(*numbers, "GPUs in use", "against the plan as it is", right=numbers)
    table.add_row("as it is", *_numbers(found.before), "")
    table.add_section()
    for point in found.points:
        words = in_words(point.difference, names)
        table.add_row(f"{point.value:g}", *_numbers(point.plan), words)
    console.print(table)


def _numbers(plan: PlanFacts) -> tuple[str, ...]:
    gap = next((x.gap for x in reversed(plan.objective) if "cost" in x.level), 0.0)
    return (
        f"{plan.cost_usd_per_hour:.2f}",
        f"{plan.served_req_per_s:.2f}",
        f"{sum(plan.unmet_req_per_s.values()):.2f}",
        f"{gap:.2%}",
        "\n".join(f"{count} {gpu}" for gpu, count in _gpus(plan).items()) or "none",
    )


def _gpus(plan: PlanFacts) -> dict[str, int]:
    """Return the GPUs in use by type, templates of several types under all of them."""
    found: dict[str, int] = {}
    for instance in plan.instances:
        found[instance.gpu] = found.get(instance.gpu, 0) + instance.gpus
    return dict(sorted(found.items()))


def _write_csv(found: Sweep, spec: SweepSpec) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    models = sorted(found.before.demand_req_per_s)
    pools = sorted({name for point in found.points for name in point.plan.gpus_by_pool()})
    writer.writerow(
        [
            spec.column,
            "cost_usd_per_hour",
            "rent_usd_per_hour",
            "served_req_per_s",
            "status",
            *(f"unmet_req_per_s {model}" for model in models),
            *(f"gpus {pool}" for pool in pools),
        ]
    )
    for point in found.points:
        used = point.plan.gpus_by_pool()
        writer.writerow(
            [
                f"{point.value:g}",
                f"{point.plan.cost_usd_per_hour:.6g}",
                f"{point.plan.rent_usd_per_hour:.6g}",
                f"{point.plan.served_req_per_s:.6g}",
                point.plan.status,
                *(f"{point.plan.unmet_req_per_s[model]:.6g}" for model in models),
                *(used.get(pool, 0) for pool in pools),
            ]
        )
