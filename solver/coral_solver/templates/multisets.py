"""Numbering of multisets: the n-element multisets of C configurations are 0, 1, 2, ...

A multiset is its sorted sequence of configuration indices; sequences are numbered in
lexicographic order. The numbers index the dense arrays that hold what smaller multisets reach.
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def multiset_count(size: int, num_configs: int) -> int:
    """Return how many multisets of ``size`` configurations there are."""
    return comb(num_configs + size - 1, size)


def total_multisets(num_configs: int, max_nodes: int) -> int:
    """Return how many multisets of 1 to ``max_nodes`` configurations there are."""
    return sum(multiset_count(size, num_configs) for size in range(1, max_nodes + 1))


def sequence_counts(max_size: int, num_configs: int) -> NDArray[np.int64]:
    """Count the sorted sequences that start at or above a configuration.

    Parameters
    ----------
    max_size
        Longest sequence.
    num_configs
        Number of configurations, C.

    Returns
    -------
    numpy.ndarray
        Shape (max_size + 1, C + 1): entry ``[m, v]`` is the number of sorted sequences of length
        ``m`` over the configurations ``v .. C - 1``. The rank of a sorted sequence ``c`` of length
        ``n`` is the sum over ``i`` of ``[n - i, c[i - 1]] - [n - i, c[i]]``, with ``c[-1] = 0``.
    """
    counts = np.zeros((max_size + 1, num_configs + 1), dtype=np.int64)
    for m in range(max_size + 1):
        for v in range(num_configs + 1):
            counts[m, v] = comb(num_configs - v + m - 1, m) if v < num_configs else int(m == 0)
    return counts


def multiset_at(rank: int, size: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sorted configuration indices of the multiset with a rank.

    Parameters
    ----------
    rank
        Number of the multiset.
    size
        Number of its elements.
    counts
        From ``sequence_counts``.

    Returns
    -------
    numpy.ndarray
        Shape (size,).
    """
    sequence = np.zeros(size, dtype=np.int64)
    lowest = 0
    for i in range(size):
        remaining = size - i - 1
        while rank >= counts[remaining, lowest]:
            rank -= int(counts[remaining, lowest])
            lowest += 1
        sequence[i] = lowest
    return sequence
