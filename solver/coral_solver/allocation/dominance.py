"""Which templates an optimal plan can do without, whatever the prices and the free GPUs are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_SPLIT_NODES = 8  # pair covers cost 2^(n-1) look-ups a template


def undominated(counts: NDArray[np.int64], capacity: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the templates that are not covered by one or two others on the same GPUs.

    A template is dropped if another takes a subset of its node configurations and carries at
    least as much, or if two others together do. What replaces it needs no GPU that it does not
    need, so any plan can be rewritten without it at no higher cost.

    Parameters
    ----------
    counts
        Shape (N, C): how many of each node configuration each template takes.
    capacity
        Shape (N,): what each template carries.

    Returns
    -------
    NDArray[np.int64]
        Indices of the templates to keep, ascending. Of equal ones the first is kept.
    """
    if len(counts) == 0:
        return np.empty(0, dtype=np.int64)
    vectors = counts.astype(np.uint64)
    index = _MultisetIndex(vectors)
    own = index.find_keys(index.keys_of(vectors))
    best = np.full(len(index.keys), -np.inf)
    np.maximum.at(best, own, capacity)
    inherited = np.full(len(index.keys), -np.inf)  # the best on a strict subset
    for level in index.by_size:
        for config in range(counts.shape[1]):
            rows = level[index.vectors[level, config] > 0]
            smaller = index.find_keys(index.keys[rows] - index.hashes[config])
            np.maximum.at(inherited, rows, np.maximum(best[smaller], inherited[smaller]))
    closed = np.maximum(best, inherited)

    slack = 1.0 - 1e-12
    alive = (capacity >= best[own] * slack) & (inherited[own] < capacity * slack)
    # Of several templates on the same configurations the first of the best stays.
    order = np.lexsort((np.arange(len(own)), -capacity, own))
    first = np.ones(len(order), dtype=bool)
    first[1:] = own[order][1:] != own[order][:-1]
    alive[order[~first]] = False

    candidates = np.flatnonzero(alive)
    covered = index.best_pair(vectors[candidates], closed) >= capacity[candidates] * slack
    kept: NDArray[np.int64] = candidates[~covered]
    return kept


class _MultisetIndex:
    """Every sub-multiset of some multisets, found by a sum of hashes.

    The key of a multiset is the sum of its elements' hashes modulo 2^64, so that the key of a
    difference is a difference of keys. A second, independent hash shows when two sub-multisets
    share a key; other hashes are drawn then.
    """

    def __init__(self, counts: NDArray[np.uint64]) -> None:
        seed = 0
        while True:
            rng = np.random.default_rng(seed)
            self.hashes, check = rng.integers(0, 2**64, (2, counts.shape[1]), dtype=np.uint64)
            self.vectors = _sub_multisets(counts, self.hashes)
            self.keys = self.keys_of(self.vectors)
            if len(np.unique(_sub_multisets(counts, check) @ check)) == len(self.keys):
                break
            seed += 1
        sizes = self.vectors.sum(axis=1)
        self.by_size = [np.flatnonzero(sizes == n) for n in range(1, int(sizes.max()) + 1)]
        self._order = np.argsort(self.keys)
        self._sorted = self.keys[self._order]

    def keys_of(self, vectors: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the keys of count vectors."""
        keys: NDArray[np.uint64] = vectors @ self.hashes
        return keys

    def find_keys(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of each key; every key is one of the index."""
        rows: NDArray[np.int64] = self._order[np.searchsorted(self._sorted, keys)]
        return rows

    def best_pair(
        self, counts: NDArray[np.uint64], closed: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the best sum of two values over all splits of each multiset in two parts."""
        best = np.full(len(counts), -np.inf)
        sizes = counts.sum(axis=1).astype(np.int64)
        for size in range(2, min(_MOST_SPLIT_NODES, int(sizes.max(initial=0))) + 1):
            rows = np.flatnonzero(sizes == size)
            elements = np.repeat(
                np.tile(self.hashes, len(rows)), counts[rows].ravel().astype(np.int64)
            ).reshape(len(rows), size)
            total = elements.sum(axis=1, dtype=np.uint64)
            # The last element stays in the other part: each split is seen once.
            for mask in range(1, 1 << (size - 1)):
                chosen = [i for i in range(size) if mask >> i & 1]
                part = elements[:, chosen].sum(axis=1, dtype=np.uint64)
                value = closed[self.find_keys(part)] + closed[self.find_keys(total - part)]
                best[rows] = np.maximum(best[rows], value)
        return best


def _sub_multisets(counts: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return every sub-multiset of the rows, the empty one included, one for each hash sum."""
    sizes = counts.sum(axis=1)
    layers = []
    current = counts[:0]
    for size in range(int(sizes.max()), -1, -1):
        layer = np.vstack([current, counts[sizes == size]])
        layer = layer[np.unique(layer @ hashes, return_index=True)[1]]
        layers.append(layer)
        smaller = [current[:0]]
        for config in range(counts.shape[1]):
            less = layer[layer[:, config] > 0]
            less[:, config] -= np.uint64(1)
            smaller.append(less)
        current = np.vstack(smaller)
    return np.vstack(layers)
