"""Lists of nodes: the ones that come with Coral, and how any of them becomes pools."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from coral_solver.catalog.gpus import gpu_type
from coral_solver.catalog.names import did_you_mean
from coral_solver.catalog.prices import NoPrice, node_price
from coral_solver.catalog.resources import read_rows
from coral_solver.domain.errors import CatalogError, InvalidInputError
from coral_solver.domain.hardware import CapacityKind, GpuPool, PoolKey, PoolNode, PoolScaling

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryRow:
    """Some nodes that are alike.

    Attributes
    ----------
    gpu, gpus_per_node, nodes
        GPU type, GPUs of each node, number of nodes. 0 nodes are legal where ``max_nodes`` is set.
    region, kind
        Where the nodes are, and how they are bought.
    node_usd_per_hour
        Price of one node; None: from the price catalogue.
    max_nodes
        Ceiling of an elastic pool; None: the pool has the nodes it has.
    where
        What to call the row in a message, for example ``line 3``.
    """

    gpu: str
    gpus_per_node: int
    nodes: int
    region: str
    kind: CapacityKind = CapacityKind.ON_DEMAND
    node_usd_per_hour: float | None = None
    max_nodes: int | None = None
    where: str


class _InventoryRecord(BaseModel):
    """One row of a packaged inventory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: str
    gpus_per_node: PositiveInt
    nodes: PositiveInt
    region: str = Field(min_length=1)
    kind: CapacityKind


def inventory_names() -> tuple[str, ...]:
    """Return the names of the inventories that come with Coral, sorted."""
    folder = files("coral_solver.catalog") / "data" / "inventories"
    return tuple(
        sorted(e.name.removesuffix(".csv") for e in folder.iterdir() if e.name.endswith(".csv"))
    )


def inventory(name: str, *, nodes: int | None = None) -> tuple[InventoryRow, ...]:
    """Return an inventory that comes with Coral, as it is or scaled down.

    Parameters
    ----------
    name
        For example ``alibaba-spot-gpu-2026``; ``data/SOURCES.md`` says how it was derived.
    nodes
        Number of nodes to scale to: one node of each row, the rest shared out in proportion by
        largest remainder. None: every node.

    Raises
    ------
    CatalogError
        If there is no such inventory.
    InvalidInputError
        If ``nodes`` is smaller than the number of rows, or larger than the inventory.
    """
    if name not in inventory_names():
        raise CatalogError(
            f"no inventory {name!r}: {did_you_mean(name, inventory_names())}",
            reason="UnknownInventory",
        )
    records = read_rows(f"inventories/{name}.csv", _InventoryRecord)
    counts = [record.nodes for record in records]
    if nodes is not None:
        if not len(records) <= nodes <= sum(counts):
            raise InvalidInputError(
                [f"inventory {name}: nodes must be from {len(records)} to {sum(counts)}"]
            )
        counts = _scaled(counts, nodes)
    return tuple(
        InventoryRow(
            gpu=gpu_type(record.gpu).name,
            gpus_per_node=record.gpus_per_node,
            nodes=count,
            region=record.region,
            kind=record.kind,
            where=f"inventory {name}",
        )
        for record, count in zip(records, counts, strict=True)
    )


def _scaled(counts: list[int], total: int) -> list[int]:
    """Return one for each plus the rest in proportion; remainders go to the largest fraction."""
    rest = total - len(counts)
    weight = sum(counts)
    shares = [1 + rest * count // weight for count in counts]
    by_fraction = sorted(range(len(counts)), key=lambda i: (-(rest * counts[i] % weight), i))
    for i in by_fraction[: total - sum(shares)]:
        shares[i] += 1
    return shares


def inventory_pools(rows: Sequence[InventoryRow]) -> tuple[GpuPool, ...]:
    """Turn an inventory into pools with every GPU free.

    Parameters
    ----------
    rows
        The inventory. Rows of the same shape, region and kind are added up.

    Returns
    -------
    tuple[GpuPool, ...]
        Sorted by key; nodes are named after their pool and numbered.

    Raises
    ------
    InvalidInputError
        If a row has no price, or rows of one pool contradict each other; every such row is named.
    CatalogError
        If a GPU type is unknown.
    """
    problems: list[str] = []
    by_key: dict[PoolKey, list[InventoryRow]] = defaultdict(list)
    for row in rows:
        gpu = gpu_type(row.gpu)
        by_key[PoolKey(gpu.name, row.gpus_per_node, gpu.link, row.region, row.kind)].append(row)
    pools = []
    for key, group in sorted(by_key.items()):
        if len({(row.node_usd_per_hour, row.max_nodes) for row in group}) > 1:
            places = " and ".join(row.where for row in group)
            problems.append(f"{places}: the same kind of node with different price or max_nodes")
            continue
        usd = group[0].node_usd_per_hour
        if usd is None:
            price = node_price(key.gpu, key.gpus_per_node, key.region, key.kind)
            if isinstance(price, NoPrice):
                problems.append(
                    f"{group[0].where}: {price.message}; give its price as node_usd_per_hour"
                )
                continue
            usd = price.usd_per_hour
        count = sum(row.nodes for row in group)
        stem = f"{key.region}-{key.gpu}x{key.gpus_per_node}-{key.kind}".lower()
        max_nodes = group[0].max_nodes
        pools.append(
            GpuPool(
                key=key,
                node_usd_per_hour=usd,
                nodes=tuple(
                    PoolNode(f"{stem}-{number:05d}", key.gpus_per_node)
                    for number in range(1, count + 1)
                ),
                scaling=PoolScaling.FIXED if max_nodes is None else PoolScaling.ELASTIC,
                max_nodes=0 if max_nodes is None else max_nodes,
            )
        )
    if problems:
        raise InvalidInputError(problems)
    return tuple(pools)
