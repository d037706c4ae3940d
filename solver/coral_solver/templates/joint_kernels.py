"""Compiled search over the ``vllm`` placements of multisets of node configurations.

One stage is one node, and all stages share one operating point; what is left to choose is the
point, which nodes hold the embedding and the head, and the layers. Ties: the lowest operating
point, then the lowest first, then the lowest last configuration.

docs/model-templates.md shows why the search is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import types

from coral_solver.performance.compiled import compiled_as
from coral_solver.templates.compiled import BOUND_SLACK, FIRST, LAST, MIDDLE, ONLY, part

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float64]
    CapacityAbove = Callable[[int, FloatArray, FloatArray, float, float, float], float]

CAPACITY_TYPE = types.FunctionType(
    types.float64(
        types.int64,
        types.float64[::1],
        types.float64[::1],
        types.float64,
        types.float64,
        types.float64,
    )
)
"""(stages, point parameters, request parameters, tau_s, stretch, floor) -> requests per second."""


@part
def relaxed_step_s(layer_s: FloatArray, extra_s: FloatArray, num_layers: int) -> float:
    """Return the step time at which stages could hold all layers, if layers were divisible.

    No split of whole layers can be faster. ``layer_s`` and ``extra_s`` have one entry per stage.
    """
    speed = 0.0
    offset = 0.0
    for stage in range(layer_s.size):
        if layer_s[stage] <= 0.0:
            return 0.0
        speed += 1.0 / layer_s[stage]
        offset += extra_s[stage] / layer_s[stage]
    return max(0.0, (num_layers + offset) / speed)


@part
def fill_shortest(
    layer_s: FloatArray, extra_s: FloatArray, caps: IntArray, num_layers: int, layers: IntArray
) -> float:
    """Split the layers so that the longest step is as short as it can be.

    Each next layer goes to the stage whose step is the shortest with it, the first among equals.

    Parameters
    ----------
    layer_s, extra_s, caps
        Per stage, first to last: time of one layer, time beside the layers, most layers.
    num_layers
        Layers to place.
    layers
        Layers of each stage; written.

    Returns
    -------
    float
        Longest step in seconds; infinity if the caps cannot hold the layers.
    """
    stages = layer_s.size
    room = 0
    for stage in range(stages):
        if caps[stage] < 1:
            return np.inf
        room += caps[stage]
    if room < num_layers or stages > num_layers:
        return np.inf

    # Start just below the relaxed level: those layers are in the split anyway. Only where a stage
    # is above the level with its one layer, the others may hold too many there: start from one.
    level_s = relaxed_step_s(layer_s, extra_s, num_layers)
    missing = num_layers
    for stage in range(stages):
        layers[stage] = 1
        if level_s > 0.0:
            sure = int((level_s - extra_s[stage]) / layer_s[stage]) - 1
            layers[stage] = max(1, min(sure, caps[stage]))
        missing -= layers[stage]
    if missing < 0:
        missing = num_layers - stages
        for stage in range(stages):
            layers[stage] = 1
    for _ in range(missing):
        chosen = -1
        shortest_s = np.inf
        for stage in range(stages):
            step_s = (layers[stage] + 1) * layer_s[stage] + extra_s[stage]
            if layers[stage] < caps[stage] and step_s < shortest_s:
                chosen = stage
                shortest_s = step_s
        layers[chosen] += 1
    tau_s = 0.0
    for stage in range(stages):
        tau_s = max(tau_s, layers[stage] * layer_s[stage] + extra_s[stage])
    return tau_s


@part
def best_at_point(
    capacity_above: CapacityAbove,
    layer_s: FloatArray,
    extra_s: FloatArray,
    stretch: FloatArray,
    max_layers: IntArray,
    point_params: FloatArray,
    request_params: FloatArray,
    nodes: IntArray,
    num_layers: int,
    best: float,
    out_nodes: IntArray,
    out_layers: IntArray,
) -> float:
    """Find the first and the last stage, and the layers, that beat ``best`` at one point.

    Parameters
    ----------
    capacity_above
        As in ``search_joint``.
    layer_s, extra_s, stretch, max_layers
        Shapes (C,), (4, C), (4, C), (4, C): the tables at the point, for this number of stages.
    point_params, request_params
        Passed to ``capacity_above``.
    nodes
        Sorted configurations.
    num_layers
        Layers of the model.
    best
        Rate to beat.
    out_nodes, out_layers
        Configuration and layers of each stage, first to last; written if the result is better.

    Returns
    -------
    float
        The best rate; ``best`` itself if nothing beats it.
    """
    size = nodes.size
    slopes = np.empty(size)
    offsets = np.empty(size)
    caps = np.empty(size, dtype=np.int64)
    layers = np.empty(size, dtype=np.int64)

    # An optimistic pipeline: every stage in its best role, layers divisible.
    least_stretch = 0.0
    for stage in range(size):
        config = nodes[stage]
        slopes[stage] = layer_s[config]
        if size == 1:
            offsets[stage] = extra_s[ONLY, config]
            least_stretch = stretch[ONLY, config]
        else:
            offsets[stage] = min(
                extra_s[FIRST, config], extra_s[MIDDLE, config], extra_s[LAST, config]
            )
            least = min(stretch[FIRST, config], stretch[MIDDLE, config], stretch[LAST, config])
            least_stretch = max(least_stretch, least)
    least_tau_s = relaxed_step_s(slopes, offsets, num_layers) * (1.0 - BOUND_SLACK)
    if (
        not capacity_above(size, point_params, request_params, least_tau_s, least_stretch, best)
        > best
    ):
        return best

    for first in range(size):
        if first > 0 and nodes[first] == nodes[first - 1]:
            continue
        for last in range(size):
            if first == last and size > 1:
                continue
            if last > 0 and nodes[last] == nodes[last - 1] and last - 1 != first:
                continue
            middle = 1
            largest_stretch = 0.0
            for node in range(size):
                role, stage = MIDDLE, middle
                if size == 1:
                    role, stage = ONLY, 0
                elif node == first:
                    role, stage = FIRST, 0
                elif node == last:
                    role, stage = LAST, size - 1
                else:
                    middle += 1
                config = nodes[node]
                slopes[stage] = layer_s[config]
                offsets[stage] = extra_s[role, config]
                caps[stage] = max_layers[role, config]
                largest_stretch = max(largest_stretch, stretch[role, config])
            tau_s = fill_shortest(slopes, offsets, caps, num_layers, layers)
            if tau_s == np.inf:
                continue
            rate = capacity_above(size, point_params, request_params, tau_s, largest_stretch, best)
            if rate > best:
                best = rate
                middle = 1
                for node in range(size):
                    if node == first:
                        out_nodes[0] = nodes[node]
                    elif node == last:
                        out_nodes[size - 1] = nodes[node]
                    else:
                        out_nodes[middle] = nodes[node]
                        middle += 1
                for stage in range(size):
                    out_layers[stage] = layers[stage]
    return best


@compiled_as(
    types.void(
        types.int64[:, ::1],
        types.float64[::1],
        CAPACITY_TYPE,
        types.float64[:, ::1],
        types.float64[:, :, ::1],
        types.float64[:, :, ::1],
        types.int64[:, :, ::1],
        types.float64[:, ::1],
        types.float64[::1],
        types.int64,
        types.float64[::1],
        types.int64[:, ::1],
        types.int64[:, ::1],
        types.int64[::1],
    )
)
def search_joint(
    multisets: IntArray,
    to_beat: FloatArray,
    capacity_above: CapacityAbove,
    layer_s: FloatArray,
    extra_s: FloatArray,
    stretch: FloatArray,
    max_layers: IntArray,
    point_params: FloatArray,
    request_params: FloatArray,
    num_layers: int,
    out_rate: FloatArray,
    out_nodes: IntArray,
    out_layers: IntArray,
    out_point: IntArray,
) -> None:
    """Find the best ``vllm`` placement of each multiset, where it beats a given rate.

    Parameters
    ----------
    multisets
        Shape (K, n): sorted configurations.
    to_beat
        Shape (K,): rates that a placement must exceed to be of use.
    capacity_above
        Rate of (stages, point parameters, request parameters, longest step in seconds, largest
        stretch, floor), or 0 if it does not exceed the floor; never rises with step and stretch.
        It is called through its address, not compiled in, so that the cached kernel cannot hold
        an old version of it.
    layer_s, extra_s, stretch, max_layers
        Shapes (P, C), (P, 4, C) three times: ``JointTables`` for pipelines of n stages.
    point_params, request_params
        As in ``JointTables``.
    num_layers
        Layers of the model.
    out_rate
        Shape (K,): rate of the best placement, or ``to_beat`` if none exceeds it; written.
    out_nodes, out_layers, out_point
        Shapes (K, n), (K, n), (K,): configuration and layers of each stage, operating point;
        written where ``to_beat`` is exceeded.
    """
    for row in range(multisets.shape[0]):
        best = to_beat[row]
        for point in range(point_params.shape[0]):
            better = best_at_point(
                capacity_above,
                layer_s[point],
                extra_s[point],
                stretch[point],
                max_layers[point],
                point_params[point],
                request_params,
                multisets[row],
                num_layers,
                best,
                out_nodes[row],
                out_layers[row],
            )
            if better > best:
                best = better
                out_point[row] = point
        out_rate[row] = best
