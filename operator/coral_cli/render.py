"""Plans as tables for people."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coral_solver.domain.hardware import RefusedNode

PIPE_WIDTH = 140
"""Columns where the output is no terminal; rich would assume 80 and fold every cell."""

FULL_WIDTH = 120
"""On a narrower terminal the widest table loses its lines and folds its cells."""


def table_console() -> Console:
    """Return a console for tables on standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def show_plan(document: Mapping[str, Any], refused: Sequence[RefusedNode]) -> None:
    """Print a plan document on standard output.

    Parameters
    ----------
    document
        As ``coral_solver.report.document.plan_document`` makes it.
    refused
        GPU nodes that could not be used.
    """
    console = table_console()
    names = short_names([model["model"] for model in document["models"]])
    console.print(_instances(document, names, console.width))
    console.print(_models(document, names))
    console.print(_summary(document))
    for node in refused:
        text = escape(f"{node.message} ({node.reason})")
        console.print(f"[yellow]not used[/] {text}", soft_wrap=True)


def short_names(ids: Sequence[str]) -> dict[str, str]:
    """Return the last part of each ``namespace/service/model`` where that is enough."""
    last = {model_id: model_id.rsplit("/", 1)[-1] for model_id in ids}
    is_unique = len(set(last.values())) == len(last)
    return last if is_unique else {model_id: model_id for model_id in ids}


def _instances(document: Mapping[str, Any], names: Mapping[str, str], width: int) -> Table:
    table = Table(title="What runs where", title_justify="left", header_style="bold")
    # Where columns are few, only the pool is wider than its share, so that only it is folded.
    is_narrow = width < FULL_WIDTH
    separator = "\n" if is_narrow else " "
    if is_narrow:
        table.box, table.padding = SIMPLE_HEAD, 0
    table.add_column("model", overflow="fold")
    table.add_column(f"copies x{separator}GPUs of one", overflow="fold")
    table.add_column(f"parallelism{separator}(layers)", overflow="fold")
    for column in (
        f"req/s{separator}(bar)",
        f"TTFT{separator}(margin)",
        f"TPOT{separator}(margin)",
        "USD/h",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("pool", overflow="fold")
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for instance in document["instances"]:
        groups[instance["model"], instance["template"], instance["pool"]].append(instance)
    for members in groups.values():
        first = members[0]
        phase = "" if first["phase"] == "WHOLE" else separator + first["phase"].lower()
        table.add_row(
            names[first["model"]] + phase,
            f"{len(members)} x {first['gpus']} {first['gpu']}",
            _parallelism(first),
            _rate(members, separator),
            latency_in_words(first["ttft_s"], first["ttft_margin"], separator),
            latency_in_words(first["tpot_s"], first["tpot_margin"], separator),
            f"{sum(m['usd_per_hour'] for m in members):.2f}",
            first["pool"],
        )
    return table


def _rate(members: Sequence[Mapping[str, Any]], separator: str) -> str:
    rate = sum(m["capacity_req_per_s"] for m in members)
    return f"{rate:.2f}{separator}({error_bar(members[0]['error_share'])})"


def error_bar(error_share: float | None) -> str:
    """Show the half width of an error bar."""
    return "-" if error_share is None else f"±{error_share:.0%}"


def _parallelism(instance: Mapping[str, Any]) -> str:
    parts = [f"TP {instance['tensor_parallel']}"] if instance["tensor_parallel"] else []
    if instance["pipeline_parallel"] > 1:
        layers = "+".join(str(n) for n in instance["layers_per_stage"])
        parts.append(f"PP {instance['pipeline_parallel']} ({layers})")
    return ", ".join(parts)


def latency_in_words(latency_s: float, margin: float | None, separator: str = " ") -> str:
    """Show a latency with the share of its target that is left; "-" where there is none."""
    if margin is None:
        return "-"
    return f"{latency_s * 1000:.0f} ms{separator}({margin:.0%})"


def _models(document: Mapping[str, Any], names: Mapping[str, str]) -> Table:
    table = Table(title="Models", title_justify="left", header_style="bold")
    table.add_column("model")
    for column in ("demand req/s", "capacity", "unmet", "USD/h"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("outcome")
    for model in document["models"]:
        short = model["unmet_req_per_s"] > 0
        table.add_row(
            names[model["model"]],
            f"{model['demand_req_per_s']:.2f}",
            f"{model['capacity_req_per_s']:.2f}",
            Text(f"{model['unmet_req_per_s']:.2f}", style="bold red" if short else ""),
            f"{model['usd_per_hour']:.2f}",
            Text(f"{model['reason']}: {model['message']}", style="red" if short else ""),
        )
    return table


def _summary(document: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("status", document["status"])
    cost = f"{document['cost_usd_per_hour']:.2f} USD/h"
    if document["switching_usd_per_hour"] > 0:
        cost += f" ({document['switching_usd_per_hour']:.2f} of it for starting instances)"
    table.add_row("cost", Text(cost, style="bold"))
    if document["without_margin"] is not None:
        plain = document["without_margin"]
        cost = document["cost_usd_per_hour"] - plain["cost_usd_per_hour"]
        text = (
            f"{document['robustness']:g} of the error bars: {cost:+.2f} USD/h; without it "
            f"{plain['cost_usd_per_hour']:.2f} USD/h"
        )
        unmet = sum(document["unmet_req_per_s"].values())
        plain_unmet = sum(plain["unmet_req_per_s"].values())
        if max(unmet, plain_unmet) > 0:
            text += f" and {plain_unmet:.2f} req/s unserved (with it: {unmet:.2f})"
        table.add_row("margin", text)
    for name, peer in document["baselines"].items():
        table.add_row(f"baseline {name}", _comparison(document, peer))
    for level in document["objective"]:
        table.add_row(
            f"level {level['level']}",
            f"{level['value']:.4f}, bound {level['bound']:.4f}, gap {level['gap']:.3%}",
        )
    table.add_row("bound holds for", document["bound_scope"])
    table.add_row(
        "time", f"stage 1 {document['templates_s']:.2f} s, stage 2 {document['solve_s']:.2f} s"
    )
    return table


def _comparison(document: Mapping[str, Any], peer: Mapping[str, Any]) -> str:
    cost = document["cost_usd_per_hour"]
    text = f"{peer['cost_usd_per_hour']:.2f} USD/h"
    peer_unmet = sum(peer["unmet_req_per_s"].values())
    unmet = sum(document["unmet_req_per_s"].values())
    if peer_unmet > unmet + 1e-6:
        return f"{text}, leaves {peer_unmet:.2f} req/s unserved (this plan: {unmet:.2f})"
    return f"{text}, {peer['cost_usd_per_hour'] / cost:.3f}x this plan" if cost > 0 else text
