"""Compiled search for pipelines whose stages are taken from lists of contents.

A content is what a stage can be made of at a given rate: its nodes, the layers that it holds and
its cost. There are three lists, for the first, the middle and the last stages.
"""

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

CONTENTS = (types.int64[::1], types.int64[::1], types.float64[::1])
"""Sizes, layers and costs of a list of contents."""


@part
def add_stage(
    before: FloatArray, size: IntArray, layers: IntArray, cost: FloatArray, after: FloatArray
) -> None:
    """Add one more stage to the least cost by nodes and layers.

    Parameters
    ----------
    before
        Shape (N + 1, L + 1): least cost with at most so many nodes of at least so many layers.
    size, layers, cost
        Shape (K,): the contents to choose from.
    after
        As ``before``, with the stage; written.
    """
    after[:] = np.inf
    num_layers = before.shape[1] - 1
    for k in range(cost.size):
        for nodes in range(size[k], before.shape[0]):
            source = before[nodes - size[k]]
            if source[0] == np.inf:
                continue
            target = after[nodes]
            for held in range(num_layers + 1):
                total = source[max(0, held - layers[k])] + cost[k]
                if total < target[held]:
                    target[held] = total


@compiled_as(
    types.void(
        *CONTENTS,
        *CONTENTS,
        *CONTENTS,
        types.float64[:, :, ::1],
        types.float64[:, :, ::1],
        types.boolean,
    )
)
def complete(
    first_size: IntArray,
    first_layers: IntArray,
    first_cost: FloatArray,
    middle_size: IntArray,
    middle_layers: IntArray,
    middle_cost: FloatArray,
    last_size: IntArray,
    last_layers: IntArray,
    last_cost: FloatArray,
    middles: FloatArray,
    others: FloatArray,
    full: bool,
) -> None:
    """Find the least cost of what completes a pipeline of S stages.

    Parameters
    ----------
    first_size, ..., last_cost
        Shape (K,) each: the contents of the three kinds of stages.
    middles
        Shape (S - 1, N + 1, L + 1): least cost of 0, 1, ..., S - 2 middle stages with at most so
        many nodes and at least so many layers; written.
    others
        Shape (4, N + 1, L + 1): the same for all stages, and for all but the first, a middle and
        the last one; written.
    full
        Write the last two of these too, if there is a pipeline.
    """
    stages = middles.shape[0] + 1
    middles[0] = np.inf
    middles[0, :, 0] = 0.0
    for count in range(1, stages - 1):
        add_stage(middles[count - 1], middle_size, middle_layers, middle_cost, middles[count])
    add_stage(middles[stages - 2], last_size, last_layers, last_cost, others[1])
    add_stage(others[1], first_size, first_layers, first_cost, others[0])
    if not full or others[0, -1, -1] == np.inf:
        return
    add_stage(middles[stages - 2], first_size, first_layers, first_cost, others[3])
    others[2] = np.inf
    if stages > 2:
        scratch = np.empty_like(others[2])
        add_stage(middles[stages - 3], first_size, first_layers, first_cost, scratch)
        add_stage(scratch, last_size, last_layers, last_cost, others[2])


@part
def choose(
    size: IntArray, layers: IntArray, cost: FloatArray, rest: FloatArray, nodes: int, missing: int
) -> int:
    """Return the content that leads to the least cost with what the rest then costs."""
    best = -1
    least = np.inf
    for k in range(cost.size):
        if size[k] <= nodes:
            total = rest[nodes - size[k], max(0, missing - layers[k])] + cost[k]
            if total < least:
                least = total
                best = k
    return best


