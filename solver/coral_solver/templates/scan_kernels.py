"""Compiled passes over the templates of a library: the cheapest ones, and the affordable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import types

from coral_solver.performance.compiled import compiled_as
from coral_solver.templates.compiled import part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    ByteArray = NDArray[np.uint8]
    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float64]


@part
def price_of(nodes: ByteArray, prices: FloatArray) -> float:
    """Return what some node configurations cost together, in their order."""
    total = 0.0
    for node in range(nodes.size):
        total += prices[nodes[node]]
    return total


@part
def fits(nodes: ByteArray, units: IntArray, slots: IntArray) -> bool:
    """Return whether what some node configurations use up is there."""
    for kind in range(slots.size):
        used = 0
        for node in range(nodes.size):
            used += units[nodes[node], kind]
        if used > slots[kind]:
            return False
    return True


@compiled_as(
    types.int64(
        types.uint8[:, ::1],
        types.float64[::1],
        types.float64[::1],
        types.int64[:, ::1],
        types.int64[::1],
        types.float64,
        types.int64[::1],
    )
)
def scan_staircase(
    nodes: ByteArray,
    capacity: FloatArray,
    prices: FloatArray,
    units: IntArray,
    slots: IntArray,
    enough: float,
    out: IntArray,
) -> int:
    """Find the templates that none with at least their capacity undercuts.

    Parameters
    ----------
    nodes
        Shape (N, n): node configurations of each template, filled up with C.
    capacity
        Shape (N,), descending.
    prices
        Shape (C + 1,): of each configuration, and 0; infinite where one alone does not fit.
    units, slots
        Shapes (C + 1, K), (K,): what a configuration uses up of some kind, and how much there is.
    enough
        Capacities above this are worth no more than this.
    out
        Shape (N,): rows of the templates, by descending capacity and cost; written.

    Returns
    -------
    int
        How many rows were written.
    """
    found = 0
    least = np.inf
    for row in range(capacity.size):
        cost = price_of(nodes[row], prices)
        if cost >= least or not fits(nodes[row], units, slots):
            continue
        least = cost
        # A cheaper one with the same use takes the place of the one before.
        if found > 0 and (capacity[row] >= enough or capacity[row] == capacity[out[found - 1]]):
            found -= 1
        out[found] = row
        found += 1
    return found


@compiled_as(
    types.int64(
        types.uint8[:, ::1],
        types.float64[::1],
        types.float64[::1],
        types.int64[:, ::1],
        types.int64[::1],
        types.float64[::1],
        types.float64[::1],
        types.int64[::1],
    )
)
def scan_within(
    nodes: ByteArray,
    capacity: FloatArray,
    prices: FloatArray,
    units: IntArray,
    slots: IntArray,
    allowed_at: FloatArray,
    allowed: FloatArray,
    out: IntArray,
) -> int:
    """Find the templates that cost no more than allowed.

    Parameters
    ----------
    nodes, capacity, prices, units, slots
        As in ``scan_staircase``.
    allowed_at, allowed
        Shape (K,): an ``Allowance``.
    out
        Rows of the templates; written.

    Returns
    -------
    int
        How many rows were written; -1 if there are more than ``out`` takes.
    """
    found = 0
    step = allowed.size - 1
    for row in range(capacity.size):
        while step > 0 and capacity[row] <= allowed_at[step - 1]:
            step -= 1
        cost = price_of(nodes[row], prices)
        if cost == np.inf or cost > allowed[step] or not fits(nodes[row], units, slots):
            continue
        if found == out.size:
            return -1
        out[found] = row
        found += 1
    return found
