"""``coral explain``: why the plan is what it is, each answer proven by another solve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from coral_cli.answers import (
    answer_console,
    gpus_in_words,
    in_words,
    plain_table,
    short_pools,
    usd,
)
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
from coral_cli.render import error_bar, short_names
from coral_solver.domain.template import PlacementSpace
from coral_solver.planning.changes import models_named
from coral_solver.planning.explain import ExplainOptions
from coral_solver.planning.explain import explain as explained
from coral_solver.planning.whatif import without_switching
from coral_solver.report.answers import explanation_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.table import Table

    from coral_solver.planning.explanation import (
        Alternative,
        Explanation,
        ModelExplanation,
        PoolExplanation,
        Remedy,
        Shortage,
    )

MOST_ALTERNATIVES = 6
"""Rows of alternatives of one model; data has them all."""


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
    budget_s: Annotated[
        float,
        typer.Option(
            "--budget",
            help="No new question is asked after this many seconds; what was left is said.",
            min=0.0,
        ),
    ] = 120.0,
    time_limit_s: Annotated[float, TIME_LIMIT] = 10.0,
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
    with progress_on_stderr() as step:
        read = read_problem(
            files, cluster=cluster, inventory=inventory, kubeconfig=kubeconfig, context=context
        )
        problem = read.problem if switching else without_switching(read.problem)
        if plan is not None:
            problem = replace(problem, in_force=instances_in_force(plan, problem.pools))
        chosen = [found.id for name in model or () for found in models_named(problem, name)]
        explanation = explained(
            problem,
            planner_of(space, max_nodes, time_limit_s, cache_dir),
            options=ExplainOptions(budget_s=budget_s, models=chosen or None),
            progress=step,
        )
    if output is OutputFormat.TABLE:
        _show(answer_console(), explanation)
    else:
        write_document(explanation_document(explanation), output)
    for text in read.notes:
        say_on_stderr("note", text)
    for fault in read.faulty_models:
        say_on_stderr("left out", fault)


def _show(console: Console, explanation: Explanation) -> None:
    plan = explanation.plan
    names = short_names([outcome.model_id for outcome in plan.outcomes])
    pools = short_pools([pool.pool for pool in explanation.pools])
    for model in explanation.models:
        _show_model(console, model, names, pools)
    console.print(_pools(explanation, names, pools))
    cost = f"{plan.status}, {plan.cost_usd_per_hour:.2f} USD/h"
    if explanation.charges_switching:
        cost += (
            f", {plan.switching_usd_per_hour:.2f} of it for starting instances. All costs above "
            "contain that charge; --no-switching leaves it out"
        )
    else:
        cost += "; no charge for starting instances"
    console.print(Text.assemble(("Plan: ", "bold"), cost + "."))
    console.print(
        Text(
            f"{explanation.solves} plans were solved for these answers, by the same rules. Of a "
            "node, a plan pays the GPUs that it uses (in elastic pools the whole node).",
            style="dim",
        )
    )
    if explanation.unanswered:
        asked = "; ".join(explanation.unanswered[:3])
        more = len(explanation.unanswered) - 3
        asked += f"; {more} more" if more > 0 else ""
        console.print(
            Text(f"Without an answer (--budget gives more time): {asked}", style="yellow"),
            soft_wrap=True,
        )


def _show_model(
    console: Console, model: ModelExplanation, names: Mapping[str, str], pools: Mapping[str, str]
) -> None:
    served = model.demand_req_per_s - model.unmet_req_per_s
    heading = Text(names[model.model], style="bold")
    heading.append(f"  {served:.2f} of {model.demand_req_per_s:.2f} req/s served", "not bold")
    heading.append(f", rent {model.usd_per_hour:.2f} USD/h", "not bold")
    if model.usd_per_million_tokens is not None and model.usd_per_million_output_tokens is not None:
        heading.append(
            f"; USD per million tokens {model.usd_per_million_tokens:.3f} "
            f"(output {model.usd_per_million_output_tokens:.2f})",
            "not bold",
        )
    console.print(heading)
    console.print(_why(model, names))
    if model.templates:
        console.print(_templates(model, pools))
    if model.alternatives:
        console.print(_alternatives(model, names))
    if model.shortage is not None:
        _show_shortage(console, model.shortage, pools)
    console.print()


def _why(model: ModelExplanation, names: Mapping[str, str]) -> Text:
    """Say in a sentence what speaks for the choice."""
    if not model.templates:
        return Text("Nothing runs for it.")
    gpus: dict[str, int] = {}
    for use in model.templates:
        gpus[use.gpu] = gpus.get(use.gpu, 0) + use.gpus * use.copies
    text = Text(f"Runs on {gpus_in_words(gpus)}")
    best = model.alternatives[0] if model.alternatives else None
    if best is None:
        return text.append(". There is no other choice of GPU types to compare with.")
    text.append(f". The next best, {gpus_in_words(best.gpus_now)}: ")
    return text.append_text(in_words(best.difference, names, about=model.model)).append(".")


def _templates(model: ModelExplanation, pools: Mapping[str, str]) -> Table:
    has_bars = any(use.error_share is not None for use in model.templates)
    numbers = ("req/s", *(("error",) if has_bars else ()), "TTFT (left)", "TPOT (left)", "USD/h")
    table = plain_table("what runs", *numbers, "pool", right=numbers)
    for use in model.templates:
        phase = "" if use.phase == "WHOLE" else f" {use.phase.lower()}"
        table.add_row(
            f"{use.copies} x {use.gpus} {use.gpu}{phase}",
            f"{use.capacity_req_per_s:.2f}",
            *([error_bar(use.error_share)] if has_bars else []),
            _latency(use.ttft_s, use.ttft_margin),
            _latency(use.tpot_s, use.tpot_margin),
            f"{use.usd_per_hour:.2f}",
            " + ".join(pools.get(pool, pool) for pool in use.pools),
        )
    return table


def _latency(latency_s: float, margin: float | None) -> str:
    return "-" if margin is None else f"{latency_s * 1000:.0f} ms ({margin:.0%})"


def _alternatives(model: ModelExplanation, names: Mapping[str, str]) -> Table:
    """Show the other choices; those that come to the same share a row."""
    rows: dict[tuple[str, str], tuple[list[str], Text]] = {}
    for other in model.alternatives:
        words = in_words(other.difference, names, about=model.model)
        key = (_runs_on(other), words.plain)
        rows.setdefault(key, ([], words))[0].append(f"{other.limit} {other.gpu}")
    table = plain_table("if it ran ...", "it would run on", "which")
    for (gpus, _), (limits, words) in list(rows.items())[:MOST_ALTERNATIVES]:
        table.add_row("; ".join(limits), gpus, words)
    if len(rows) > MOST_ALTERNATIVES:
        table.add_row(f"{len(rows) - MOST_ALTERNATIVES} more: -o json has them", "", "")
    return table


def _runs_on(other: Alternative) -> str:
    return gpus_in_words(other.gpus_now)


def _show_shortage(console: Console, shortage: Shortage, pools: Mapping[str, str]) -> None:
    console.print(Text.assemble(("Short: ", "bold red"), shortage.message))
    if shortage.remedies:
        numbers = ("USD/h of the nodes", "plan USD/h", "served req/s")
        table = plain_table("what would serve it in full", *numbers, right=numbers)
        for remedy in shortage.remedies:
            table.add_row(*_remedy(remedy, pools))
        console.print(table)


def _remedy(remedy: Remedy, pools: Mapping[str, str]) -> tuple[str, ...]:
    """Return what helps, the price of those nodes, and what becomes of the whole plan."""
    pool, nodes = pools[remedy.pool], remedy.nodes
    plan = usd(remedy.difference.cost_usd_per_hour), f"{-remedy.difference.unmet_req_per_s:+.2f}"
    if nodes is None:
        return f"not even {remedy.tried_nodes} more nodes of {pool}", "-", *plan
    proof = "the least" if remedy.is_least else "enough; fewer: not proven"
    what = f"{nodes} more node{'s' if nodes > 1 else ''} of {pool} ({proof})"
    return what, f"{nodes * remedy.node_usd_per_hour:.2f}", *plan


def _pools(explanation: Explanation, names: Mapping[str, str], pools: Mapping[str, str]) -> Table:
    table = plain_table(
        "pool",
        "GPUs used",
        "by",
        "USD/h a node",
        "one more node",
        right=("GPUs used", "USD/h a node"),
        title="Pools",
    )
    for pool in sorted(explanation.pools, key=_tightest_first):
        table.add_row(
            pools[pool.pool],
            Text(_in_use(pool), style="bold" if pool.is_full else ""),
            ", ".join(f"{names[model]} {gpus}" for model, gpus in pool.used_by.items()) or "-",
            f"{pool.node_usd_per_hour:.2f}",
            "not asked" if pool.one_more_node is None else in_words(pool.one_more_node, names),
        )
    return table


def _in_use(pool: PoolExplanation) -> str:
    text = f"{pool.gpus_used} of {pool.gpus}"
    if pool.opened_nodes is None:
        return text
    return f"{text}, {pool.opened_nodes} node{'' if pool.opened_nodes == 1 else 's'} paid"


def _tightest_first(pool: PoolExplanation) -> tuple[bool, float, str]:
    return not pool.binds, -pool.gpus_used / max(1, pool.gpus), pool.pool
