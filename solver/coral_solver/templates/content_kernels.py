"""Compiled search for what can make up one stage of a ``paper`` pipeline of a given rate.

A content is a multiset of node configurations in data parallel. At a rate it can hold the most
layers with which the rates of its nodes add up to that rate.

docs/model-templates.md shows why the searches are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import types

from coral_solver.performance.compiled import compiled_as
from coral_solver.templates.compiled import BOUND_SLACK, part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    ByteArray = NDArray[np.uint8]
    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float64]


@part
def sort_by_ratio(order: IntArray, count: int, ratio: FloatArray) -> None:
    """Sort configurations by price for their rate; nearly sorted ones take a single pass."""
    for position in range(1, count):
        config = order[position]
        place = position
        while place > 0 and ratio[order[place - 1]] > ratio[config]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = config


@part
def cover(
    order: IntArray,
    usable: int,
    rate: FloatArray,
    prices: FloatArray,
    ratio: FloatArray,
    target: float,
    budget: float,
    least: FloatArray,
    least_nodes: ByteArray,
    improved: IntArray,
) -> None:
    """Find the cheapest contents of 1, 2, ... nodes whose rates add up to a target.

    Depth first over the configurations by price for their rate; a branch ends where even the best
    ratio left costs too much for the fewest nodes that it could end with.

    Parameters
    ----------
    order, usable
        Configurations, sorted by ``ratio``; how many of them have a rate.
    rate, prices, ratio
        Shape (C,).
    target
        Rate to reach.
    budget
        Contents must cost less than this.
    least
        Shape (n + 1,): cost of the cheapest content of at most so many nodes; lowered in place.
    least_nodes
        Shape (n + 1, n): its nodes; written.
    improved
        Shape (n + 1,): set to its size where ``least`` was lowered.
    """
    max_nodes = least.size - 1
    largest = np.zeros(usable + 1)
    for i in range(usable - 1, -1, -1):
        largest[i] = max(largest[i + 1], rate[order[i]])
    chosen = np.zeros(max_nodes + 1, dtype=np.int64)
    need = np.empty(max_nodes + 1)
    cost = np.zeros(max_nodes + 1)
    need[0] = target
    rounding = target * BOUND_SLACK
    depth = 0
    while depth >= 0:
        i = chosen[depth]
        fits = i < usable and depth < max_nodes
        if fits:
            fewest = depth + max(1, int(np.ceil(need[depth] / largest[i] - 1e-9)))
            fits = fewest <= max_nodes
            if fits:
                bound = cost[depth] + need[depth] * ratio[order[i]] * (1.0 - BOUND_SLACK)
                fits = bound < min(least[fewest], budget)
        if not fits:
            depth -= 1
            if depth >= 0:
                chosen[depth] += 1
            continue
        total = cost[depth] + prices[order[i]]
        missing = need[depth] - rate[order[i]]
        if missing > rounding:
            depth += 1
            need[depth] = missing
            cost[depth] = total
            chosen[depth] = i
            continue
        if total < budget:
            for size in range(depth + 1, max_nodes + 1):
                if total < least[size]:
                    least[size] = total
                    improved[size] = depth + 1
                    for node in range(depth + 1):
                        least_nodes[size, node] = order[chosen[node]]
        chosen[depth] += 1


@compiled_as(
    types.int64(
        types.float64[:, ::1],
        types.float64[::1],
        types.float64,
        types.int64,
        types.int64,
        types.float64[::1],
        types.uint8[:, ::1],
        types.int64[::1],
        types.int64[::1],
        types.float64[::1],
    )
)
def cheapest_contents(
    rates: FloatArray,
    prices: FloatArray,
    target: float,
    longest: int,
    max_nodes: int,
    budget: FloatArray,
    out_nodes: ByteArray,
    out_size: IntArray,
    out_layers: IntArray,
    out_cost: FloatArray,
) -> int:
    """Find the contents that none of as few nodes and as many layers undercuts.

    Parameters
    ----------
    rates
        Shape (C, L + 1): of each configuration in one role, not rising with the layers.
    prices
        Shape (C,); infinite for a configuration that must not be used.
    target
        Rate that the nodes of a content must reach together.
    longest, max_nodes
        Most layers, most nodes.
    budget
        Shape (L + 1,), not falling: contents of so many layers must cost less.
    out_nodes, out_size, out_layers, out_cost
        Shapes (K, max_nodes), (K,), (K,), (K,): the contents; written.

    Returns
    -------
    int
        How many there are.
    """
    order = np.empty(prices.size, dtype=np.int64)
    count = 0
    for config in range(prices.size):
        if prices[config] < np.inf:
            order[count] = config
            count += 1
    rate = np.zeros(prices.size)
    ratio = np.empty(prices.size)
    least = np.full(max_nodes + 1, np.inf)
    least_nodes = np.zeros((max_nodes + 1, max_nodes), dtype=np.uint8)
    improved = np.zeros(max_nodes + 1, dtype=np.int64)
    found = 0
    for layers in range(longest, 0, -1):
        usable = 0
        for i in range(count):
            config = order[i]
            rate[config] = rates[config, layers]
            ratio[config] = np.inf
            if rate[config] > 0.0:
                ratio[config] = prices[config] / rate[config]
                usable += 1
        sort_by_ratio(order, count, ratio)
        improved[:] = 0
        cover(
            order,
            usable,
            rate,
            prices,
            ratio,
            target,
            budget[layers],
            least,
            least_nodes,
            improved,
        )
        for size in range(1, max_nodes + 1):
            if improved[size] == size and least[size] < least[size - 1]:
                out_size[found] = size
                out_layers[found] = layers
                out_cost[found] = least[size]
                for node in range(size):
                    out_nodes[found, node] = least_nodes[size, node]
                found += 1
    return found


@compiled_as(
    types.float64(types.float64[::1], types.float64[::1], types.float64, types.int64, types.float64)
)
def least_cover(
    work: FloatArray, prices: FloatArray, target: float, max_nodes: int, budget: float
) -> float:
    """Return the least cost of nodes whose work adds up to a target; the budget if it is more.

    Parameters
    ----------
    work, prices
        Shape (C,): what each configuration brings, and its price; infinite where it must not be
        used.
    target, max_nodes
        What the nodes must bring together, and how many there are at most.
    budget
        Costs from this on are of no interest.
    """
    order = np.empty(prices.size, dtype=np.int64)
    ratio = np.empty(prices.size)
    usable = 0
    for config in range(prices.size):
        if prices[config] < np.inf and work[config] > 0.0:
            order[usable] = config
            ratio[config] = prices[config] / work[config]
            usable += 1
    sort_by_ratio(order, usable, ratio)
    least = np.full(max_nodes + 1, np.inf)
    nodes = np.zeros((max_nodes + 1, max_nodes), dtype=np.uint8)
    improved = np.zeros(max_nodes + 1, dtype=np.int64)
    cover(order, usable, work, prices, ratio, target, budget, least, nodes, improved)
    cheapest: float = least[max_nodes]
    return min(budget, cheapest)


@compiled_as(
    types.int64(
        types.float64[:, ::1],
        types.float64[::1],
        types.float64,
        types.int64,
        types.int64,
        types.float64[:, ::1],
        types.float64,
        types.float64[:, ::1],
        types.float64[::1],
        types.int64,
        types.uint8[:, ::1],
        types.int64[::1],
        types.int64[::1],
        types.float64[::1],
    )
)
def affordable_contents(
    rates: FloatArray,
    prices: FloatArray,
    target: float,
    longest: int,
    max_nodes: int,
    rest: FloatArray,
    budget: float,
    rows: FloatArray,
    limits: FloatArray,
    patience: int,
    out_nodes: ByteArray,
    out_size: IntArray,
    out_layers: IntArray,
    out_cost: FloatArray,
) -> int:
    """Find every content that can be part of a pipeline within a budget.

    Parameters
    ----------
    rates, prices, target, longest, max_nodes
        As of ``cheapest_contents``.
    rest
        Shape (N + 1, L + 1): least cost of the other stages with at most so many nodes and at
        least so many layers.
    budget
        Most that a pipeline may cost.
    rows, limits
        Shapes (C, R), (R,): what a configuration uses up, and how much there is.
    patience
        Most contents to look at.
    out_nodes, out_size, out_layers, out_cost
        As of ``cheapest_contents``; nodes in ascending order.

    Returns
    -------
    int
        How many there are; -1 if there are more than the arrays take, -2 if patience is over.
    """
    num_configs = prices.size
    total_nodes = rest.shape[0] - 1
    num_layers = rest.shape[1] - 1
    covered = target * (1.0 - BOUND_SLACK)
    # Least price for the rate, of this configuration and all after it.
    ratio = np.full((num_configs + 1, longest + 1), np.inf)
    for config in range(num_configs - 1, -1, -1):
        for layers in range(1, longest + 1):
            ratio[config, layers] = ratio[config + 1, layers]
            if rates[config, layers] > 0.0:
                own = prices[config] / rates[config, layers]
                ratio[config, layers] = min(ratio[config, layers], own)
    sums = np.zeros((max_nodes + 1, longest + 1))
    cost = np.zeros(max_nodes + 1)
    used = np.zeros((max_nodes + 1, limits.size))
    chosen = np.zeros(max_nodes + 2, dtype=np.int64)
    found = 0
    depth = 0
    while depth >= 0:
        config = chosen[depth]
        if config == num_configs or depth == max_nodes:
            depth -= 1
            if depth >= 0:
                chosen[depth] += 1
            continue
        if prices[config] == np.inf:
            chosen[depth] += 1
            continue
        patience -= 1
        if patience < 0:
            return -2
        deeper = depth + 1
        cost[deeper] = cost[depth] + prices[config]
        fits = True
        for row in range(limits.size):
            used[deeper, row] = used[depth, row] + rows[config, row]
            fits = fits and used[deeper, row] <= limits[row]
        if not fits:
            chosen[depth] += 1
            continue
        layers = 0
        for j in range(1, longest + 1):
            sums[deeper, j] = sums[depth, j] + rates[config, j]
            layers += sums[deeper, j] >= covered
        # What is affordable with these nodes, and whether it can be with more.
        own_nodes = total_nodes - deeper
        others = rest[own_nodes, num_layers - layers] if layers > 0 else np.inf
        if cost[deeper] + others <= budget:
            if found == out_cost.size:
                return -1
            out_size[found] = deeper
            out_layers[found] = layers
            out_cost[found] = cost[deeper]
            for node in range(deeper):
                out_nodes[found, node] = chosen[node]
            found += 1
        extends = False
        if own_nodes >= 1:
            for j in range(max(1, layers), longest + 1):
                need = max(0.0, covered - sums[deeper, j])
                more = 0.0 if need == 0.0 else need * ratio[config, j] * (1.0 - BOUND_SLACK)
                if cost[deeper] + more + rest[own_nodes - 1, num_layers - j] <= budget:
                    extends = True
                    break
        if extends:
            depth = deeper
            chosen[depth] = config
        else:
            chosen[depth] += 1
    return found
