"""The answers of ``coral explain`` as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from coral_cli.answers import gpus_in_words, in_words, plain_table, short_pools, signed_usd
from coral_cli.render import error_bar, latency_in_words, short_names

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


def show_explanation(console: Console, explanation: Explanation) -> None:
    """Print what was found out: model by model, then pool by pool."""
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
            Text(f"Without an answer (--stop-after gives more time): {asked}", style="yellow"),
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
            latency_in_words(use.ttft_s, use.ttft_margin),
            latency_in_words(use.tpot_s, use.tpot_margin),
            f"{use.usd_per_hour:.2f}",
            " + ".join(pools.get(pool, pool) for pool in use.pools),
        )
    return table


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
    plan = (
        signed_usd(remedy.difference.cost_usd_per_hour),
        f"{-remedy.difference.unmet_req_per_s:+.2f}",
    )
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
