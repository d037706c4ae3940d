"""The colours of a report: one for each model throughout, and a few with a meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODEL_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#7a6fb8",
    "#8b949e",
)
"""Okabe and Ito, "Color Universal Design" (2008): told apart with every kind of colour vision.

Their yellow and black vanish on one of the two backgrounds; a violet and a grey stand in for them.
"""

HATCH = "////"
"""Models beyond the last colour begin again, hatched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Colours by what they are for.

    Attributes
    ----------
    ink, muted
        Text, and text that comes second.
    line
        Axes, grids, outlines.
    faint
        Points that form a backdrop.
    idle, unopened
        GPUs that nobody uses; GPUs that could be had.
    surface
        Background.
    good, bad
        What meets its target, and what does not.
    """

    ink: str
    muted: str
    line: str
    faint: str
    idle: str
    unopened: str
    surface: str
    good: str
    bad: str


LIGHT = Roles(
    ink="#1b2330",
    muted="#586374",
    line="#c9d0d9",
    faint="#b3bdc9",
    idle="#dde2e8",
    unopened="#f0f2f5",
    surface="#ffffff",
    good="#1f5fa8",
    bad="#b3261e",
)
DARK = Roles(
    ink="#e8ecf1",
    muted="#a5b0be",
    line="#414b59",
    faint="#566273",
    idle="#39424f",
    unopened="#262d37",
    surface="#171c23",
    good="#79b4f2",
    bad="#ff8a80",
)
STAND_INS = Roles(
    ink="#fe0100",
    muted="#fe0200",
    line="#fe0300",
    faint="#fe0400",
    idle="#fe0500",
    unopened="#fe0600",
    surface="#fe0700",
    good="#fe0800",
    bad="#fe0900",
)
"""Drawn with these, an SVG can have them replaced by the variables of the page's style sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLook:
    """How one model looks in every plot.

    Attributes
    ----------
    name
        Name in plots.
    colour
        Fill.
    hatch
        matplotlib's hatch; empty for none.
    """

    name: str
    colour: str
    hatch: str = ""

    @property
    def text_colour(self) -> str:
        """Black or white, whichever is easier to read on the fill (WCAG 2.2 contrast ratio)."""
        luminance = relative_luminance(self.colour)
        return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def model_looks(names: Mapping[str, str]) -> dict[str, ModelLook]:
    """Give every model its look, in the order of the ids.

    Parameters
    ----------
    names
        Name in plots by model id.
    """
    ids: Sequence[str] = sorted(names)
    return {
        model_id: ModelLook(
            name=names[model_id],
            colour=MODEL_COLOURS[number % len(MODEL_COLOURS)],
            hatch=HATCH if number // len(MODEL_COLOURS) % 2 else "",
        )
        for number, model_id in enumerate(ids)
    }


def relative_luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
