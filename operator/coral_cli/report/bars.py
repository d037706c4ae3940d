"""Plots made of rows of bars: pools, cost, peers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_cli.report.numbers import number, percent, usd
from coral_cli.report.sheet import SMALL_PX, Sheet, shortened, text_width_px

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coral_cli.report.palette import ModelLook, Roles
    from coral_solver.report.figures import ModelCost, PoolUse
    from coral_solver.report.peers import PeerRow

EDGE_PX = 2.0
ROW_PX = 44.0
BAR_PX = 18.0
LEGEND_ROW_PX = 20.0
SWATCH_PX = 11.0
GUTTER_PX = 32.0
NARROW_PX = 520.0
"""Below this width columns of a plot come one under the other."""
COMMON_SCALE_UP_TO = 12.0
"""Pools whose sizes differ by more are each drawn in full width: small ones would vanish."""

PLAN_NAME = "this plan"


def pool_plot(
    pools: Sequence[PoolUse], looks: Mapping[str, ModelLook], roles: Roles, width_px: float
) -> Sheet:
    """Draw the GPUs of every pool: in use by model, idle, and not opened.

    Parameters
    ----------
    pools
        One row each.
    looks
        By model id.
    roles
        Colours by meaning.
    width_px
        Width of the sheet.
    """
    entries = _legend_entries(pools, looks, roles)
    legend_px = _legend_height(entries, width_px)
    sheet = Sheet(width_px, legend_px + ROW_PX * len(pools), roles)
    _draw_legend(sheet, entries)
    sizes = [pool.total_gpus for pool in pools if pool.total_gpus > 0]
    largest = max(sizes, default=1)
    has_common_scale = largest <= COMMON_SCALE_UP_TO * min(sizes, default=1)
    for row, pool in enumerate(pools):
        top = legend_px + ROW_PX * row
        said = f"{pool.used_gpus} of {pool.total_gpus} GPUs used"
        _heading(sheet, top, 0.0, width_px, pool.pool, said)
        full = largest if has_common_scale else pool.total_gpus or 1
        scale = (width_px - 2 * EDGE_PX) / full
        x, y = EDGE_PX, top + 17
        for model_id, gpus in pool.used_by_model.items():
            look = looks[model_id]
            sheet.model_bar(x, y, gpus * scale, BAR_PX, look, f"{look.name} {gpus}")
            x += gpus * scale
        for gpus, colour in ((pool.idle_gpus, roles.idle), (pool.unopened_gpus, roles.unopened)):
            if gpus:
                sheet.bar(x, y, gpus * scale, BAR_PX, colour)
                x += gpus * scale
    return sheet


def _legend_entries(
    pools: Sequence[PoolUse], looks: Mapping[str, ModelLook], roles: Roles
) -> list[tuple[str, str, str]]:
    used = {model_id for pool in pools for model_id in pool.used_by_model}
    entries = [
        (look.name, look.colour, look.hatch) for id_, look in sorted(looks.items()) if id_ in used
    ]
    if any(pool.idle_gpus for pool in pools):
        entries.append(("free", roles.idle, ""))
    if any(pool.unopened_gpus for pool in pools):
        entries.append(("not opened", roles.unopened, ""))
    return entries


def _legend_places(
    entries: Sequence[tuple[str, str, str]], width_px: float
) -> list[tuple[float, int]]:
    """Return (x, row) of every entry, laid out like words in a paragraph."""
    places, x, row = [], EDGE_PX, 0
    for name, _colour, _hatch in entries:
        needed = SWATCH_PX + 6 + text_width_px(name) + 14
        if x > EDGE_PX and x + needed > width_px:
            x, row = EDGE_PX, row + 1
        places.append((x, row))
        x += needed
    return places


def _legend_height(entries: Sequence[tuple[str, str, str]], width_px: float) -> float:
    places = _legend_places(entries, width_px)
    return (places[-1][1] + 1) * LEGEND_ROW_PX + 6 if places else 0.0


def _draw_legend(sheet: Sheet, entries: Sequence[tuple[str, str, str]]) -> None:
    for (name, colour, hatch), (x, row) in zip(
        entries, _legend_places(entries, sheet.width_px), strict=True
    ):
        middle = LEGEND_ROW_PX * (row + 0.5)
        sheet.bar(x, middle - SWATCH_PX / 2, SWATCH_PX, SWATCH_PX, colour, hatch)
        sheet.text(x + SWATCH_PX + 6, middle, name, colour=sheet.roles.muted)


def _heading(sheet: Sheet, top: float, left: float, width: float, name: str, said: str) -> None:
    """Write a row's name to the left and its figures to the right."""
    room = width - text_width_px(said) - 10
    sheet.text(left + EDGE_PX, top + 8, shortened(name, room))
    sheet.text(left + width - EDGE_PX, top + 8, said, colour=sheet.roles.muted, align="right")


