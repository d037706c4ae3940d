"""Random questions about templates by their price, and the answers of a full enumeration."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
from tests.unit.templates.test_exactness import random_separable

from coral_solver.domain.pricing import Allowance, Room
from coral_solver.templates.dynamic_pricer import DynamicPricer, PricingLimits
from coral_solver.templates.library_pricer import LibraryPricer
from coral_solver.templates.placements import NO_NODE, join_placements
from coral_solver.templates.search import paper_multiset_search

NUM_CONFIGS = 4


def random_tables(rng, *, max_stages=4):
    """Tables of configurations with 1 to 8 GPUs each."""
    layers = int(rng.integers(4, 10))
    tables = random_separable(
        rng, num_configs=NUM_CONFIGS, max_stages=max_stages, num_layers=layers
    )
    sizes = rng.choice([1, 2, 4, 8], NUM_CONFIGS).tolist()
    configs = tuple(
        config._replace(gpu_count=size) for config, size in zip(tables.configs, sizes, strict=True)
    )
    return replace(tables, configs=configs)


def random_limits(rng, *, max_nodes=4):
    return PricingLimits(
        max_nodes=max_nodes,
        rho=float(rng.choice([3.0, 5.0, 7.0, 100.0])),
        min_share=float(rng.choice([0.0, 0.01, 0.2, 0.5])),
    )


def random_prices(rng, tables):
    """Prices that rise with the GPUs, sometimes in whole numbers: ties and zeros."""
    gpus = np.array([config.gpu_count for config in tables.configs])
    prices = rng.uniform(0.2, 2.0, NUM_CONFIGS) * gpus ** rng.uniform(0.0, 1.0)
    return np.round(prices) if rng.random() < 0.3 else prices


def random_room(rng):
    """Few slices of everything, sometimes cut from each other; or room for all."""
    units = np.eye(NUM_CONFIGS, dtype=np.int64)
    if rng.random() < 0.3:
        units += np.triu(rng.integers(0, 3, units.shape), 1)
    if rng.random() < 0.3:
        return Room(units, np.full(NUM_CONFIGS, 1000))
    return Room(units, rng.integers(0, 6, NUM_CONFIGS))


def random_allowance(rng):
    return Allowance(np.sort(rng.uniform(0, 8, 3)), np.sort(rng.uniform(0, 8, 3)))


def all_templates(tables, limits):
    """Every single node, and the best pipeline of every multiset: nothing left out for its parts.

    Several nodes that share their only stage are as many instances, and left out.
    """
    pipelines_only = tables.rate_req_per_s.copy()
    pipelines_only[0] = 0.0
    parts = []
    for size in range(1, limits.max_nodes + 1):
        rates = tables.rate_req_per_s if size == 1 else pipelines_only
        nodes = np.array(list(combinations_with_replacement(range(NUM_CONFIGS), size)))
        memory_gib = tables.memory_gib[nodes].sum(axis=1)
        nodes = nodes[(size == 1) | (memory_gib <= limits.rho * tables.weight_gib)]
        if len(nodes):
            search = paper_multiset_search(rates)
            parts.append(search(np.ascontiguousarray(nodes), np.zeros(len(nodes)))[1])
    found = join_placements(parts)
    gpus = np.zeros(NO_NODE + 1)
    gpus[:NUM_CONFIGS] = [config.gpu_count for config in tables.configs]
    per_gpu = found.capacity_req_per_s / gpus[found.nodes].sum(axis=1)
    return found.select(per_gpu >= limits.min_share * per_gpu.max(initial=0.0))


def enumerated(tables, limits):
    found = all_templates(tables, limits)
    return LibraryPricer(
        tables.configs, [], np.arange(len(found)), found.nodes, found.capacity_req_per_s
    )


def dynamic(tables, limits):
    return DynamicPricer(tables.configs, tables, limits, lambda stages, rate: (stages, rate))


def more_than_single_nodes(tables, priced):
    """Keep what carries more than its nodes do one by one: by capacity, keyed by its nodes."""
    alone = tables.rate_req_per_s[0, 3, :, -1]
    return {
        tuple(counts): rate
        for counts, rate in zip(
            priced.counts.tolist(), priced.capacity_req_per_s.tolist(), strict=True
        )
        if sum(counts) == 1 or rate > (np.array(counts) @ alone) * (1 + 1e-12)
    }
