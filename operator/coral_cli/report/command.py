"""``coral report``: a plan as one page for people, or as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coral_cli.options import (
    CACHE_DIR,
    CLUSTER,
    CONTEXT,
    EXIT_NOT_ALL_SERVED,
    FILES,
    INVENTORY,
    KUBECONFIG,
    MAX_NODES,
    SPACE,
    time_limit,
)
from coral_cli.progress import progress_on_stderr
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.template import PlacementSpace


def report(
    files: Annotated[list[Path], FILES],
    cluster: Annotated[Path | None, CLUSTER] = None,
    inventory: Annotated[Path | None, INVENTORY] = None,
    kubeconfig: Annotated[Path | None, KUBECONFIG] = None,
    context: Annotated[str | None, CONTEXT] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Report on this plan for the same files, as `coral plan -o json` wrote it, "
            "instead of making one.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The page to write (.html); report.html without --png."
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Folder to write every plot to as a PNG file.", show_default=False),
    ] = None,
    space: Annotated[PlacementSpace, SPACE] = PlacementSpace.VLLM,
    max_nodes: Annotated[int, MAX_NODES] = 6,
    time_limit_s: Annotated[
        float, time_limit("Limit of the allocation; the baselines get as long together.")
    ] = 30.0,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
) -> None:
    """Write a plan as one HTML page that needs nothing else: open it, print it, send it.

    `coral report -f examples/three-models.yaml --inventory examples/inventory.csv -o report.html`

    `coral report -f services.yaml --inventory gpus.csv --plan plan.json --png pictures`

    Exits with 3 where some demand is not served: the report is written all the same.
    """
    if output is None and png is None:
        output = Path("report.html")
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise InvalidInputError(
            [f"{output}: a report is a page, so name it .html; --png FOLDER writes pictures"]
        )
    from coral_cli.inputs import read_problem, say_what_was_left_out
    from coral_cli.plan_files import read_plan_to_report
    from coral_cli.report.make import report_content, write_report
    from coral_solver.planning.planner import Planner, PlanningOptions
    from coral_solver.report.document import plan_document
    from coral_solver.templates.cache import default_cache_dir

    options = PlanningOptions(
        space=space,
        max_nodes=max_nodes,
        time_limit_s=time_limit_s,
        cache_dir=cache_dir or default_cache_dir(),
    )
    with progress_on_stderr() as step:
        read = read_problem(
            files, cluster=cluster, inventory=inventory, kubeconfig=kubeconfig, context=context
        )
        if plan is None:
            result = Planner(options).plan(read.problem, progress=step)
            document = plan_document(read.problem, result)
        else:
            document = read_plan_to_report(plan, read.problem)
        given = [path for path in (*files, cluster, inventory, plan) if path is not None]
        content = report_content(read, document, options, given, step, is_planned_here=plan is None)
        step("report", None)
        write_report(content, output, png)
    say_what_was_left_out(read)
    if read.faulty_models or any(unmet > 0 for unmet in document["unmet_req_per_s"].values()):
        raise typer.Exit(EXIT_NOT_ALL_SERVED)