def cost_plot(
    models: Sequence[ModelCost], looks: Mapping[str, ModelLook], roles: Roles, width_px: float
) -> Sheet:
    """Draw each model's rent per hour beside what a million of its tokens costs."""
    shown = sorted(models, key=lambda model: (-model.usd_per_hour, model.model_id))

    def per_million(model: ModelCost) -> str:
        price = model.usd_per_million_tokens
        return "nothing served" if price is None else f"{usd(price)} USD"

    return _columns(
        [
            _Column(
                title="Rent, USD per hour",
                values=[model.usd_per_hour for model in shown],
                said=[f"{usd(model.usd_per_hour)} USD/h" for model in shown],
            ),
            _Column(
                title="USD per million tokens served, input and output",
                values=[model.usd_per_million_tokens or 0.0 for model in shown],
                said=[per_million(model) for model in shown],
            ),
        ],
        [looks[model.model_id].name for model in shown],
        lambda sheet, row, x, y, width: sheet.model_bar(
            x, y, width, BAR_PX, looks[shown[row].model_id]
        ),
        roles,
        width_px,
    )


def peer_plot(peers: Sequence[PeerRow], roles: Roles, width_px: float) -> Sheet:
    """Draw rent, and where any is unmet served demand, of the plan and its peers."""

    def rent(peer: PeerRow) -> str:
        text = f"{usd(peer.rent_usd_per_hour)} USD/h"
        if peer.name and peer.rent_ratio is not None:
            text += f" ({peer.rent_ratio:.2f}\N{MULTIPLICATION SIGN})"
        return text

    def name(peer: PeerRow) -> str:
        status = "" if peer.status == "OPTIMAL" else f", {peer.status.lower()}"
        return (peer.name.replace("_", " ") or PLAN_NAME) + status

    columns = [
        _Column(
            title="Rent, USD per hour",
            values=[peer.rent_usd_per_hour for peer in peers],
            said=[rent(peer) for peer in peers],
        )
    ]
    if any(peer.unmet_req_per_s > 0 for peer in peers):
        columns.append(
            _Column(
                title="Demand not served, req/s",
                values=[peer.unmet_req_per_s for peer in peers],
                said=[f"{number(peer.unmet_req_per_s)} req/s" for peer in peers],
            )
        )
        columns.append(
            _Column(
                title="What the worst-off model gets",
                values=[peer.least_served_share for peer in peers],
                said=[percent(peer.least_served_share, 1) for peer in peers],
                largest=1.0,
            )
        )

    def draw(sheet: Sheet, row: int, x: float, y: float, width: float) -> None:
        sheet.bar(x, y, width, BAR_PX, roles.good if row == 0 else roles.faint)

    return _columns(columns, [name(peer) for peer in peers], draw, roles, width_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One measure of several things.

    Attributes
    ----------
    title
        Measure and unit.
    values
        Lengths of the bars.
    said
        What stands over each bar.
    largest
        Value of a bar of full length; None: the largest of the values.
    """

    title: str
    values: Sequence[float]
    said: Sequence[str]
    largest: float | None = None

    @property
    def full(self) -> float:
        """Value of a bar of full length; never 0."""
        return self.largest or max(self.values, default=0.0) or 1.0


def _columns(
    columns: Sequence[_Column],
    names: Sequence[str],
    draw: Callable[[Sheet, int, float, float, float], None],
    roles: Roles,
    width_px: float,
) -> Sheet:
    """Draw columns of bars side by side, or one under the other on a narrow sheet.

    ``draw`` takes the sheet, the row, and x, y and width of its bar.
    """
    height = LEGEND_ROW_PX + 6 + ROW_PX * len(names)
    is_narrow = width_px < NARROW_PX * len(columns) / 2
    across, down = (1, len(columns)) if is_narrow else (len(columns), 1)
    sheet = Sheet(width_px, height * down, roles)
    width = (width_px - GUTTER_PX * (across - 1)) / across
    for place, column in enumerate(columns):
        left = 0.0 if is_narrow else place * (width + GUTTER_PX)
        top = place * height if is_narrow else 0.0
        sheet.text(left + EDGE_PX, top + 9, column.title, bold=True, size_px=SMALL_PX)
        for row, (name, value) in enumerate(zip(names, column.values, strict=True)):
            row_top = top + LEGEND_ROW_PX + 6 + ROW_PX * row
            _heading(sheet, row_top, left, width, name, column.said[row])
            length = (width - 2 * EDGE_PX) * value / column.full
            sheet.bar(left + EDGE_PX, row_top + 17, width - 2 * EDGE_PX, BAR_PX, roles.unopened)
            if length > 0:
                draw(sheet, row, left + EDGE_PX, row_top + 17, length)
    return sheet
