"""Instance prices by cloud and region, and what instance types are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt

from coral_solver.catalog.gpus import gpu_type
from coral_solver.catalog.names import did_you_mean
from coral_solver.catalog.resources import read_rows
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import CapacityKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PRICES = "prices.csv"
_INSTANCE_TYPES = "instance_types.csv"
_GPU_PART_ONLY = " (GPU part only)"

_CLOUDS = ("aws", "gcp", "azure", "nebius", "lambda")
"""Order in which clouds are asked where regions of several have the same name."""


class InstanceShape(NamedTuple):
    """What an instance type is made of."""

    cloud: str
    gpu: str
    gpu_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePrice:
    """Price of a whole node, with its provenance.

    Attributes
    ----------
    usd_per_hour
        Price of the node. Spot: the median over the region's zones.
    cloud, region, instance_type, kind
        What is sold.
    provenance
        File and kind of row that the price comes from, in words.
    """

    usd_per_hour: float
    cloud: str
    region: str
    instance_type: str
    kind: CapacityKind
    provenance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPrice:
    """The catalogue has no price for a node.

    Attributes
    ----------
    message
        What is missing and what is sold instead, without a full stop; the caller adds what to do.
    """

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPrices:
    """Every node shape that is sold in one region.

    Attributes
    ----------
    cloud, region, kind
        Where, and how it is bought.
    nodes
        Cheapest node by GPU type and GPUs per node.
    """

    cloud: str
    region: str
    kind: CapacityKind
    nodes: Mapping[tuple[str, int], NodePrice]


class _PriceRow(BaseModel):
    """One row of ``prices.csv``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cloud: str
    region: str
    instance_type: str
    gpu: str
    gpu_count: PositiveInt
    gpu_mem_gib: FiniteFloat = Field(gt=0)
    vcpus: PositiveInt
    mem_gib: FiniteFloat = Field(gt=0)
    on_demand_usd_h: FiniteFloat = Field(gt=0, lt=1000)
    spot_usd_h_min: FiniteFloat | None = Field(None, gt=0)
    spot_usd_h_median: FiniteFloat | None = Field(None, gt=0)
    spot_usd_h_max: FiniteFloat | None = Field(None, gt=0)
    spot_zones: int | None = Field(None, ge=0)
    basis: str
    source: str

    @property
    def sold_as(self) -> str:
        """Instance type as the cloud spells it."""
        return self.instance_type.removesuffix(_GPU_PART_ONLY)

    @property
    def is_whole(self) -> bool:
        """Whether the price includes the host."""
        return not self.instance_type.endswith(_GPU_PART_ONLY)

    def price(self, kind: CapacityKind) -> NodePrice | None:
        """Return the row's price of a capacity kind; None where it has none."""
        usd = {
            CapacityKind.ON_DEMAND: self.on_demand_usd_h,
            CapacityKind.SPOT: self.spot_usd_h_median,
        }.get(kind)
        if usd is None:
            return None
        return NodePrice(
            usd_per_hour=usd,
            cloud=self.cloud,
            region=self.region,
            instance_type=self.sold_as,
            kind=kind,
            provenance=f"{self.source}: {self.basis}",
        )


