"""A drawing area measured in pixels, and its two outputs: SVG for a page, PNG."""

from __future__ import annotations

import io
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from coral_cli.report.palette import STAND_INS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from coral_cli.report.palette import ModelLook, Roles

FONT_PX = 12.0
SMALL_PX = 11.0
CHARACTER_SHARE = 0.6
"""Mean width of a character over the font's size; a little more than most fonts have."""
PIXELS_PER_INCH = 72
PNG_SCALE = 2.0

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "coral",
    "hatch.linewidth": 1.4,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "path.simplify": False,
}


class Sheet:
    """A figure whose coordinates are pixels from the top left corner.

    Parameters
    ----------
    width_px, height_px
        Size.
    roles
        Colours by meaning.
    """

    def __init__(self, width_px: float, height_px: float, roles: Roles) -> None:
        self.width_px = width_px
        self.height_px = height_px
        self.roles = roles
        self.figure = Figure(
            figsize=(width_px / PIXELS_PER_INCH, height_px / PIXELS_PER_INCH), dpi=PIXELS_PER_INCH
        )
        self.figure.patch.set_facecolor(roles.surface)
        self._page = self.figure.add_axes((0, 0, 1, 1))
        self._page.set_axis_off()
        self._page.set_xlim(0, width_px)
        self._page.set_ylim(height_px, 0)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes of their own on a part of the sheet."""
        box = (
            left / self.width_px,
            1 - (top + height) / self.height_px,
            width / self.width_px,
            height / self.height_px,
        )
        return self.figure.add_axes(box)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: str | None = None,
        size_px: float = FONT_PX,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """Write one line; ``y`` is its middle."""
        self._page.text(
            x,
            y,
            text,
            color=colour or self.roles.ink,
            fontsize=size_px,
            fontweight="bold" if bold else "normal",
            ha=align,
            va="center_baseline",
        )

    def bar(
        self, x: float, y: float, width: float, height: float, colour: str, hatch: str = ""
    ) -> None:
        """Fill a rectangle; a gap of the surface's colour parts it from the next one."""
        self._page.add_patch(
            Rectangle(
                (x, y),
                width,
                height,
                facecolor=colour,
                edgecolor=self.roles.surface,
                hatch=hatch or None,
                linewidth=0.8,
            )
        )

    def model_bar(
        self, x: float, y: float, width: float, height: float, look: ModelLook, text: str = ""
    ) -> None:
        """Fill a rectangle with a model's look; the text is left out where it does not fit."""
        self.bar(x, y, width, height, look.colour, look.hatch)
        if text and not look.hatch and text_width_px(text, SMALL_PX) + 8 < width:
            self.text(
                x + width / 2,
                y + height / 2,
                text,
                colour=look.text_colour,
                size_px=SMALL_PX,
                align="center",
            )

    def line(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        colour: str | None = None,
        width: float = 1.0,
        dashed: bool = False,
    ) -> None:
        """Draw a line."""
        self._page.plot(
            x,
            y,
            color=colour or self.roles.line,
            linewidth=width,
            linestyle=(0, (4, 3)) if dashed else "-",
            solid_capstyle="butt",
        )

    def mark(self, x: float, y: float, colour: str, *, shape: str, filled: bool = True) -> None:
        """Draw a marker; ``shape`` is matplotlib's."""
        self._page.plot(
            [x],
            [y],
            marker=shape,
            markersize=8,
            markerfacecolor=colour if filled else self.roles.surface,
            markeredgecolor=colour,
            markeredgewidth=1.5,
            linestyle="none",
        )


def text_width_px(text: str, size_px: float = FONT_PX) -> float:
    """Return about how wide a line of text is."""
    return len(text) * size_px * CHARACTER_SHARE


def shortened(text: str, width_px: float, size_px: float = FONT_PX) -> str:
    """Return the text, cut in its middle to what fits."""
    most = max(5, int(width_px / (size_px * CHARACTER_SHARE)))
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - (most - 1 - head) :]}"


def settings() -> Any:  # noqa: ANN401 - matplotlib's own context manager
    """Return the context in which every plot is drawn and written."""
    return mpl.rc_context(_SETTINGS)


def svg_of(sheet: Sheet, *, key: str, title: str, description: str) -> Markup:
    """Return a sheet as an ``svg`` element for a page, the same for the same input.

    Parameters
    ----------
    sheet
        Drawn with ``STAND_INS``; each becomes ``var(--NAME)``.
    key
        Goes before every id, so that several of them can share a page.
    title, description
        What a screen reader says. Any text: both are escaped.
    """
    written = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    sheet.figure.savefig(written, format="svg", metadata=nothing)
    svg = written.getvalue()
    svg = re.sub(r"^.*?<svg[^>]*>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # The page's style sheet says this once; here it would reach all of the page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = svg.replace('href="#', f'href="#{key}-').replace("url(#", f"url(#{key}-")
    for name, colour in asdict(STAND_INS).items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(  # noqa: S704 - matplotlib escapes every text that it writes
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {sheet.width_px:g} {sheet.height_px:g}" role="img" '
        f'aria-labelledby="{key}-title {key}-description" style="max-width:{sheet.width_px:g}px">'
        f'<title id="{key}-title">{escape(title)}</title>'
        f'<desc id="{key}-description">{escape(description)}</desc>{svg}'
    )


def png_of(sheet: Sheet) -> bytes:
    """Return a sheet as a PNG file, without a date in it."""
    written = io.BytesIO()
    dpi = PIXELS_PER_INCH * PNG_SCALE
    sheet.figure.savefig(written, format="png", dpi=dpi, metadata={"Software": None})
    return written.getvalue()
