"""Set partitions of a multiset of nodes into stages, as bit masks that the kernels can scan."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_NODES = 6
"""Most node configurations of one template: Bell(6) = 203 partitions, 63 masks."""


class PartitionTable(NamedTuple):
    """Every way to split ``size`` sorted nodes into stages, up to exchanging equal nodes.

    Which of the sorted nodes are equal is given by a *pattern*: bit ``i`` is set if node ``i + 1``
    has the same configuration as node ``i``.

    Attributes
    ----------
    masks
        Shape (R, MAX_NODES): one partition a row; entry ``k`` is the bit mask of the nodes of
        block ``k``, 0 beyond the last block. Blocks are sorted by their lowest node.
    start
        Shape (2 ** (size - 1), size + 2): the partitions of a pattern into ``k`` blocks are the
        rows ``start[pattern, k]`` to ``start[pattern, k + 1]``.
    """

    masks: NDArray[np.int64]
    start: NDArray[np.int64]


@lru_cache(maxsize=MAX_NODES)
def partition_table(size: int) -> PartitionTable:
    """Return the partitions of ``size`` nodes.

    Parameters
    ----------
    size
        Number of nodes, 1 to ``MAX_NODES``.

    Returns
    -------
    PartitionTable
        Partitions that differ only by exchanging equal nodes are listed once.
    """
    by_blocks: dict[int, list[tuple[int, ...]]] = {k: [] for k in range(1, size + 1)}
    for blocks in _set_partitions(size):
        by_blocks[len(blocks)].append(blocks)

    rows: list[tuple[int, ...]] = []
    start = np.zeros((1 << (size - 1), size + 2), dtype=np.int64)
    for pattern in range(1 << (size - 1)):
        kinds = [0]
        for node in range(1, size):
            kinds.append(kinds[-1] + (0 if pattern >> (node - 1) & 1 else 1))
        start[pattern, :2] = len(rows)
        for k in range(1, size + 1):
            seen: set[tuple[tuple[int, ...], ...]] = set()
            for blocks in by_blocks[k]:
                contents = tuple(
                    sorted(
                        tuple(kinds[node] for node in range(size) if mask >> node & 1)
                        for mask in blocks
                    )
                )
                if contents not in seen:
                    seen.add(contents)
                    rows.append(blocks + (0,) * (MAX_NODES - k))
            start[pattern, k + 1] = len(rows)
    return PartitionTable(np.array(rows, dtype=np.int64), start)


def _set_partitions(size: int) -> Iterator[tuple[int, ...]]:
    """Yield every set partition of ``range(size)`` as block masks, in a fixed order."""

    def place(node: int, blocks: list[int]) -> Iterator[tuple[int, ...]]:
        if node == size:
            yield tuple(blocks)
            return
        for k in range(len(blocks)):
            blocks[k] |= 1 << node
            yield from place(node + 1, blocks)
            blocks[k] ^= 1 << node
        blocks.append(1 << node)
        yield from place(node + 1, blocks)
        blocks.pop()

    yield from place(0, [])
