"""Plots of what the predictions say, and how far they can be trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from coral_cli.report.numbers import milliseconds, number, percent
from coral_cli.report.sheet import SMALL_PX, Sheet, shortened, text_width_px

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from coral_cli.report.palette import ModelLook, Roles
    from coral_solver.report.figures import InstanceGroup, ModelCost
    from coral_solver.report.frontier import Frontier

FRONTIER_WIDTH_PX = 390.0
FRONTIER_HEIGHT_PX = 270.0
FRONTIER_EDGES_PX = 92.0
"""Height of a frontier's sheet that is not axes."""
DOT_PX = ((100, 5.0), (1000, 3.4), (math.inf, 2.4))
"""Size of the dots of a backdrop by their number."""
ROW_PX = 42.0
AXIS_PX = 26.0
LINE_PX = 15.0
MARK_PX = 13.0
"""Height of a second line of text, and of marks over the end of their row."""
NARROW_PX = 520.0
EDGE_PX = 10.0
TARGET_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
DEMAND_SHARES = (0.0, 0.5, 1.0, 1.5, 2.0)
MOST_OF_DEMAND = 2.0
"""Capacities beyond this multiple of the demand are drawn at the edge."""


def frontier_plot(frontier: Frontier, look: ModelLook, roles: Roles) -> Sheet:
    """Draw templates by what one instance carries and what a dollar buys on it.

    Parameters
    ----------
    frontier
        One model and phase.
    look
        The model's.
    roles
        Colours by meaning.
    """
    sheet = Sheet(FRONTIER_WIDTH_PX, FRONTIER_HEIGHT_PX, roles)
    phase = "" if frontier.phase == "WHOLE" else f", {frontier.phase.lower()}"
    sheet.text(8, 12, shortened(look.name + phase, 250), bold=True)
    count = f"{frontier.num_templates:,} templates"
    sheet.text(
        FRONTIER_WIDTH_PX - 8, 12, count, colour=roles.muted, size_px=SMALL_PX, align="right"
    )
    sheet.text(8, 32, "requests per USD", colour=roles.muted, size_px=SMALL_PX)
    axes = sheet.axes(54, 44, FRONTIER_WIDTH_PX - 66, FRONTIER_HEIGHT_PX - FRONTIER_EDGES_PX)
    _style_axes(axes, roles)
    _draw_points(axes, frontier, roles)
    axes.plot(
        frontier.best_capacity_req_per_s,
        frontier.best_requests_per_usd,
        color=roles.muted,
        linewidth=1.2,
        marker=".",
        markersize=3.5,
        zorder=3,
    )
    _set_limits(axes, frontier)
    _draw_demand(axes, frontier, roles)
    _draw_chosen(axes, frontier, look, roles)
    sheet.text(
        FRONTIER_WIDTH_PX - 12,
        FRONTIER_HEIGHT_PX - 8,
        "capacity of one instance, req/s",
        colour=roles.muted,
        size_px=SMALL_PX,
        align="right",
    )
    return sheet


def _style_axes(axes: Axes, roles: Roles) -> None:
    axes.set_facecolor(roles.surface)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(roles.line)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:,.6g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.tick_params(
        which="both", color=roles.line, labelcolor=roles.muted, labelsize=SMALL_PX, length=3
    )
    axes.minorticks_off()


def _draw_points(axes: Axes, frontier: Frontier, roles: Roles) -> None:
    """Draw all points as one path of dots: one marker each would make the page ten times larger."""
    points = np.column_stack((frontier.capacity_req_per_s, frontier.requests_per_usd))
    vertices = np.repeat(points, 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(points))
    path = Path(vertices, codes)
    path.should_simplify = False
    axes.add_patch(
        PathPatch(
            path,
            fill=False,
            edgecolor=roles.faint,
            linewidth=next(px for most, px in DOT_PX if len(points) <= most),
            capstyle="round",
            zorder=1,
        )
    )


