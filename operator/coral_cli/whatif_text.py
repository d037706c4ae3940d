"""The answers of ``coral whatif`` as text for people, and sweeps as CSV."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING

from rich.text import Text

from coral_cli.answers import in_words, plain_table, show_comparison
from coral_cli.render import short_names

if TYPE_CHECKING:
    from rich.console import Console

    from coral_cli.whatif_flags import SweepSpec
    from coral_solver.planning.facts import PlanFacts
    from coral_solver.planning.whatif import Sweep, WhatIf


def show_what_if(console: Console, found: WhatIf) -> None:
    """Print the plan before and after the changes."""
    for change in found.changes:
        console.print(Text.assemble(("What if: ", "bold"), change))
    show_comparison(console, found.comparison, "before", "after")


def show_sweep(console: Console, found: Sweep, spec: SweepSpec) -> None:
    """Print a row for each value that was planned."""
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
    return (
        f"{plan.cost_usd_per_hour:.2f}",
        f"{plan.served_req_per_s:.2f}",
        f"{sum(plan.unmet_req_per_s.values()):.2f}",
        "-" if plan.cost_gap is None else f"{plan.cost_gap:.2%}",
        "\n".join(f"{count} {gpu}" for gpu, count in _gpus(plan).items()) or "none",
    )


def _gpus(plan: PlanFacts) -> dict[str, int]:
    """Return the GPUs in use by type, templates of several types under all of them."""
    found: dict[str, int] = {}
    for instance in plan.instances:
        found[instance.gpu] = found.get(instance.gpu, 0) + instance.gpus
    return dict(sorted(found.items()))


def write_sweep_csv(found: Sweep, spec: SweepSpec) -> None:
    """Write a sweep to standard output for a spreadsheet."""
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
