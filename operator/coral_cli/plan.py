"""``coral plan``: what runs where, for all models together."""

from __future__ import annotations

from dataclasses import replace
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
    OutputFormat,
    time_limit,
)
from coral_cli.progress import progress_on_stderr
from coral_solver.domain.template import PlacementSpace

_POLICY = "Instead of what the PlanningPolicy says"


def plan(
    files: Annotated[list[Path], FILES],
    cluster: Annotated[Path | None, CLUSTER] = None,
    inventory: Annotated[Path | None, INVENTORY] = None,
    kubeconfig: Annotated[Path | None, KUBECONFIG] = None,
    context: Annotated[str | None, CONTEXT] = None,
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="Table for people, or stable data.")
    ] = OutputFormat.TABLE,
    space: Annotated[PlacementSpace, SPACE] = PlacementSpace.VLLM,
    max_nodes: Annotated[int, MAX_NODES] = 6,
    time_limit_s: Annotated[
        float,
        time_limit(
            "Limit of the allocation. The baselines together get as long as the allocation took "
            "plus 1 s, but no more than the limit; their status says if that was too short."
        ),
    ] = 30.0,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
    robustness: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            rich_help_panel=_POLICY,
            help="Margin against wrong predictions: 0 plans with the "
            "predictions, 1 with the lower end of their error bars. Shows what it costs.",
            min=0.0,
            max=1.0,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="USD/H",
            rich_help_panel=_POLICY,
            help="Most rent of all instances together. If not everything "
            "can be served for it, as much demand as possible is, weighted by 1 + priority.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Also plan as the peers would, to compare with.")
    ] = True,
) -> None:
    """Decide what runs where: GPU types, parallelism, replicas and nodes, for all models together.

    `coral plan -f examples/three-models.yaml --inventory examples/inventory.csv`

    Among the files may be PerformanceProfiles: measured points, which correct the predictions.

    `kubectl get nodes,pods -A -o yaml | coral plan -f services.yaml -f -`

    Exits with 3 where some demand is not served: the plan is printed all the same.
    """
    from coral_cli.documents import write_document
    from coral_cli.inputs import read_problem, say_what_was_left_out
    from coral_cli.render import show_plan
    from coral_solver.planning.planner import Planner, PlanningOptions
    from coral_solver.report.document import plan_document
    from coral_solver.templates.cache import default_cache_dir

    with progress_on_stderr() as step:
        read = read_problem(
            files, cluster=cluster, inventory=inventory, kubeconfig=kubeconfig, context=context
        )
        problem = read.problem
        if robustness is not None:
            problem = replace(problem, policy=replace(problem.policy, robustness=robustness))
        if budget is not None:
            problem = replace(problem, policy=replace(problem.policy, budget_usd_per_hour=budget))
        planner = Planner(
            PlanningOptions(
                space=space,
                max_nodes=max_nodes,
                time_limit_s=time_limit_s,
                cache_dir=cache_dir or default_cache_dir(),
                with_baselines=baselines,
            )
        )
        result = planner.plan(problem, progress=step)
    document = plan_document(problem, result)
    document["refused_nodes"] = [
        {"name": node.name, "reason": node.reason, "message": node.message} for node in read.refused
    ]
    if output is OutputFormat.TABLE:
        show_plan(document, read.refused)
    else:
        write_document(document, output)
    say_what_was_left_out(read, result.unused_points)
    if read.faulty_models or any(unmet > 0 for unmet in document["unmet_req_per_s"].values()):
        raise typer.Exit(EXIT_NOT_ALL_SERVED)