def _set_limits(axes: Axes, frontier: Frontier) -> None:
    chosen = frontier.chosen
    x = np.concatenate((frontier.capacity_req_per_s, [c.capacity_req_per_s for c in chosen]))
    y = np.concatenate((frontier.requests_per_usd, [c.requests_per_usd for c in chosen]))
    axes.set_xlim(x.min() / 1.25, x.max() * 1.25)
    axes.set_ylim(y.min() / 1.25, y.max() * 1.35)


def _draw_demand(axes: Axes, frontier: Frontier, roles: Roles) -> None:
    low, high = axes.get_xlim()
    demand = frontier.demand_req_per_s
    if not low < demand < high:
        return
    axes.axvline(demand, color=roles.muted, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
    is_right = demand > np.sqrt(low * high)
    axes.annotate(
        "demand",
        (demand, axes.get_ylim()[0]),
        xytext=(-4 if is_right else 4, 5),
        textcoords="offset points",
        ha="right" if is_right else "left",
        color=roles.muted,
        fontsize=SMALL_PX,
    )


def _draw_chosen(axes: Axes, frontier: Frontier, look: ModelLook, roles: Roles) -> None:
    """Mark what the plan uses, each with its label; labels that would meet move down."""
    low, high = axes.get_xlim()
    taken: list[float] = []
    height_px = FRONTIER_HEIGHT_PX - FRONTIER_EDGES_PX
    bottom, top = np.log(axes.get_ylim())
    for choice in sorted(frontier.chosen, key=lambda c: -c.requests_per_usd):
        axes.plot(
            [choice.capacity_req_per_s],
            [choice.requests_per_usd],
            marker="o",
            markersize=9,
            markerfacecolor=look.colour,
            markeredgecolor=roles.surface,
            markeredgewidth=1.5,
            linestyle="none",
            zorder=5,
        )
        y_px = height_px * (np.log(choice.requests_per_usd) - bottom) / (top - bottom)
        label_px = min([y_px, *(other - 14 for other in taken)])
        taken.append(label_px)
        is_right = choice.capacity_req_per_s > np.sqrt(low * high)
        axes.annotate(
            choice.label,
            (choice.capacity_req_per_s, choice.requests_per_usd),
            xytext=(-9 if is_right else 9, label_px - y_px),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="center",
            color=roles.ink,
            fontsize=SMALL_PX,
            bbox={"facecolor": roles.surface, "edgecolor": "none", "alpha": 0.75, "pad": 1},
            zorder=4,
        )


def margin_plot(
    groups: Sequence[InstanceGroup],
    looks: Mapping[str, ModelLook],
    roles: Roles,
    width_px: float,
) -> Sheet:
    """Draw how much of its latency targets each template uses."""
    row_px = _row_px(width_px)
    sheet = Sheet(width_px, AXIS_PX + row_px * len(groups) + 6, roles)
    scale = (width_px - 2 * EDGE_PX) / 1.1
    _percent_axis(sheet, scale, TARGET_SHARES, "target")
    for row, group in enumerate(groups):
        top = AXIS_PX + row_px * row
        look = looks[group.model_id]
        said = ", ".join(
            f"{name} {milliseconds(value)} of {milliseconds(target)}"
            for name, value, target, margin in _latencies(group)
            if margin is not None
        )
        _heading(sheet, top, f"{look.name}, {group.hardware}", said)
        middle = top + row_px - MARK_PX
        _track(sheet, middle, scale, TARGET_SHARES)
        for shape, (_name, _value, _target, margin) in zip("oD", _latencies(group), strict=True):
            if margin is not None:
                colour = look.colour if margin >= 0 else roles.bad
                sheet.mark(
                    EDGE_PX + scale * min(1.1, 1 - margin),
                    middle,
                    colour,
                    shape=shape,
                    filled=shape == "o",
                )
    return sheet


def _latencies(group: InstanceGroup) -> tuple[tuple[str, float, float, float | None], ...]:
    return (
        ("TTFT", group.ttft_s, group.ttft_target_s, group.ttft_margin),
        ("TPOT", group.tpot_s, group.tpot_target_s, group.tpot_margin),
    )


def capacity_plot(
    models: Sequence[ModelCost], looks: Mapping[str, ModelLook], roles: Roles, width_px: float
) -> Sheet:
    """Draw each model's planned capacity, with its error bar, against its demand.

    Every model must have a demand.
    """
    row_px = _row_px(width_px)
    sheet = Sheet(width_px, AXIS_PX + row_px * len(models) + 6, roles)
    scale = (width_px - 2 * EDGE_PX) / MOST_OF_DEMAND
    _percent_axis(sheet, scale, DEMAND_SHARES, "demand")
    for row, model in enumerate(models):
        top = AXIS_PX + row_px * row
        look = looks[model.model_id]
        low, high = model.capacity_low_req_per_s, model.capacity_high_req_per_s
        _heading(sheet, top, look.name, capacity_in_words(model))
        middle = top + row_px - MARK_PX

        def place(capacity: float, demand: float = model.demand_req_per_s) -> float:
            return EDGE_PX + scale * min(MOST_OF_DEMAND, capacity / demand)

        _track(sheet, middle, scale, DEMAND_SHARES)
        if low is not None and high is not None:
            sheet.line((place(low), place(high)), (middle, middle), width=3, colour=look.colour)
            for end in (low, high):
                x = place(end)
                sheet.line((x, x), (middle - 5, middle + 5), width=1.5, colour=look.colour)
        sheet.mark(
            place(model.capacity_req_per_s), middle, look.colour, shape="o", filled=low is not None
        )
    return sheet


def _row_px(width_px: float) -> float:
    return ROW_PX if width_px >= NARROW_PX else ROW_PX + LINE_PX


def _heading(sheet: Sheet, top: float, name: str, said: str) -> None:
    """Write a row's name, and its figures to the right of it or, on a narrow sheet, below it."""
    is_narrow = sheet.width_px < NARROW_PX
    room = sheet.width_px - 2 * EDGE_PX
    if not is_narrow:
        room -= text_width_px(said, SMALL_PX)
    sheet.text(EDGE_PX, top + 10, shortened(name, room))
    sheet.text(
        EDGE_PX if is_narrow else sheet.width_px - EDGE_PX,
        top + 10 + (LINE_PX if is_narrow else 0),
        said,
        colour=sheet.roles.muted,
        size_px=SMALL_PX,
        align="left" if is_narrow else "right",
    )


def _track(sheet: Sheet, y: float, scale: float, shares: Sequence[float]) -> None:
    """Draw the line that a row's marks stand on, with a tick at every share of the axis."""
    end = EDGE_PX + scale * shares[-1]
    sheet.line((EDGE_PX, end), (y, y), width=3, colour=sheet.roles.unopened)
    for share in shares:
        x = EDGE_PX + scale * share
        is_all = share == 1.0
        half = 9 if is_all else 5
        sheet.line((x, x), (y - half, y + half), colour=sheet.roles.muted if is_all else None)


def capacity_in_words(model: ModelCost) -> str:
    """Return a model's planned capacity with its error bar and its demand."""
    low, high = model.capacity_low_req_per_s, model.capacity_high_req_per_s
    bar = "no bar" if low is None or high is None else f"{number(low)} to {number(high)}"
    return f"{number(model.capacity_req_per_s)} req/s ({bar}) for {number(model.demand_req_per_s)}"


def _percent_axis(sheet: Sheet, scale: float, shares: Sequence[float], name_of_all: str) -> None:
    """Write the shares over the rows, on a narrow sheet every other; 100 % is named."""
    for share in shares[:: 2 if sheet.width_px < NARROW_PX else 1]:
        x = EDGE_PX + scale * share
        is_all = share == 1.0
        align = "left" if share == 0 else "right" if x > sheet.width_px - 40 else "center"
        sheet.text(
            x,
            10,
            f"{name_of_all} {percent(share)}" if is_all else percent(share),
            colour=sheet.roles.ink if is_all else sheet.roles.muted,
            size_px=SMALL_PX,
            align=align,
        )
