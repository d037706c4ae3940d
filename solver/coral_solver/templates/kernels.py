"""Compiled search over the ``paper`` placements of multisets of node configurations.

Comparisons between rates are strict and use sums in one fixed order (nodes ascending), so the
results do not depend on what else is searched. Ties: the fewest stages, then the first partition
in the order of ``partitions.partition_table``, then the lowest first and last stage.

docs/model-templates.md shows why the search is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import types

from coral_solver.performance.compiled import compiled_as
from coral_solver.templates.compiled import BOUND_SLACK, FIRST, LAST, MIDDLE, ONLY, part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float64]


@part
def stage_rate(rates: FloatArray, nodes: IntArray, mask: int, layers: int) -> float:
    """Return the rate of a stage: the sum over its nodes. ``rates`` has shape (C, L + 1)."""
    total = 0.0
    for node in range(nodes.size):
        if mask >> node & 1:
            total += rates[nodes[node], layers]
    return total


@part
def most_layers(
    rates: FloatArray, nodes: IntArray, mask: int, threshold: float, longest: int
) -> int:
    """Return the most layers, up to ``longest``, with which a stage is faster than a threshold."""
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if stage_rate(rates, nodes, mask, middle) > threshold:
            low = middle
        else:
            high = middle - 1
    return low


@part
def fill_layers(
    rates: FloatArray, nodes: IntArray, pipeline: IntArray, layers: IntArray, excess: int
) -> float:
    """Take layers away where the pipeline is slowest, until none is too many.

    ``layers`` must hold, for each stage, all the layers with which it stays above some threshold
    that the pipeline can beat; then what is left is the split with the fastest slowest stage: it
    is the greedy fill read backwards. Among equally slow stages the last one gives up a layer; a
    stage keeps at least one.

    Parameters
    ----------
    rates
        Shape (4, C, L + 1), for this number of stages.
    nodes, pipeline
        Sorted configurations; masks of the stages, first to last.
    layers
        Layers of each stage; changed in place.
    excess
        How many layers to take away.

    Returns
    -------
    float
        Rate of the slowest stage.
    """
    stages = pipeline.size
    current = np.empty(stages)
    for stage in range(stages):
        role = FIRST if stage == 0 else (LAST if stage == stages - 1 else MIDDLE)
        current[stage] = stage_rate(rates[role], nodes, pipeline[stage], layers[stage])
    for _ in range(excess):
        slowest = -1
        for stage in range(stages):
            if layers[stage] > 1 and (slowest < 0 or current[stage] <= current[slowest]):
                slowest = stage
        layers[slowest] -= 1
        role = FIRST if slowest == 0 else (LAST if slowest == stages - 1 else MIDDLE)
        current[slowest] = stage_rate(rates[role], nodes, pipeline[slowest], layers[slowest])
    slowest_rate = float(current[0])
    for stage in range(1, stages):
        slowest_rate = min(slowest_rate, current[stage])
    return slowest_rate


@part
def best_roles(
    rates: FloatArray,
    nodes: IntArray,
    blocks: IntArray,
    num_layers: int,
    best: float,
    stage_of: IntArray,
    layers_of: IntArray,
) -> float:
    """Find the first and the last stage, and the layers, that beat ``best`` by the most.

    Parameters
    ----------
    rates
        Shape (4, C, L + 1), for this number of stages.
    nodes
        Sorted configurations.
    blocks
        Masks of the stages, in no order yet; at least two.
    num_layers
        Layers of the model.
    best
        Rate to beat.
    stage_of, layers_of
        Stage of each node, layers of each stage; written if the result is better.

    Returns
    -------
    float
        The best rate; ``best`` itself if nothing beats it.
    """
    stages = blocks.size
    longest = num_layers - stages + 1
    most = np.empty((3, stages), dtype=np.int64)
    pipeline = np.empty(stages, dtype=np.int64)
    layers = np.empty(stages, dtype=np.int64)
    counted_at = -1.0
    for first in range(stages):
        for last in range(stages):
            if first == last:
                continue
            if counted_at != best:
                for role in range(3):
                    for block in range(stages):
                        most[role, block] = most_layers(
                            rates[role], nodes, blocks[block], best, longest
                        )
                counted_at = best
            pipeline[0] = blocks[first]
            layers[0] = most[FIRST, first]
            pipeline[stages - 1] = blocks[last]
            layers[stages - 1] = most[LAST, last]
            stage = 1
            for block in range(stages):
                if block != first and block != last:
                    pipeline[stage] = blocks[block]
                    layers[stage] = most[MIDDLE, block]
                    stage += 1
            total = 0
            for stage in range(stages):
                if layers[stage] == 0:
                    total = 0
                    break
                total += layers[stage]
            if total < num_layers:
                continue
            best = fill_layers(rates, nodes, pipeline, layers, total - num_layers)
            for stage in range(nodes.size):
                layers_of[stage] = layers[stage] if stage < stages else 0
            for stage in range(stages):
                for node in range(nodes.size):
                    if pipeline[stage] >> node & 1:
                        stage_of[node] = stage
    return best


@part
def count_layers(
    fastest: FloatArray,
    nodes: IntArray,
    most_nodes: int,
    longest: int,
    threshold: float,
    sums: FloatArray,
    most: IntArray,
) -> None:
    """Count for every set of nodes the layers with which it is faster than a threshold.

    ``fastest`` (C, L + 1) holds the rates in the most favourable role, so the counts are upper
    bounds for each role. Sets of more than ``most_nodes`` nodes are left out. Summing whole rows,
    each from the set without its highest node, is faster than a search per set.
    """
    for mask in range(1, 1 << nodes.size):
        members = 0
        highest = 0
        for node in range(nodes.size):
            if mask >> node & 1:
                members += 1
                highest = node
        if members > most_nodes:
            continue
        rest = mask ^ (1 << highest)
        config = nodes[highest]
        count = 0
        if rest == 0:
            for layers in range(1, longest + 1):
                total = fastest[config, layers]
                sums[mask, layers] = total
                count += total > threshold
        else:
            for layers in range(1, longest + 1):
                total = sums[rest, layers] + fastest[config, layers]
                sums[mask, layers] = total
                count += total > threshold
        most[mask] = count


@part
def best_pipeline(
    rates: FloatArray,
    fastest: FloatArray,
    work: FloatArray,
    nodes: IntArray,
    masks: IntArray,
    start: IntArray,
    best: float,
    stage_of: IntArray,
    layers_of: IntArray,
    sums: FloatArray,
    most: IntArray,
) -> float:
    """Find the pipeline of two or more stages that beats ``best`` by the most.

    Parameters
    ----------
    rates, fastest, work
        As in ``search_separable``.
    nodes
        Sorted configurations.
    masks, start
        Partitions of the nodes; ``start`` is the row of their pattern.
    best
        Rate to beat.
    stage_of, layers_of
        Written if the result is better.
    sums, most
        Scratch of ``count_layers``.

    Returns
    -------
    float
        The best rate; ``best`` itself if nothing beats it.
    """
    size = nodes.size
    num_layers = rates.shape[3] - 1
    for stages in range(2, min(size, rates.shape[0], num_layers) + 1):
        # A node with j layers of a stage gives at most work = max j * rate(j); a pipeline at rate
        # T needs T for each of its layers.
        total_work = 0.0
        for node in range(size):
            total_work += work[stages - 1, nodes[node]]
        if total_work * (1.0 + BOUND_SLACK) <= best * num_layers:
            continue
        longest = num_layers - stages + 1
        most_nodes = size - stages + 1
        count_layers(fastest[stages - 1], nodes, most_nodes, longest, best, sums, most)
        for row in range(start[stages], start[stages + 1]):
            total = 0
            for block in range(stages):
                layers = most[masks[row, block]]
                if layers == 0:
                    total = 0
                    break
                total += layers
            if total < num_layers:
                continue
            better = best_roles(
                rates[stages - 1],
                nodes,
                masks[row, :stages],
                num_layers,
                best,
                stage_of,
                layers_of,
            )
            if better > best:
                best = better
                count_layers(fastest[stages - 1], nodes, most_nodes, longest, best, sums, most)
    return best


@compiled_as(
    types.void(
        types.int64[:, ::1],
        types.float64[::1],
        types.float64[:, :, :, ::1],
        types.float64[:, :, ::1],
        types.float64[:, ::1],
        types.int64[:, ::1],
        types.int64[:, ::1],
        types.float64[::1],
        types.int64[:, ::1],
        types.int64[:, ::1],
    )
)
def search_separable(
    multisets: IntArray,
    to_beat: FloatArray,
    rates: FloatArray,
    fastest: FloatArray,
    work: FloatArray,
    masks: IntArray,
    start: IntArray,
    out_rate: FloatArray,
    out_stages: IntArray,
    out_layers: IntArray,
) -> None:
    """Find the best ``paper`` placement of each multiset, where it beats a given rate.

    Parameters
    ----------
    multisets
        Shape (K, n): sorted configurations.
    to_beat
        Shape (K,): rates that a placement must exceed to be of use.
    rates
        Shape (S, 4, C, L + 1): ``SeparableTables.rate_req_per_s``.
    fastest
        Shape (S, C, L + 1): the largest of the rates as first, middle and last stage.
    work
        Shape (S, C): largest ``j * fastest[s, c, j]``.
    masks, start
        From ``partitions.partition_table(n)``.
    out_rate
        Shape (K,): rate of the best placement, or ``to_beat`` if none exceeds it; written.
    out_stages, out_layers
        Shape (K, n): stage of each node, layers of each stage; written where ``to_beat`` is
        exceeded.
    """
    size = multisets.shape[1]
    num_layers = rates.shape[3] - 1
    sums = np.empty((1 << size, num_layers + 1))
    most = np.zeros(1 << size, dtype=np.int64)
    for row in range(multisets.shape[0]):
        nodes = multisets[row]
        best = to_beat[row]
        one_stage = 0.0
        pattern = 0
        for node in range(size):
            one_stage += rates[0, ONLY, nodes[node], num_layers]
            if node > 0 and nodes[node] == nodes[node - 1]:
                pattern |= 1 << (node - 1)
        if one_stage > best:
            best = one_stage
            for node in range(size):
                out_stages[row, node] = 0
                out_layers[row, node] = num_layers if node == 0 else 0
        out_rate[row] = best_pipeline(
            rates,
            fastest,
            work,
            nodes,
            masks,
            start[pattern],
            best,
            out_stages[row],
            out_layers[row],
            sums,
            most,
        )
