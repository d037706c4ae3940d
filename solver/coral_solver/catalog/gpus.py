"""GPU types: figures of their data sheets, and the names that people and labels give them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from coral_solver.catalog.names import did_you_mean, fold
from coral_solver.catalog.resources import read_toml, validated
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import GpuType, Link, Precision

if TYPE_CHECKING:
    from typing import Self

_FILE = "gpus.toml"

_AMBIGUOUS = {
    "a100": ("A100-80GB", "A100-40GB"),
    "v100": ("V100-16GB", "V100-32GB"),
}
"""Names without the memory size that alone tells two types apart."""

_MEMORY_TOLERANCE = 0.15
"""A label gives the nominal memory, the catalogue what a process can take."""


class _GpuRecord(BaseModel):
    """One table of ``gpus.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    aliases: tuple[str, ...] = ()
    memory_gib: FiniteFloat = Field(gt=1, lt=1024)
    memory_basis: str = Field(pattern="^(cuda|nvml|hip)$")
    memory_bandwidth_bytes_per_s: FiniteFloat = Field(gt=1e11, lt=1e14)
    flops_per_s: dict[Precision, FiniteFloat] = Field(min_length=1)
    compute_capability: tuple[int, int]
    link: Link
    link_bytes_per_s: dict[Link, FiniteFloat]
    nvidia_products: tuple[str, ...] = ()
    amd_products: tuple[str, ...] = ()
    gke_accelerators: tuple[str, ...] = ()
    karpenter_gpu_names: tuple[str, ...] = ()
    device_resource: str = "nvidia.com/gpu"
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if Precision.FP16 not in self.flops_per_s:
            raise ValueError("fp16 figure missing: every type computes it")
        if any(not 1e13 <= flops <= 1e17 for flops in self.flops_per_s.values()):
            raise ValueError("flops_per_s out of range: give FLOP/s, not TFLOP/s")
        if self.link not in self.link_bytes_per_s:
            raise ValueError("link_bytes_per_s lacks the usual link")
        if any(not 1e9 <= rate <= 2e12 for rate in self.link_bytes_per_s.values()):
            raise ValueError("link_bytes_per_s out of range: give bytes/s of one direction")
        if not self.nvidia_products and not self.amd_products:
            raise ValueError("no device-plugin product label")
        return self

    def gpu_type(self) -> GpuType:
        """Return the domain's view."""
        return GpuType(
            name=self.name,
            memory_gib=self.memory_gib,
            memory_bandwidth_bytes_per_s=self.memory_bandwidth_bytes_per_s,
            flops_per_s=dict(self.flops_per_s),
            compute_capability=self.compute_capability,
            link=self.link,
            link_bytes_per_s=dict(self.link_bytes_per_s),
            product_labels=(*self.nvidia_products, *self.amd_products, *self.gke_accelerators),
            source=self.source,
            device_resource=self.device_resource,
        )


class _GpuFile(BaseModel):
    """``gpus.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: tuple[_GpuRecord, ...]


class _Gpus:
    """The validated catalogue with its indexes."""

    def __init__(self) -> None:
        records = validated(_GpuFile, read_toml(_FILE), _FILE).gpu
        self.types = {record.name: record.gpu_type() for record in records}
        self.by_name: dict[str, GpuType] = {}
        self.by_label: dict[str, GpuType] = {}
        self.by_karpenter: dict[str, list[GpuType]] = {}
        for record in records:
            gpu = self.types[record.name]
            for name in {fold(n) for n in (record.name, *record.aliases, *gpu.product_labels)}:
                _add(self.by_name, name, gpu)
            for label in {label.casefold() for label in gpu.product_labels}:
                _add(self.by_label, label, gpu)
            for name in record.karpenter_gpu_names:
                self.by_karpenter.setdefault(name, []).append(gpu)


def _add(index: dict[str, GpuType], key: str, gpu: GpuType) -> None:
    if key in index:
        raise CatalogError(
            f"package data {_FILE}: {key!r} means both {index[key].name} and {gpu.name}",
            reason="InvalidCatalog",
        )
    index[key] = gpu


@cache
def _gpus() -> _Gpus:
    return _Gpus()


def gpu_types() -> tuple[GpuType, ...]:
    """Return every GPU type, sorted by name."""
    return tuple(gpu for _, gpu in sorted(_gpus().types.items()))


def gpu_type(name: str) -> GpuType:
    """Return a GPU type by its name, an alias or a product label.

    Parameters
    ----------
    name
        For example ``H100``, ``h100-sxm`` or ``NVIDIA H100 80GB HBM3``; case, blanks and hyphens do
        not matter.

    Raises
    ------
    CatalogError
        If the name is unknown or means several types; says which names are near.
    """
    key = fold(name)
    short = key.removeprefix("nvidia").removeprefix("amd").removeprefix("tesla")
    for candidate in (key, short):
        if candidate in _gpus().by_name:
            return _gpus().by_name[candidate]
    if short in _AMBIGUOUS:
        raise CatalogError(
            f"GPU type {name!r} is not exact: say {' or '.join(_AMBIGUOUS[short])}",
            reason="UnknownGpuType",
        )
    raise CatalogError(
        f"GPU type {name!r} is not in the catalogue: {did_you_mean(name, _gpus().types)}",
        reason="UnknownGpuType",
    )


def gpu_type_of_label(value: str) -> GpuType | None:
    """Return the GPU type of a product label's value, or None.

    Parameters
    ----------
    value
        Value of ``nvidia.com/gpu.product``, ``amd.com/gpu.product-name`` or
        ``cloud.google.com/gke-accelerator``.
    """
    key = value.casefold()
    index = _gpus().by_label
    # Before driver 470 the driver's product names had no "NVIDIA" in front.
    return index.get(key) or index.get(f"nvidia-{key}")


def gpu_type_of_karpenter(gpu_name: str, memory_mib: float | None) -> GpuType | None:
    """Return the GPU type that Karpenter's labels describe, or None.

    Parameters
    ----------
    gpu_name
        Value of ``karpenter.k8s.aws/instance-gpu-name``, for example ``a100``.
    memory_mib
        Value of ``karpenter.k8s.aws/instance-gpu-memory``: it tells the two sizes of A100 and V100
        apart. None: the label is absent.
    """
    types = _gpus().by_karpenter.get(gpu_name.casefold(), [])
    if memory_mib is not None:
        types = [
            gpu
            for gpu in types
            if abs(memory_mib / 1024 - gpu.memory_gib) <= _MEMORY_TOLERANCE * memory_mib / 1024
        ]
    return types[0] if len(types) == 1 else None
