"""What it costs to reach a rate with several templates that were found already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import types

from coral_solver.performance.compiled import compiled_as
from coral_solver.templates.contents import SAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 1 << 13
"""Rates that mixed covers are kept for."""


class Covers:
    """The least cost of each rate, with any number of copies of some templates.

    Copies of one template are counted exactly. A mix of several is known for a grid of rates, with
    capacities rounded down: it can be bought, and is at most a little dearer than the best one.

    Parameters
    ----------
    enough_req_per_s
        Rates beyond it are of no interest; positive.
    """

    def __init__(self, enough_req_per_s: float) -> None:
        self._cell_req_per_s = enough_req_per_s / CELLS
        self._mixed = np.full(CELLS + 1, np.inf)
        self._mixed[0] = 0.0
        self._capacity = np.zeros(0)
        self._cost = np.zeros(0)

    def add(self, capacity_req_per_s: float, cost: float) -> None:
        """Let one more template be part of the covers; its cost may be zero."""
        self._capacity = np.append(self._capacity, capacity_req_per_s)
        self._cost = np.append(self._cost, cost)
        add_copies(self._mixed, int(min(capacity_req_per_s / self._cell_req_per_s, CELLS)), cost)

    def cost_of(self, rate_req_per_s: float) -> float:
        """Return what some cover of a rate costs; infinite if there is none."""
        cell = int(np.ceil(rate_req_per_s / self._cell_req_per_s))
        mixed = float(self._mixed[cell]) if cell <= CELLS else np.inf
        copies = np.ceil(rate_req_per_s / self._capacity)
        return min(mixed, float((copies * self._cost).min(initial=np.inf)))

    def reach(self, cost: float) -> float:
        """Return the highest rate that some cover of at most a cost carries."""
        top = cost * (1 + SAME)
        cells = int(np.searchsorted(self._mixed, top, side="right")) - 1
        if (self._cost == 0.0).any():
            return np.inf
        copies = np.floor(top / self._cost) * self._capacity
        return max(cells * self._cell_req_per_s, float(copies.max(initial=0.0)))


@compiled_as(types.void(types.float64[::1], types.int64, types.float64))
def add_copies(least: NDArray[np.float64], cells: int, cost: float) -> None:
    """Lower the least cost of each number of cells by copies of one more template.

    Parameters
    ----------
    least
        Shape (G + 1,), not falling; changed in place.
    cells, cost
        What one copy carries, rounded down, and its cost.
    """
    if cells == 0:
        return
    for reached in range(1, least.size):
        total = least[max(0, reached - cells)] + cost
        if total < least[reached]:
            least[reached] = total
