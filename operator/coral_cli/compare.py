"""``coral compare``: two plans side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coral_cli.options import OutputFormat

EXIT_PLANS_DIFFER = 1


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="A plan file, or a ServingPlan.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="Table for people, or stable data.")
    ] = OutputFormat.TABLE,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where the plans differ, as diff does.")
    ] = False,
) -> None:
    """Compare two plans: cost, unmet demand, and which instances start, stop, move or stay.

    `coral plan -f services.yaml --inventory today.csv -o json > today.json`

    `coral plan -f services.yaml --inventory tomorrow.csv -o json > tomorrow.json`

    `coral compare today.json tomorrow.json`

    `kubectl get servingplan NAME -o yaml > in-force.yaml` gives a file of the operator's plan.
    """
    from coral_cli.answers import answer_console, show_comparison
    from coral_cli.documents import write_document
    from coral_cli.plan_files import read_plan
    from coral_solver.planning.compare import compare_plans
    from coral_solver.report.answers import comparison_document

    comparison = compare_plans(read_plan(before), read_plan(after))
    if output is OutputFormat.TABLE:
        show_comparison(answer_console(), comparison, before.name, after.name)
    else:
        write_document(comparison_document(comparison), output)
    if exit_code and comparison.differs:
        raise typer.Exit(EXIT_PLANS_DIFFER)