class _InstanceRow(BaseModel):
    """One row of ``instance_types.csv``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cloud: str
    instance_type: str
    gpu: str
    gpu_count: PositiveInt
    source: str


@cache
def _price_rows() -> tuple[_PriceRow, ...]:
    rows = read_rows(_PRICES, _PriceRow)
    _require_known(_PRICES, ((row.cloud, row.gpu) for row in rows))
    keys = [(row.cloud, row.region, row.instance_type) for row in rows]
    if len(set(keys)) != len(keys):
        raise CatalogError(f"package data {_PRICES}: a row is there twice", reason="InvalidCatalog")
    return rows


@cache
def _instance_shapes() -> dict[str, InstanceShape]:
    rows = read_rows(_INSTANCE_TYPES, _InstanceRow)
    _require_known(_INSTANCE_TYPES, ((row.cloud, row.gpu) for row in rows))
    shapes = {row.instance_type: InstanceShape(row.cloud, row.gpu, row.gpu_count) for row in rows}
    if len(shapes) != len(rows):
        raise CatalogError(
            f"package data {_INSTANCE_TYPES}: an instance type is there twice",
            reason="InvalidCatalog",
        )
    return shapes


def _require_known(name: str, pairs: Iterable[tuple[str, str]]) -> None:
    for cloud, gpu in pairs:
        if cloud not in _CLOUDS or gpu_type(gpu).name != gpu:
            raise CatalogError(
                f"package data {name}: cloud {cloud!r} or GPU type {gpu!r} is not known",
                reason="InvalidCatalog",
            )


def instance_shape(instance_type: str) -> InstanceShape | None:
    """Return what an instance type is made of.

    Parameters
    ----------
    instance_type
        Value of ``node.kubernetes.io/instance-type``, for example ``p5.48xlarge``.

    Returns
    -------
    InstanceShape | None
        None for an instance type without GPUs, with a fraction of one, or that is not known.
    """
    return _instance_shapes().get(instance_type)


def price_regions() -> tuple[tuple[str, str], ...]:
    """Return every (cloud, region) that has prices, sorted."""
    return tuple(sorted({(row.cloud, row.region) for row in _price_rows()}))


def node_price(
    gpu: str,
    gpus_per_node: int,
    region: str,
    kind: CapacityKind,
    *,
    cloud: str | None = None,
    instance_type: str | None = None,
) -> NodePrice | NoPrice:
    """Look up the price of a whole node.

    Parameters
    ----------
    gpu
        GPU type; any name that ``gpu_type`` knows.
    gpus_per_node
        GPUs of the node.
    region, kind
        Where, and how it is bought. Reserved capacity has no list price.
    cloud
        Cloud; None where it is not known: then the first of AWS, GCP, Azure, Nebius and Lambda that
        sells the shape in a region of that name.
    instance_type
        Instance type, where it is known; its own price goes before that of the cheapest instance
        of the same shape.

    Returns
    -------
    NodePrice | NoPrice
        The price, or in words why there is none.

    Raises
    ------
    CatalogError
        If ``gpu`` is unknown.
    """
    name = gpu_type(gpu).name
    sold = [
        (row, price)
        for row in _price_rows()
        if row.gpu == name
        and row.gpu_count == gpus_per_node
        and row.region == region
        and cloud in (None, row.cloud)
        and (price := row.price(kind)) is not None
    ]
    if not sold:
        return NoPrice(message=_no_price_message(name, gpus_per_node, region, kind, cloud))
    return min(
        sold,
        key=lambda offer: (
            offer[1].instance_type != instance_type,
            _CLOUDS.index(offer[1].cloud),
            not offer[0].is_whole,
            offer[1].usd_per_hour,
            offer[1].instance_type,
        ),
    )[1]


def region_prices(cloud: str, region: str, kind: CapacityKind) -> RegionPrices:
    """Return every node shape that is sold in a region.

    Raises
    ------
    CatalogError
        If the catalogue has no prices of that region; says which regions are near.
    """
    if (cloud, region) not in price_regions():
        known = [f"{c}/{r}" for c, r in price_regions()]
        raise CatalogError(
            f"no prices of {cloud}/{region}: {did_you_mean(f'{cloud}/{region}', known)}",
            reason="UnknownRegion",
        )
    shapes = sorted({(row.gpu, row.gpu_count) for row in _price_rows() if row.region == region})
    prices = {
        (gpu, count): node_price(gpu, count, region, kind, cloud=cloud) for gpu, count in shapes
    }
    return RegionPrices(
        cloud=cloud,
        region=region,
        kind=kind,
        nodes={key: price for key, price in prices.items() if isinstance(price, NodePrice)},
    )


def _no_price_message(
    gpu: str, gpus_per_node: int, region: str, kind: CapacityKind, cloud: str | None
) -> str:
    """Say what is missing and what is sold that comes nearest."""
    where = f"{cloud}/{region}" if cloud else region
    here = sorted(
        {
            row.gpu_count
            for row in _price_rows()
            if row.gpu == gpu
            and row.region == region
            and cloud in (None, row.cloud)
            and row.price(kind) is not None
        }
    )
    elsewhere = sorted(
        {
            f"{row.cloud}/{row.region}"
            for row in _price_rows()
            if row.gpu == gpu and row.gpu_count == gpus_per_node and row.price(kind) is not None
        }
    )
    if here:
        known = f"there it knows nodes of {' or '.join(map(str, here))}"
    elif elsewhere:
        known = f"it knows it in {', '.join(elsewhere)}"
    else:
        known = f"it has no {kind} price of {gpu} nodes of that size anywhere"
    return (
        f"the price catalogue has no {kind} price of a node with {gpus_per_node} {gpu} in {where}"
        f" ({known})"
    )
