"""A report as one HTML page that needs nothing else, and as PNG files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jinja2

from coral_cli.report import numbers
from coral_cli.report.bars import cost_plot, peer_plot, pool_plot
from coral_cli.report.content import key_numbers, peer_verdict, price_source, proof, verdict
from coral_cli.report.palette import DARK, LIGHT, STAND_INS, model_looks
from coral_cli.report.predictions import (
    capacity_in_words,
    capacity_plot,
    frontier_plot,
    margin_plot,
)
from coral_cli.report.sheet import png_of, settings, svg_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coral_cli.report.content import ReportContent
    from coral_cli.report.palette import ModelLook, Roles
    from coral_cli.report.sheet import Sheet
    from coral_solver.report.figures import PoolUse, ReportFigures
    from coral_solver.report.frontier import Frontier

WIDE_PX = 820.0
NARROW_PX = 340.0
"""Bars are drawn for a desk and for a phone; the style sheet shows one of the two."""
MOST_POOLS = 30
MOST_PANELS = 24
"""Most pools and frontiers that are drawn; the tables have all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One plot, not drawn yet.

    Attributes
    ----------
    key
        Name of its file and of its place on the page.
    title, description
        What it shows, and what can be read off it, in words.
    draw
        Takes colours and a width in pixels.
    """

    key: str
    title: str
    description: str
    draw: Callable[[Roles, float], Sheet]


def render_page(content: ReportContent) -> str:
    """Return a report as the text of an HTML file.

    Parameters
    ----------
    content
        What to show. Every text in it is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("coral_cli.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "in_prose": numbers.in_prose,
        "usd": numbers.usd,
        "percent": numbers.percent,
        "ms": numbers.milliseconds,
    }
    looks = model_looks(content.names)
    with settings():
        plots = {plot.key: _on_page(plot) for plot in _bar_plots(content, looks)}
        panels = [
            svg_of(plot.draw(STAND_INS, 0.0), **_said(plot))
            for plot in _frontier_plots(content, looks)
        ]
    return environment.get_template("report.html.jinja").render(
        content=content,
        document=content.document,
        figures=content.figures,
        names=content.names,
        looks=looks,
        plots=plots,
        panels=panels,
        pools_left_out=len(content.figures.pools) - len(_drawn_pools(content.figures)),
        verdict=verdict(content),
        proof=proof(content.document),
        peer_verdict=peer_verdict(content.figures.peers),
        key_numbers=key_numbers(content),
        price_source=price_source,
        light=asdict(LIGHT),
        dark=asdict(DARK),
    )


def render_pictures(content: ReportContent) -> dict[str, bytes]:
    """Return every plot as a PNG file, by the name of the file without its ending."""
    looks = model_looks(content.names)
    with settings():
        return {
            plot.key: png_of(plot.draw(LIGHT, WIDE_PX))
            for plot in (*_bar_plots(content, looks), *_frontier_plots(content, looks))
        }


def _on_page(plot: Plot) -> dict[str, Any]:
    said = _said(plot)
    return {
        "wide": svg_of(plot.draw(STAND_INS, WIDE_PX), **said),
        "narrow": svg_of(plot.draw(STAND_INS, NARROW_PX), **said | {"key": f"{plot.key}-narrow"}),
    }


def _said(plot: Plot) -> dict[str, str]:
    return {"key": plot.key, "title": plot.title, "description": plot.description}


def _bar_plots(content: ReportContent, looks: dict[str, ModelLook]) -> list[Plot]:
    figures = content.figures
    return [
        Plot(
            key="pools",
            title="GPUs by pool and model",
            description="One bar a pool, from left to right GPUs in use by model, free GPUs, and "
            "GPUs of nodes that could be opened. The table below has the same numbers.",
            draw=lambda roles, width: pool_plot(_drawn_pools(figures), looks, roles, width),
        ),
        Plot(
            key="cost",
            title="Cost by model",
            description="Two bars a model: rent per hour, and what a million served tokens cost. "
            "The table below has the same numbers.",
            draw=lambda roles, width: cost_plot(figures.models, looks, roles, width),
        ),
        Plot(
            key="peers",
            title="Rent and unmet demand of the plan and its peers",
            description=peer_verdict(figures.peers),
            draw=lambda roles, width: peer_plot(figures.peers, roles, width),
        ),
        *_prediction_plots(content, looks),
    ]


def _prediction_plots(content: ReportContent, looks: dict[str, ModelLook]) -> list[Plot]:
    """Return the plots that have something to show: there may be no demand, or no latency."""
    figures = content.figures
    plots = []
    wanted = [model for model in figures.models if model.demand_req_per_s > 0]
    if wanted:
        plots.append(
            Plot(
                key="capacity",
                title="Planned capacity against demand, with error bars",
                description="; ".join(
                    f"{content.names[model.model_id]}: {capacity_in_words(model)}"
                    for model in wanted
                ),
                draw=lambda roles, width: capacity_plot(wanted, looks, roles, width),
            )
        )
    timed = [g for g in figures.groups if (g.ttft_margin, g.tpot_margin) != (None, None)]
    if timed:
        plots.append(
            Plot(
                key="margins",
                title="Latency targets used",
                description="Two marks a template: predicted time to first token (dot) and time "
                "per output token (diamond) as shares of their targets. The table below has the "
                "numbers.",
                draw=lambda roles, width: margin_plot(timed, looks, roles, width),
            )
        )
    return plots


def _drawn_pools(figures: ReportFigures) -> list[PoolUse]:
    """Return the pools that are drawn: if there are many, those that are used most."""
    fullest = sorted(figures.pools, key=lambda pool: (-pool.used_gpus, -pool.total_gpus, pool.pool))
    kept = {pool.pool for pool in fullest[:MOST_POOLS]}
    return [pool for pool in figures.pools if pool.pool in kept]


def _frontier_plots(content: ReportContent, looks: dict[str, ModelLook]) -> Sequence[Plot]:
    plots = []
    rent = {model.model_id: model.usd_per_hour for model in content.figures.models}
    # Sorting keeps the order of equals: phases of a model stay together.
    dearest = sorted(content.frontiers, key=lambda f: (-rent[f.model_id], f.model_id))
    drawn = {id(frontier) for frontier in dearest[:MOST_PANELS]}
    for place, frontier in enumerate(f for f in content.frontiers if id(f) in drawn):
        look = looks[frontier.model_id]
        chosen = "; ".join(
            f"{choice.label} carries {numbers.number(choice.capacity_req_per_s)} requests per "
            f"second, {numbers.number(choice.requests_per_usd)} for a dollar"
            for choice in frontier.chosen
        )
        plots.append(
            Plot(
                key=f"frontier-{place + 1}",
                title=f"Templates of {look.name}, {frontier.phase.lower()}",
                description=f"{frontier.num_templates} templates by capacity and by requests for a "
                f"dollar. Chosen: {chosen or 'none'}.",
                draw=partial(_draw_frontier, frontier, look),
            )
        )
    return plots


def _draw_frontier(frontier: Frontier, look: ModelLook, roles: Roles, _width_px: float) -> Sheet:
    """Draw a frontier: it has one width, since panels go side by side."""
    return frontier_plot(frontier, look, roles)
