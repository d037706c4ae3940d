"""The GPUs of the random instances: how many, of which types, at which prices.

``benchmarks/instances.py`` says what is drawn and why.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from coral_solver.catalog import NodePrice, PriceSheet, inventory, node_price, paper_setup
from coral_solver.domain.hardware import CapacityKind, GpuPool, PoolNode, PoolScaling

if TYPE_CHECKING:
    from random import Random

    from coral_solver.domain.hardware import PoolKey

SUPPLY_FACTOR = (3.0, 60.0)
INFERENCE_GPUS = ("A10G", "L4", "L40S")
SIZES = (1, 2, 4, 8)
LARGEST_POOL_NODES = 400


def log_uniform(rng: Random, limits: tuple[float, float]) -> float:
    """Return a number between two limits, its logarithm uniform."""
    low, high = limits
    return float(low * (high / low) ** rng.random())


@cache
def _gpu_shares() -> dict[str, float]:
    """Return the share of each GPU type in Alibaba's list, by number of GPUs."""
    counts: dict[str, float] = {}
    for row in inventory("alibaba-spot-gpu-2026"):
        gpus = INFERENCE_GPUS if row.gpu in INFERENCE_GPUS else (row.gpu,)
        for gpu in gpus:
            counts[gpu] = counts.get(gpu, 0.0) + row.nodes * row.gpus_per_node / len(gpus)
    total = sum(counts.values())
    return {gpu: count / total for gpu, count in counts.items()}


@cache
def _table_1() -> dict[str, float]:
    """Return the price of each GPU type in L4, from the paper's Table 1."""
    usd = {
        pool.key.gpu: pool.gpu_usd_per_hour()
        for pool in paper_setup("extended").pools[PriceSheet.TABLE_1]
    }
    return {gpu: price / usd["L4"] for gpu, price in usd.items()}


@cache
def _spot_shares() -> tuple[tuple[float, float], ...]:
    """Return (share of the asked nodes that were obtained, hours) over all traces."""
    path = Path(__file__).parent / "data" / "spot_availability.csv"
    with path.open(encoding="utf-8") as file:
        return tuple(
            (int(row["obtained_nodes"]) / int(row["asked_nodes"]), float(row["hours"]))
            for row in csv.DictReader(file)
        )


def _spot_share(rng: Random) -> float:
    """Return the share of capacity that a spot market has on offer at a random moment."""
    shares = _spot_shares()
    left_h = rng.random() * sum(hours for _, hours in shares)
    for share, hours in shares:
        left_h -= hours
        if left_h < 0:
            return share
    return shares[-1][0]


def random_pools(rng: Random, sheet: PriceSheet, needed_l4s: float) -> tuple[GpuPool, ...]:
    """Return the pools of an instance, with every node free.

    Parameters
    ----------
    rng
        What is drawn from.
    sheet
        Prices.
    needed_l4s
        How many L4 would do what the models ask for.
    """
    factor = log_uniform(rng, SUPPLY_FACTOR)
    cells = [
        replace(pool, scaling=PoolScaling.FIXED)
        for pool in paper_setup("extended").pools[PriceSheet.TABLE_1]
    ]
    # The draws are made for all 60 cells, so that both sheets see the same ones.
    weights = {}
    for pool in cells:
        usual_size = 1 if pool.key.gpu in INFERENCE_GPUS else 8
        of_size = 0.5 if pool.key.gpus_per_node == usual_size else 0.5 / (len(SIZES) - 1)
        weights[pool.key] = _gpu_shares()[pool.key.gpu] * of_size * rng.random()
    on_offer = {pool.key: pool for pool in paper_setup("extended").pools[sheet]}
    worth = sum(weight * _table_1()[key.gpu] for key, weight in weights.items() if key in on_offer)
    gpus = factor * needed_l4s / worth
    made = []
    for cell in cells:
        rounding, is_spot, share = rng.random(), rng.random() < 0.5, _spot_share(rng)
        if cell.key not in on_offer:
            continue
        count = gpus * weights[cell.key] / cell.key.gpus_per_node
        pool = on_offer[cell.key]
        if sheet is PriceSheet.TABLE_1:
            made.append(_fixed(pool, count * (share if is_spot else 1.0), rounding))
            continue
        spot = _spot_pool(pool)
        if spot is None:
            made.append(_fixed(pool, count, rounding))
        else:
            made.append(_fixed(pool, count / 2, rounding))
            made.append(_fixed(spot, count / 2 * share, rounding))
    return tuple(sorted((pool for pool in made if pool.nodes), key=lambda pool: pool.key))


def _fixed(pool: GpuPool, mean_nodes: float, rounding: float) -> GpuPool:
    nodes = min(int(mean_nodes + rounding), LARGEST_POOL_NODES)
    return replace(
        pool,
        scaling=PoolScaling.FIXED,
        nodes=tuple(
            PoolNode(_node_name(pool.key, number), pool.key.gpus_per_node)
            for number in range(nodes)
        ),
    )


def _node_name(key: PoolKey, number: int) -> str:
    return f"{key.region}-{key.gpu}x{key.gpus_per_node}-{key.kind}-{number:03d}".lower()


def _spot_pool(pool: GpuPool) -> GpuPool | None:
    """Return the spot pool beside an on-demand one; None where no spot price is known."""
    cloud = "gcp" if pool.key.region.startswith("us-central") else "aws"
    kind = CapacityKind.SPOT
    price = node_price(pool.key.gpu, pool.key.gpus_per_node, pool.key.region, kind, cloud=cloud)
    if not isinstance(price, NodePrice):
        return None
    return replace(pool, key=pool.key._replace(kind=kind), node_usd_per_hour=price.usd_per_hour)


def with_others_on_them(rng: Random, pools: tuple[GpuPool, ...]) -> tuple[GpuPool, ...]:
    """Return the pools with half of their nodes taken in part, by any number of GPUs."""
    made = []
    for pool in pools:
        nodes = []
        for node in pool.nodes:
            taken, share = rng.random() < 0.5, rng.random()
            free = int(share * (pool.key.gpus_per_node + 1)) if taken else node.free_gpus
            nodes.append(node._replace(free_gpus=free))
        made.append(replace(pool, nodes=tuple(nodes)))
    return tuple(made)


def half_elastic(rng: Random, pools: tuple[GpuPool, ...]) -> tuple[GpuPool, ...]:
    """Return the pools, half of them elastic: every second node is yet to be opened."""
    made = []
    for pool in pools:
        if rng.random() < 0.5:
            pool = replace(
                pool,
                scaling=PoolScaling.ELASTIC,
                max_nodes=len(pool.nodes),
                nodes=pool.nodes[::2],
            )
        made.append(pool)
    return tuple(made)
