"""The numbering of multisets, and the partitions of a multiset into stages."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement
from math import comb

import numpy as np
import pytest

from coral_solver.templates.multiset_kernels import best_split, list_multisets
from coral_solver.templates.multisets import (
    multiset_at,
    multiset_count,
    sequence_counts,
    total_multisets,
)
from coral_solver.templates.partitions import partition_table


@pytest.mark.parametrize(("size", "num_configs"), [(1, 1), (1, 5), (3, 1), (4, 3), (6, 4)])
def test_multisets_are_listed_in_lexicographic_order(size, num_configs):
    expected = list(combinations_with_replacement(range(num_configs), size))
    counts = sequence_counts(size, num_configs)
    listed = np.empty((len(expected), size), dtype=np.int64)

    list_multisets(np.zeros(size, dtype=np.int64), num_configs, listed)

    assert [tuple(row) for row in listed.tolist()] == expected
    assert multiset_count(size, num_configs) == len(expected)
    assert [tuple(multiset_at(r, size, counts)) for r in range(len(expected))] == expected


def test_the_papers_extended_setup_has_230229_multisets():
    # 20 configurations, 1 to 6 nodes: C(26, 6) - 1, the empty multiset left out.
    assert total_multisets(20, 6) == comb(26, 6) - 1 == 230229


def test_a_split_is_worth_the_best_two_parts():
    rng = np.random.default_rng(0)
    smaller = [
        list(combinations_with_replacement(range(4), size)) if size else [] for size in range(4)
    ]
    start = np.cumsum([0, *(len(multisets) for multisets in smaller)])
    best = rng.random(start[-1])
    worth = dict(zip([nodes for group in smaller for nodes in group], best, strict=True))
    here = list(combinations_with_replacement(range(4), 4))
    out = np.empty(len(here))

    best_split(np.array(here), sequence_counts(4, 4), best, start, out)

    for nodes, found in zip(here, out, strict=True):
        sums = []
        for size in (1, 2, 3):
            for chosen in combinations(range(4), size):
                part = tuple(nodes[k] for k in chosen)
                rest = tuple(nodes[k] for k in range(4) if k not in chosen)
                sums.append(worth[part] + worth[rest])
        assert found == max(sums)


def test_a_single_node_has_no_parts():
    out = np.full(3, -1.0)
    best_split(np.array([[0], [1], [2]]), sequence_counts(1, 3), np.zeros(1), np.zeros(1, int), out)
    assert out.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("size", range(1, 7))
def test_partitions_cover_every_node_once(size):
    table = partition_table(size)
    for row in table.masks.tolist():
        blocks = [mask for mask in row if mask]
        assert sum(blocks) == (1 << size) - 1
        assert all(a & b == 0 for i, a in enumerate(blocks) for b in blocks[:i])


def rows_by_blocks(size, pattern):
    start = partition_table(size).start[pattern]
    return [int(start[k + 1] - start[k]) for k in range(1, size + 1)]


def test_different_nodes_have_as_many_partitions_as_stirling_says():
    # Stirling numbers of the second kind S(6, 1..6); their sum is Bell(6) = 203.
    assert rows_by_blocks(6, pattern=0) == [1, 31, 90, 65, 15, 1]


def test_equal_nodes_have_one_partition_for_each_way_to_write_their_number_as_a_sum():
    # 6 = 6 | 5+1 4+2 3+3 | 4+1+1 3+2+1 2+2+2 | 3+1+1+1 2+2+1+1 | 2+1+1+1+1 | 1+1+1+1+1+1
    assert rows_by_blocks(6, pattern=0b11111) == [1, 3, 3, 2, 1, 1]


def test_two_equal_and_one_other_node_have_four_partitions():
    # a a b: {aab} | {aa}{b} {ab}{a} | {a}{a}{b}
    assert rows_by_blocks(3, pattern=0b01) == [1, 2, 1]
