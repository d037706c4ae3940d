"""``coral explain``: why the plan is what it is, each answer proven by another solve."""

from __future__ import annotations

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
from coral_solver.domain.template import PlacementSpace


def explain(
    files: Annotated[list[Path], FILES],
    cluster: Annotated[Path | None, CLUSTER] = None,
    inventory: Annotated[Path | None, INVENTORY] = None,
    kubeconfig: Annotated[Path | None, KUBECONFIG] = None,
    context: Annotated[str | None, CONTEXT] = None,
    plan: Annotated[Path | None, PLAN_IN_FORCE] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Only explain these models (id, or its last part); all are planned."),
    ] = None,
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="Text for people, or stable data.")
    ] = OutputFormat.TABLE,
    switching: Annotated[bool, SWITCHING] = True,
    stop_after_s: Annotated[
        float,
        typer.Option(
            "--stop-after",
            metavar="SECONDS",
            help="No new question is asked after this many seconds; what was left is said.",
            min=0.0,
        ),
    ] = 120.0,
    time_limit_s: Annotated[float, SOLVE_TIME_LIMIT] = 10.0,
    space: Annotated[PlacementSpace, SPACE] = PlacementSpace.VLLM,
    max_nodes: Annotated[int, MAX_NODES] = 6,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
) -> None:
    """Say why the plan is what it is: each answer is this plan against another one.

    `coral explain -f examples/three-models.yaml --inventory examples/inventory.csv`

    Per model: what it runs on, what a million tokens cost, what every other choice of GPUs would
    cost, and, where it is short, the least number of nodes that would serve it. Per pool: what
    one more node would save or serve. Nothing is estimated: every number is a plan solved with
    one thing changed, and a difference that the solver's gaps do not prove is called that.

    `coral explain -f services.yaml --inventory inv.csv --plan today.json --model phi-4`
    explains the plan from what runs today, for one model.
    """
    from coral_cli.answers import answer_console
    from coral_cli.asking import planner_of, read_question
    from coral_cli.documents import write_document
    from coral_cli.explain_text import show_explanation
    from coral_cli.inputs import say_what_was_left_out
    from coral_solver.planning.changes import models_named
    from coral_solver.planning.explain import ExplainOptions
    from coral_solver.planning.explain import explain as explained
    from coral_solver.report.answers import explanation_document

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
        chosen = [found.id for name in model or () for found in models_named(read.problem, name)]
        explanation = explained(
            read.problem,
            planner_of(space, max_nodes, time_limit_s, cache_dir),
            options=ExplainOptions(budget_s=stop_after_s, models=chosen or None),
            progress=step,
        )
    if output is OutputFormat.TABLE:
        show_explanation(answer_console(), explanation)
    else:
        write_document(explanation_document(explanation), output)
    say_what_was_left_out(read)