@compiled_as(
    types.void(
        *CONTENTS,
        *CONTENTS,
        *CONTENTS,
        types.float64[:, :, ::1],
        types.float64[:, :, ::1],
        types.int64[::1],
    )
)
def cheapest_choice(
    first_size: IntArray,
    first_layers: IntArray,
    first_cost: FloatArray,
    middle_size: IntArray,
    middle_layers: IntArray,
    middle_cost: FloatArray,
    last_size: IntArray,
    last_layers: IntArray,
    last_cost: FloatArray,
    middles: FloatArray,
    others: FloatArray,
    out_choice: IntArray,
) -> None:
    """Find the contents of the cheapest pipeline.

    Parameters
    ----------
    first_size, ..., others
        As of ``complete``; there is a pipeline.
    out_choice
        Shape (S,): index of the content of each stage, first to last; written.
    """
    stages = middles.shape[0] + 1
    nodes = middles.shape[1] - 1
    missing = middles.shape[2] - 1
    k = choose(first_size, first_layers, first_cost, others[1], nodes, missing)
    out_choice[0] = k
    nodes -= first_size[k]
    missing = max(0, missing - first_layers[k])
    k = choose(last_size, last_layers, last_cost, middles[stages - 2], nodes, missing)
    out_choice[stages - 1] = k
    nodes -= last_size[k]
    missing = max(0, missing - last_layers[k])
    for stage in range(1, stages - 1):
        rest = middles[stages - 2 - stage]
        k = choose(middle_size, middle_layers, middle_cost, rest, nodes, missing)
        out_choice[stage] = k
        nodes -= middle_size[k]
        missing = max(0, missing - middle_layers[k])


@compiled_as(
    types.int64(
        *CONTENTS,
        types.float64[:, ::1],
        *CONTENTS,
        types.float64[:, ::1],
        *CONTENTS,
        types.float64[:, ::1],
        types.float64[:, :, ::1],
        types.float64[:, ::1],
        types.float64,
        types.float64,
        types.boolean,
        types.float64[::1],
        types.int64,
        types.int64[:, ::1],
    )
)
def list_pipelines(
    first_size: IntArray,
    first_layers: IntArray,
    first_cost: FloatArray,
    first_used: FloatArray,
    middle_size: IntArray,
    middle_layers: IntArray,
    middle_cost: FloatArray,
    middle_used: FloatArray,
    last_size: IntArray,
    last_layers: IntArray,
    last_cost: FloatArray,
    last_used: FloatArray,
    middles: FloatArray,
    after_first: FloatArray,
    budget: float,
    offset: float,
    only_cheapest: bool,
    limits: FloatArray,
    patience: int,
    out_choice: IntArray,
) -> int:
    """Find every pipeline within a budget and within limits, or the cheapest of them.

    Middle stages in another order are the same pipeline.

    Parameters
    ----------
    first_size, ..., last_used
        Shape (K,) each, (K, R) for what a content uses up: the contents of the three kinds.
    middles, after_first
        ``middles`` and ``others[1]`` of ``complete`` for contents of which these are some, or for
        cheaper ones.
    budget
        Most that a pipeline may cost, at the costs of the contents.
    offset
        How much these costs of a pipeline may be above its price.
    only_cheapest
        Lower the limit of the price to below each pipeline that is found, so that the last one
        has the lowest; it is in row 0 then.
    limits
        Shape (R,): how much there is; the last one is of the price.
    patience
        Most beginnings of a pipeline to look at.
    out_choice
        Shape (P, S): index of the content of each stage, first to last; written.

    Returns
    -------
    int
        How many pipelines were written; -1 if there are more than the array takes, -2 if patience
        is over.
    """
    stages = middles.shape[0] + 1
    total_nodes = middles.shape[1] - 1
    num_layers = middles.shape[2] - 1
    num_rows = limits.size
    limit = limits.copy()
    found = 0
    choice = np.zeros(stages, dtype=np.int64)
    nodes_left = np.zeros(stages, dtype=np.int64)
    missing = np.zeros(stages, dtype=np.int64)
    cost = np.zeros(stages)
    used = np.zeros((stages, num_rows))
    for first in range(first_cost.size):
        nodes = total_nodes - first_size[first]
        layers = max(0, num_layers - first_layers[first])
        if nodes < 0 or first_cost[first] + after_first[nodes, layers] > budget:
            continue
        for last in range(last_cost.size):
            patience -= 1
            if patience < 0:
                return -2
            # Depth 0 has the first and the last stage, depth d d middle stages besides.
            nodes_left[0] = nodes - last_size[last]
            missing[0] = max(0, layers - last_layers[last])
            cost[0] = first_cost[first] + last_cost[last]
            if nodes_left[0] < 0:
                continue
            if cost[0] + middles[stages - 2, nodes_left[0], missing[0]] > budget:
                continue
            fits = True
            for row in range(num_rows):
                used[0, row] = first_used[first, row] + last_used[last, row]
                fits = fits and used[0, row] <= limit[row]
            if not fits:
                continue
            depth = 0
            choice[0] = 0
            while depth >= 0:
                if depth == stages - 2:
                    if found == out_choice.shape[0]:
                        return -1
                    out_choice[found, 0] = first
                    out_choice[found, stages - 1] = last
                    for stage in range(stages - 2):
                        out_choice[found, 1 + stage] = choice[stage]
                    if only_cheapest:
                        limit[num_rows - 1] = np.nextafter(used[depth, num_rows - 1], -np.inf)
                        budget = min(budget, limit[num_rows - 1] + offset)
                        out_choice[0] = out_choice[found]
                        found = 0
                    found += 1
                    depth -= 1
                    if depth >= 0:
                        choice[depth] += 1
                    continue
                k = choice[depth]
                if k == middle_cost.size:
                    depth -= 1
                    if depth >= 0:
                        choice[depth] += 1
                    continue
                patience -= 1
                if patience < 0:
                    return -2
                deeper = depth + 1
                nodes_left[deeper] = nodes_left[depth] - middle_size[k]
                missing[deeper] = max(0, missing[depth] - middle_layers[k])
                cost[deeper] = cost[depth] + middle_cost[k]
                fits = nodes_left[deeper] >= 0
                if fits:
                    rest = middles[stages - 2 - deeper, nodes_left[deeper], missing[deeper]]
                    fits = cost[deeper] + rest <= budget
                if fits:
                    for row in range(num_rows):
                        used[deeper, row] = used[depth, row] + middle_used[k, row]
                        fits = fits and used[deeper, row] <= limit[row]
                if fits:
                    depth = deeper
                    choice[depth] = k
                else:
                    choice[depth] += 1
    return found


