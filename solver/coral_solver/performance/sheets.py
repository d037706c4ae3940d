"""Data sheets of node configurations, from the catalogue or from the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.catalog import gpu_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.hardware import GpuType, NodeConfig


def gpu_of(config: NodeConfig, gpu_types: Mapping[str, GpuType] | None) -> GpuType:
    """Return the data sheet of a configuration's GPU; None as mapping means the catalogue's.

    Raises
    ------
    CatalogError
        If the catalogue does not know the GPU type.
    """
    return sheet_of(config.gpu, gpu_types)


def sheet_of(name: str, gpu_types: Mapping[str, GpuType] | None) -> GpuType:
    """Return the data sheet of a GPU type by its name, as ``gpu_of``."""
    known = None if gpu_types is None else gpu_types.get(name)
    return gpu_type(name) if known is None else known
