"""Answers as text for people: differences in words, and tables that fit into 100 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from coral_cli.render import short_names
from coral_solver.planning.difference import NO_TEMPLATE, Effect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coral_solver.planning.compare import ModelChange, Pair, PlanComparison
    from coral_solver.planning.difference import Difference
    from coral_solver.planning.facts import PlanFacts

ANSWER_WIDTH = 100
"""Columns of the text where the output is no terminal."""

_STYLES = {
    Effect.SERVES_MORE: "green",
    Effect.SERVES_LESS: "red",
    Effect.MEETS_MORE_WISHES: "green",
    Effect.MEETS_FEWER_WISHES: "yellow",
    Effect.CHEAPER: "green",
    Effect.DEARER: "yellow",
    Effect.SAME: "dim",
    Effect.NO_DIFFERENCE_PROVEN: "dim",
}


def answer_console() -> Console:
    """Return a console for answers on standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=ANSWER_WIDTH)


def plain_table(*columns: str, right: tuple[str, ...] = (), title: str | None = None) -> Table:
    """Return an empty table with few lines; numbers in the columns ``right`` never fold."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    table.padding, table.pad_edge = (0, 1), False
    for column in columns:
        if column in right:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table


def in_words(found: Difference, names: Mapping[str, str], *, about: str | None = None) -> Text:
    """Say what a difference means.

    Parameters
    ----------
    found
        After minus before.
    names
        What to call the models.
    about
        Id of the model that the text around is about: it need not be named.
    """
    if about is not None and set(found.unmet_by_model) == {about}:
        names = {**names, about: ""}
    return Text(_words(found, names), style=_STYLES[found.effect])


def _words(found: Difference, names: Mapping[str, str]) -> str:
    cost = found.cost_usd_per_hour
    if found.level == NO_TEMPLATE and found.effect is Effect.SERVES_LESS:
        models = ", ".join(names.get(model, model) for model in found.unmet_by_model)
        return f"impossible: nothing there holds {models or 'it'} within its targets"
    if found.effect is Effect.SAME:
        return "changes nothing"
    if found.effect is Effect.NO_DIFFERENCE_PROVEN:
        if found.unmet_by_model:
            sign = 1.0 if found.unmet_req_per_s <= 0 else -1.0
            return f"no difference proven (found: {_served(found, names, sign)})"
        low, high = found.least_usd_per_hour, found.most_usd_per_hour
        return f"no difference proven (between {signed_usd(low)} and {signed_usd(high)} USD/h)"
    if found.effect is Effect.CHEAPER:
        return f"saves {-cost:.2f} USD/h"
    if found.effect is Effect.DEARER:
        return f"costs {cost:.2f} USD/h more"
    if found.effect in (Effect.MEETS_MORE_WISHES, Effect.MEETS_FEWER_WISHES):
        more = "more" if found.effect is Effect.MEETS_MORE_WISHES else "less"
        return f"{more} headroom or replicas, {signed_usd(cost)} USD/h"
    sign = 1.0 if found.effect is Effect.SERVES_MORE else -1.0
    return f"{_served(found, names, sign)}; {signed_usd(cost)} USD/h"


def _served(found: Difference, names: Mapping[str, str], sign: float) -> str:
    """Say who gets more (or less), and in brackets for whom it is the other way round."""
    word = "more" if sign > 0 else "less"
    gains = {names.get(model, model): -unmet for model, unmet in found.unmet_by_model.items()}
    first = [f"{name} {abs(gain):.2f}".lstrip() for name, gain in gains.items() if gain * sign > 0]
    others = [f"{name} {gain:+.2f}".lstrip() for name, gain in gains.items() if gain * sign <= 0]
    text = f"serves {', '.join(first)} req/s {word}" if first else f"serves {word}"
    return f"{text} ({', '.join(others)})" if others else text


def signed_usd(amount: float) -> str:
    """Write a difference of money with its sign; what rounds to nothing has none."""
    return f"{amount:+.2f}" if abs(amount) >= 0.005 else "0.00"


def short_pools(names: Sequence[str]) -> dict[str, str]:
    """Return pool names without the region and the kind that all of them share.

    Parameters
    ----------
    names
        As ``PoolKey`` writes them: ``region/shape/kind``.
    """
    parts = {name: name.split("/") for name in names}
    if len(parts) < 2 or any(len(part) != 3 for part in parts.values()):
        return {name: name for name in names}
    shared = [len({part[place] for part in parts.values()}) == 1 for place in range(3)]
    return {
        name: "/".join(text for place, text in enumerate(part) if place == 1 or not shared[place])
        for name, part in parts.items()
    }


def gpus_in_words(gpus: Mapping[str, int]) -> str:
    """Write GPUs by type."""
    return " + ".join(f"{count} {gpu}" for gpu, count in gpus.items()) or "nothing"


def show_comparison(console: Console, comparison: PlanComparison, first: str, second: str) -> None:
    """Print two plans side by side.

    Parameters
    ----------
    console
        Where to.
    comparison
        The two plans.
    first, second
        What to call them.
    """
    names = short_names([model.model for model in comparison.models])
    console.print(_totals(comparison, first, second))
    changed = [model for model in comparison.models if model.differs]
    if changed:
        console.print(_models(changed, names))
    if len(changed) < len(comparison.models):
        count = len(comparison.models) - len(changed)
        console.print(f"{count} model{'s' if count > 1 else ''} without a difference")
    pools = {
        name: pair for name, pair in comparison.gpus_by_pool.items() if pair.before != pair.after
    }
    if pools:
        short = short_pools(list(comparison.gpus_by_pool))
        table = plain_table("pool", "GPUs", right=("GPUs",), title="GPUs in use")
        for name, pair in pools.items():
            table.add_row(short[name], _arrow(pair, "{:.0f}"))
        console.print(table)
    console.print(Text("In sum: ").append_text(_in_sum(comparison, names)))


def _in_sum(comparison: PlanComparison, names: Mapping[str, str]) -> Text:
    found = comparison.difference
    has_same_demand = all(not model.demand_req_per_s.change for model in comparison.models)
    if has_same_demand or not found.unmet_by_model:
        return in_words(found, names)
    # Of another demand, less may be served although more is: what is left is what counts.
    unmet = ", ".join(
        f"{names.get(model, model)} {change:+.2f}" for model, change in found.unmet_by_model.items()
    )
    text = f"demand that is not served: {unmet} req/s; {signed_usd(found.cost_usd_per_hour)} USD/h"
    return Text(text, style=_STYLES[found.effect])


def _totals(comparison: PlanComparison, first: str, second: str) -> Table:
    before, after = comparison.before, comparison.after
    table = plain_table("", first, second, "difference", right=(first, second, "difference"))

    def row(name: str, old: float, new: float) -> None:
        table.add_row(name, f"{old:.2f}", f"{new:.2f}", signed_usd(new - old))

    row("cost USD/h", before.cost_usd_per_hour, after.cost_usd_per_hour)
    if before.switching_usd_per_hour or after.switching_usd_per_hour:
        row("  of it rent", before.rent_usd_per_hour, after.rent_usd_per_hour)
        row("  of it for starting", before.switching_usd_per_hour, after.switching_usd_per_hour)
    row("served req/s", before.served_req_per_s, after.served_req_per_s)
    row("unmet req/s", *(sum(plan.unmet_req_per_s.values()) for plan in (before, after)))
    table.add_row(
        "instances",
        str(len(before.instances)),
        str(len(after.instances)),
        f"{comparison.kept} kept, {comparison.moved} moved, "
        f"{comparison.started} started, {comparison.stopped} stopped",
    )
    table.add_row("status", before.status, after.status, "")
    table.add_row("gap of the cost", _gap(before), _gap(after), "")
    return table


def _gap(plan: PlanFacts) -> str:
    return "-" if plan.cost_gap is None else f"{plan.cost_gap:.3%}"


def _models(models: list[ModelChange], names: Mapping[str, str]) -> Table:
    numbers = ("demand req/s", "unmet", "USD/h")
    table = plain_table("model", *numbers, "instances", right=numbers, title="Models that differ")
    for model in models:
        table.add_row(
            names[model.model],
            _arrow(model.demand_req_per_s, "{:.2f}"),
            _arrow(model.unmet_req_per_s, "{:.2f}"),
            _arrow(model.usd_per_hour, "{:.2f}"),
            "\n".join(_changes(model)) or "nothing runs",
        )
    return table


def _changes(model: ModelChange) -> list[str]:
    """Say what starts and what stops, by GPUs: those of several templates in one line."""
    counts: dict[str, list[int]] = {}
    for item in model.instances:
        phase = "" if item.phase == "WHOLE" else f" {item.phase.lower()}"
        found = counts.setdefault(f"{item.gpus} {item.gpu}{phase}", [0, 0, 0, 0])
        for place, count in enumerate((item.started, item.stopped, item.moved, item.kept)):
            found[place] += count
    words = ("started", "stopped", "moved", "kept")
    return [
        f"{what}: " + ", ".join(f"{n} {word}" for n, word in zip(found, words, strict=True) if n)
        for what, found in counts.items()
    ]


def _arrow(pair: Pair, form: str) -> str:
    before, after = (
        "-" if value is None else form.format(value) for value in (pair.before, pair.after)
    )
    return before if before == after else f"{before} → {after}"
