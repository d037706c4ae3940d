"""``coral whatif``: the plan again, with prices, nodes, targets or demands changed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coral_cli.options import (
    CACHE_DIR,
    CLUSTER,
    CONTEXT,
    FILES,
    INVENTORY,
    KUBECONFIG,
    MAX_NODES,
    PLAN_IN_FORCE,
    SOLVE_TIME_LIMIT,
    SPACE,
    SWITCHING,
    OutputFormat,
)
from coral_cli.progress import progress_on_stderr
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.template import PlacementSpace

_CHANGES = "What is to change: at least one of these"


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
            rich_help_panel=_CHANGES,
            help="MODEL=x2, MODEL=12 (req/s) or MODEL=+3; `*` is every model.",
        ),
    ] = None,
    slo: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=TARGETS",
            rich_help_panel=_CHANGES,
            help="MODEL=ttft:500ms,tpot:40ms; also x1.5, and attainment:0.99.",
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POOLS=AMOUNT",
            rich_help_panel=_CHANGES,
            help="GPU[@region][/kind]=1.50 (USD/h of one GPU) or =x1.2; `*` is all.",
        ),
    ] = None,
    nodes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POOL=NUMBER",
            rich_help_panel=_CHANGES,
            help="POOL=+2, POOL=-1, or POOL=0 to remove it; POOL as for --price.",
        ),
    ] = None,
    add_pool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POOL",
            rich_help_panel=_CHANGES,
            help="GPU:GPUs per node:region:USD/h of one GPU:nodes[:kind].",
        ),
    ] = None,
    robustness: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            rich_help_panel=_CHANGES,
            help="Share of the predictions' error bars to plan with, 0 to 1.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="USD/H",
            rich_help_panel=_CHANGES,
            help="Most rent of all instances together.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="SWEEP",
            rich_help_panel=_CHANGES,
            help="Vary one number: WHAT:NAME=FROM..TO/POINTS, WHAT one of demand, price, nodes, "
            "ttft, tpot, robustness, budget.",
        ),
    ] = None,
    output: Annotated[
        WhatIfFormat, typer.Option("--output", "-o", help="Table for people, or data.")
    ] = WhatIfFormat.TABLE,
    switching: Annotated[bool, SWITCHING] = True,
    time_limit_s: Annotated[float, SOLVE_TIME_LIMIT] = 30.0,
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
    from coral_cli.answers import answer_console
    from coral_cli.asking import planner_of, read_question
    from coral_cli.documents import write_document
    from coral_cli.inputs import say_what_was_left_out
    from coral_cli.whatif_flags import parse_changes, parse_sweep
    from coral_cli.whatif_text import show_sweep, show_what_if, write_sweep_csv
    from coral_solver.planning.whatif import sweep as swept
    from coral_solver.planning.whatif import what_if
    from coral_solver.report.answers import sweep_document, what_if_document

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
            [
                "nothing to change: give --demand, --slo, --price, --nodes, --add-pool, "
                "--robustness, --budget or --sweep"
            ]
        )
    if output is WhatIfFormat.CSV and spec is None:
        raise InvalidInputError(["-o csv is for --sweep; -o json has everything of one change"])
    with progress_on_stderr() as step:
        read = read_question(
            files,
            cluster=cluster,
            inventory=inventory,
            kubeconfig=kubeconfig,
            context=context,
            plan=plan,
            switching=switching,
        )
        planner = planner_of(space, max_nodes, time_limit_s, cache_dir)
        if spec is None:
            found = what_if(read.problem, changes, planner, progress=step)
        else:
            points = swept(read.problem, changes, spec.change, spec.values, planner, progress=step)
    if output is WhatIfFormat.CSV and spec is not None:
        write_sweep_csv(points, spec)
    elif output is not WhatIfFormat.TABLE:
        document = what_if_document(found) if spec is None else sweep_document(points)
        write_document(document, OutputFormat(output))
    elif spec is None:
        show_what_if(answer_console(), found)
    else:
        show_sweep(answer_console(), points, spec)
    say_what_was_left_out(read)