@compiled_as(
    types.void(
        types.float64[:, :, ::1],
        types.uint8[:, :, ::1],
        types.int64[:, ::1],
        types.int64,
        types.float64[::1],
        types.int64[:, ::1],
    )
)
def split_layers(
    rates: FloatArray,
    nodes: ByteArray,
    sizes: IntArray,
    num_layers: int,
    out_rate: FloatArray,
    out_layers: IntArray,
) -> None:
    """Split the layers of pipelines so that the slowest stage is as fast as it can be.

    Each next layer goes to the stage that is the fastest with it, the last one among equals: the
    same split as that of ``kernels.fill_layers``.

    Parameters
    ----------
    rates
        Shape (3, C, L + 1): rates in a first, a middle and a last stage.
    nodes, sizes
        Shapes (P, S, n), (P, S): the nodes of each stage, and how many.
    num_layers
        Layers of the model.
    out_rate, out_layers
        Shapes (P,), (P, S): written.
    """
    stages = sizes.shape[1]
    with_next = np.empty(stages)
    for row in range(sizes.shape[0]):
        layers = out_layers[row]
        layers[:] = 0
        slowest = np.inf
        for placed in range(num_layers):
            # One layer each before anything else: a stage without layers does not exist.
            chosen = -1
            for stage in range(stages):
                if placed < stages:
                    if layers[stage] == 0:
                        chosen = stage
                        break
                elif chosen < 0 or with_next[stage] > with_next[chosen]:
                    chosen = stage
            layers[chosen] += 1
            role = 0 if chosen == 0 else (2 if chosen == stages - 1 else 1)
            now = 0.0
            after = 0.0
            for node in range(sizes[row, chosen]):
                now += rates[role, nodes[row, chosen, node], layers[chosen]]
                if layers[chosen] < num_layers:
                    after += rates[role, nodes[row, chosen, node], layers[chosen] + 1]
            with_next[chosen] = after if layers[chosen] < num_layers else -1.0
            slowest = min(slowest, now)
        out_rate[row] = slowest
