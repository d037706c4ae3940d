"""Compiled listing of multisets, and the look-up of what they carry in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import types

from coral_solver.performance.compiled import compiled_as
from coral_solver.templates.compiled import part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float64]


@compiled_as(types.void(types.int64[::1], types.int64, types.int64[:, ::1]))
def list_multisets(first: IntArray, num_configs: int, out: IntArray) -> None:
    """Write consecutive multisets of one size.

    Parameters
    ----------
    first
        Shape (n,): the first multiset, sorted.
    num_configs
        Number of configurations, C.
    out
        Shape (K, n): the first multiset and the ``K - 1`` after it.
    """
    size = first.size
    for node in range(size):
        out[0, node] = first[node]
    for row in range(1, out.shape[0]):
        position = size - 1
        while position > 0 and out[row - 1, position] == num_configs - 1:
            position -= 1
        for node in range(size):
            from_node = min(node, position)
            out[row, node] = out[row - 1, from_node] + (1 if node >= position else 0)


@part
def rank_of(nodes: IntArray, chosen: int, counts: IntArray) -> int:
    """Return the rank of the nodes in a bit mask among the multisets of their number."""
    remaining = 0
    for node in range(nodes.size):
        remaining += chosen >> node & 1
    rank = 0
    previous = 0
    for node in range(nodes.size):
        if chosen >> node & 1:
            rank += counts[remaining, previous] - counts[remaining, nodes[node]]
            previous = nodes[node]
            remaining -= 1
    return rank


@compiled_as(
    types.void(
        types.int64[:, ::1],
        types.int64[:, ::1],
        types.float64[::1],
        types.int64[::1],
        types.float64[::1],
    )
)
def best_split(
    multisets: IntArray, counts: IntArray, best: FloatArray, start: IntArray, out: FloatArray
) -> None:
    """Look up the most that each multiset carries as two or more instances.

    Parameters
    ----------
    multisets
        Shape (K, n): sorted configurations.
    counts
        From ``multisets.sequence_counts``.
    best
        For every smaller multiset, by size and rank: the most that it carries as one instance *or
        as several*, so that cutting in two covers all ways to cut.
    start
        Shape (n,): where the multisets of each size begin in ``best``.
    out
        Shape (K,): the largest sum over the two parts of a cut; written. 0 for single nodes.
    """
    size = multisets.shape[1]
    everything = (1 << size) - 1
    members = np.zeros(1 << size, dtype=np.int64)
    for chosen in range(1, 1 << size):
        members[chosen] = members[chosen >> 1] + (chosen & 1)
    for row in range(multisets.shape[0]):
        largest = 0.0
        # The last node stays in the other part: each cut once.
        for chosen in range(1, 1 << (size - 1)):
            other = everything ^ chosen
            one = best[start[members[chosen]] + rank_of(multisets[row], chosen, counts)]
            two = best[start[members[other]] + rank_of(multisets[row], other, counts)]
            largest = max(largest, one + two)
        out[row] = largest
