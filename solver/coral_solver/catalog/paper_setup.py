"""The core and the extended setup of the paper (arXiv 2605.04357v1) as planning inputs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from coral_solver.catalog.gpus import gpu_type
from coral_solver.catalog.models import model_arch
from coral_solver.catalog.names import did_you_mean
from coral_solver.catalog.prices import NodePrice, node_price
from coral_solver.catalog.resources import read_toml, validated
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import CapacityKind, GpuPool, PoolKey, PoolScaling
from coral_solver.domain.workload import (
    LENGTH_POINTS,
    LengthDistribution,
    ServedModel,
    ServingMode,
    Slo,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = "paper_setup.toml"


class DemandMix(StrEnum):
    """How a setup's total demand is shared by its models."""

    EVEN = "even"
    """Every model has the same demand: the paper's default."""

    LARGE_HEAVY = "large-heavy"
    SMALL_HEAVY = "small-heavy"


class PriceSheet(StrEnum):
    """Which prices a comparison uses."""

    TABLE_1 = "table-1"
    """The paper's relative prices: every node configuration is sold in every region."""

    LIST = "list"
    """On-demand prices of real instances: a size that is not sold is not offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSetup:
    """One setup of the paper.

    Attributes
    ----------
    name
        ``core`` or ``extended``.
    mix
        How the total demand is shared.
    models
        With SLO, lengths and demand; arrivals are Poisson, serving is disaggregated.
    regions
        Names of the regions, in the paper's order.
    pools
        By price sheet: one elastic pool without nodes for each node configuration and region on
        offer. Benchmarks set ``max_nodes`` from the availability that they assume.
    substitutes
        What the paper used and what stands for it, in words.
    """

    name: str
    mix: DemandMix
    models: tuple[ServedModel, ...]
    regions: tuple[str, ...]
    pools: Mapping[PriceSheet, tuple[GpuPool, ...]]
    substitutes: tuple[str, ...]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Region(_Record):
    cloud: str
    region: str


class _Setup(_Record):
    models: tuple[str, ...]
    large_models: frozenset[str]
    gpus: tuple[str, ...]
    gpu_counts: tuple[PositiveInt, ...]
    demand_req_per_s: PositiveFloat
    regions: tuple[_Region, ...]


class _Model(_Record):
    name: str
    ttft_ms: PositiveFloat
    tpot_ms: PositiveFloat
    workload: str


class _Lengths(_Record):
    input_tokens: tuple[PositiveFloat, ...] = Field(
        min_length=LENGTH_POINTS, max_length=LENGTH_POINTS
    )
    output_tokens: tuple[PositiveFloat, ...] = Field(
        min_length=LENGTH_POINTS, max_length=LENGTH_POINTS
    )
    source: str


class _Substitute(_Record):
    paper: str
    coral: str


class _PaperFile(_Record):
    slo_attainment: float = Field(gt=0, lt=1)
    l4_usd_per_hour: PositiveFloat
    relative_price: dict[str, PositiveFloat]
    setup: dict[str, _Setup]
    mix: dict[DemandMix, PositiveFloat]
    model: tuple[_Model, ...]
    workload: dict[str, _Lengths]
    substitute: tuple[_Substitute, ...]


@cache
def _paper() -> _PaperFile:
    return validated(_PaperFile, read_toml(_FILE), _FILE)


def paper_workload(name: str) -> Workload:
    """Return ``azure-conv``, ``azure-code`` or (a substitute) ``burstgpt``.

    Raises
    ------
    CatalogError
        If there is no such workload.
    """
    lengths = _paper().workload.get(name)
    if lengths is None:
        raise CatalogError(
            f"no workload {name!r}: {did_you_mean(name, _paper().workload)}",
            reason="UnknownWorkload",
        )
    return Workload(
        input_tokens=_distribution(lengths.input_tokens),
        output_tokens=_distribution(lengths.output_tokens),
    )


def paper_setup(name: str, mix: DemandMix = DemandMix.EVEN) -> PaperSetup:
    """Return a setup of the paper.

    Parameters
    ----------
    name
        ``core`` or ``extended``.
    mix
        How the total demand is shared; the paper's numbers for the uneven mixes are not public.

    Raises
    ------
    CatalogError
        If there is no such setup.
    """
    paper = _paper()
    setup = paper.setup.get(name)
    if setup is None:
        raise CatalogError(
            f"no setup {name!r}: {did_you_mean(name, paper.setup)}", reason="UnknownSetup"
        )
    slos = {model.name: model for model in paper.model}
    weights = {
        model: paper.mix[mix] if model in setup.large_models else 1.0 for model in setup.models
    }
    mean = sum(weights.values()) / len(weights)
    return PaperSetup(
        name=name,
        mix=mix,
        models=tuple(
            _served(slos[model], setup.demand_req_per_s * weights[model] / mean)
            for model in sorted(setup.models)
        ),
        regions=tuple(region.region for region in setup.regions),
        pools={sheet: _pools(setup, sheet) for sheet in PriceSheet},
        substitutes=tuple(f"{item.paper}: {item.coral}" for item in paper.substitute),
    )


def _served(model: _Model, demand_req_per_s: float) -> ServedModel:
    arch = model_arch(model.name)
    return ServedModel(
        id=f"paper/{model.name}",
        arch=arch,
        precision=arch.native_precision,
        slo=Slo(
            ttft_s=model.ttft_ms / 1000,
            tpot_s=model.tpot_ms / 1000,
            attainment=_paper().slo_attainment,
        ),
        workload=paper_workload(model.workload),
        demand_req_per_s=demand_req_per_s,
        serving=ServingMode.DISAGGREGATED,
    )


def _distribution(slices_tokens: tuple[float, ...]) -> LengthDistribution:
    return LengthDistribution(
        mean_tokens=sum(slices_tokens) / len(slices_tokens), points_tokens=slices_tokens
    )


def _pools(setup: _Setup, sheet: PriceSheet) -> tuple[GpuPool, ...]:
    pools = []
    for place in setup.regions:
        for gpu in (gpu_type(name) for name in setup.gpus):
            for count in setup.gpu_counts:
                usd = _usd_per_hour(sheet, gpu.name, count, place)
                if usd is None:
                    continue
                kind = CapacityKind.ON_DEMAND
                pools.append(
                    GpuPool(
                        key=PoolKey(gpu.name, count, gpu.link, place.region, kind),
                        node_usd_per_hour=usd,
                        scaling=PoolScaling.ELASTIC,
                    )
                )
    return tuple(sorted(pools, key=lambda pool: pool.key))


def _usd_per_hour(sheet: PriceSheet, gpu: str, gpu_count: int, place: _Region) -> float | None:
    paper = _paper()
    if sheet is PriceSheet.TABLE_1:
        return paper.relative_price[gpu] * gpu_count * paper.l4_usd_per_hour
    kind = CapacityKind.ON_DEMAND
    price = node_price(gpu, gpu_count, place.region, kind, cloud=place.cloud)
    return price.usd_per_hour if isinstance(price, NodePrice) else None
