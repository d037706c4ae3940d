"""The search over all multisets: sizes in order, ranges of one size on several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.processors import num_threads
from coral_solver.templates.joint_kernels import search_joint
from coral_solver.templates.kernels import search_separable
from coral_solver.templates.multiset_kernels import best_split, list_multisets
from coral_solver.templates.multisets import multiset_at, multiset_count, sequence_counts
from coral_solver.templates.partitions import MAX_NODES, partition_table
from coral_solver.templates.placements import (
    NO_NODE,
    NO_POINT,
    Placements,
    join_placements,
    join_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from coral_solver.performance.tables import JointTables, SeparableTables
    from coral_solver.templates.joint_kernels import CapacityAbove

CHUNK_MULTISETS = 4096
"""Multisets of one call of a kernel: some milliseconds, so that threads share the work evenly."""

SAME_RATE = 1e-12
"""Two rates whose difference is a smaller share are equal: sums in another order differ by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """Which multisets are searched.

    Attributes
    ----------
    max_nodes
        Most node configurations of one template, from 1 on; in the ``paper`` space to
        ``partitions.MAX_NODES``.
    rho
        Most total memory of two or more node configurations, as a multiple of the weights.
    """

    max_nodes: int
    rho: float


class MultisetSearch(Protocol):
    """Finds the best placement of each multiset of one size."""

    def __call__(
        self, multisets: NDArray[np.int64], to_beat: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Placements]:
        """Search multisets of one size.

        Parameters
        ----------
        multisets
            Shape (K, n): sorted indices of configurations.
        to_beat
            Shape (K,): rates that a placement must exceed to be of use.

        Returns
        -------
        rates
            Shape (K,): of the best placement, or ``to_beat`` where none exceeds it.
        placements
            Those that exceed theirs, in order.
        """
        ...


def search_paper_space(
    tables: SeparableTables,
    limits: SearchLimits,
    *,
    advance: Callable[[int], None] | None = None,
) -> Placements:
    """Find the best ``paper`` placement of every multiset that carries more whole than in parts.

    Parameters
    ----------
    tables
        Stage rates of one model and phase.
    limits
        Which multisets are searched. Pipelines are no longer than ``tables`` goes.
    advance
        Called with a number of multisets whenever so many more are done.

    Returns
    -------
    Placements
        Over ``tables.configs``, ordered by number of nodes, then by sorted configurations.

    Raises
    ------
    InvalidInputError
        If the rates are not finite, negative, or rise with the number of layers.
    """
    all_rates = tables.rate_req_per_s[..., 1:]
    if not np.isfinite(all_rates).all() or (all_rates < 0).any():
        raise InvalidInputError(["stage rates must be finite and not negative"])
    if (np.diff(all_rates, axis=-1) > 0).any():
        raise InvalidInputError(["stage rates must not rise with the number of layers"])

    useful = np.flatnonzero((all_rates > 0).any(axis=(0, 1, 3)))
    found = _search_sizes(
        tables.memory_gib[useful],
        tables.weight_gib,
        limits,
        limits.max_nodes,
        paper_multiset_search(tables.rate_req_per_s[:, :, useful]),
        advance,
    )
    return found.renumbered(useful.astype(np.uint8))


def paper_multiset_search(rate_req_per_s: NDArray[np.float64]) -> MultisetSearch:
    """Return the search over ``paper`` placements.

    Parameters
    ----------
    rate_req_per_s
        Shape (S, 4, C, L + 1): as in ``SeparableTables``.
    """
    rates = np.ascontiguousarray(rate_req_per_s, dtype=np.float64)
    fastest = np.ascontiguousarray(rates[:, :3].max(axis=1))
    fastest[..., 0] = 0.0
    work = (fastest * np.arange(rates.shape[3])).max(axis=2)

    def search(
        multisets: NDArray[np.int64], to_beat: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Placements]:
        table = partition_table(multisets.shape[1])
        rate = np.empty(len(multisets))
        stages = np.zeros_like(multisets)
        layers = np.zeros_like(multisets)
        search_separable(
            multisets,
            to_beat,
            rates,
            fastest,
            work,
            table.masks,
            table.start,
            rate,
            stages,
            layers,
        )
        kept = rate > to_beat
        points = np.full(np.count_nonzero(kept), NO_POINT)
        return rate, _packed(rate[kept], multisets[kept], stages[kept], layers[kept], points)

    return search


def search_vllm_space(
    tables: JointTables,
    num_layers: int,
    capacity_above: CapacityAbove,
    limits: SearchLimits,
    *,
    advance: Callable[[int], None] | None = None,
) -> Placements:
    """Find the best ``vllm`` placement of every multiset that carries more whole than in parts.

    Parameters
    ----------
    tables
        Stage times of one model, phase and tensor-parallel size.
    num_layers
        Layers of the model.
    capacity_above
        Compiled ``coral_solver.performance.capacity.joint_capacity_above``, or one of its type.
    limits
        Which multisets are searched. Pipelines are no longer than ``tables`` goes.
    advance
        Called with a number of multisets whenever so many more are done.

    Returns
    -------
    Placements
        Over ``tables.configs``, ordered by number of nodes, then by sorted configurations. Nodes
        are listed in the order of the stages.

    Raises
    ------
    InvalidInputError
        If times or stretches are not finite or negative.
    """
    for name in ("layer_s", "extra_s", "stretch"):
        values = getattr(tables, name)
        if not np.isfinite(values).all() or (values < 0).any():
            raise InvalidInputError([f"{name} of the joint tables must be finite and not negative"])

    useful = np.flatnonzero((tables.max_layers > 0).any(axis=(0, 1, 2)))
    search = vllm_multiset_search(
        replace(
            tables,
            layer_s=tables.layer_s[..., useful],
            extra_s=tables.extra_s[..., useful],
            stretch=tables.stretch[..., useful],
            max_layers=tables.max_layers[..., useful],
        ),
        num_layers,
        capacity_above,
    )
    found = _search_sizes(
        tables.memory_gib[useful],
        tables.weight_gib,
        limits,
        min(limits.max_nodes, len(tables.max_layers), num_layers),
        search,
        advance,
    )
    return found.renumbered(useful.astype(np.uint8))


def vllm_multiset_search(
    tables: JointTables, num_layers: int, capacity_above: CapacityAbove
) -> MultisetSearch:
    """Return the search over ``vllm`` placements.

    Parameters
    ----------
    tables, num_layers, capacity_above
        As of ``search_vllm_space``.
    """
    layer_s = np.ascontiguousarray(tables.layer_s, dtype=np.float64)
    extra_s = np.ascontiguousarray(tables.extra_s, dtype=np.float64)
    stretch = np.ascontiguousarray(tables.stretch, dtype=np.float64)
    max_layers = np.ascontiguousarray(tables.max_layers, dtype=np.int64)
    point_params = np.ascontiguousarray(tables.point_params, dtype=np.float64)
    request_params = np.ascontiguousarray(tables.request_params, dtype=np.float64)

    def search(
        multisets: NDArray[np.int64], to_beat: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Placements]:
        rate = np.empty(len(multisets))
        nodes = np.zeros_like(multisets)
        layers = np.zeros_like(multisets)
        points = np.zeros(len(multisets), dtype=np.int64)
        stages = multisets.shape[1]
        search_joint(
            multisets,
            to_beat,
            capacity_above,
            layer_s[stages - 1],
            extra_s[stages - 1],
            stretch[stages - 1],
            max_layers[stages - 1],
            point_params,
            request_params,
            num_layers,
            rate,
            nodes,
            layers,
            points,
        )
        kept = rate > to_beat
        in_order = np.broadcast_to(np.arange(stages), multisets.shape)
        return rate, _packed(rate[kept], nodes[kept], in_order[kept], layers[kept], points[kept])

    return search


def _search_sizes(
    memory_gib: NDArray[np.float64],
    weight_gib: float,
    limits: SearchLimits,
    max_nodes: int,
    search: MultisetSearch,
    advance: Callable[[int], None] | None,
) -> Placements:
    num_configs = len(memory_gib)
    if num_configs == 0:
        return join_placements([])
    counts = sequence_counts(max_nodes, num_configs)
    sizes = [multiset_count(size, num_configs) for size in range(max_nodes + 1)]
    start = np.cumsum([0, *sizes])
    best = np.zeros(start[-1])
    found: list[Placements] = []
    with ThreadPoolExecutor(max_workers=num_threads()) as threads:
        for size in range(1, max_nodes + 1):
            search_range = partial(
                _search_range, memory_gib, weight_gib, limits.rho, counts, best, start, search
            )
            best_here = best[start[size] : start[size + 1]]
            firsts = range(0, len(best_here), CHUNK_MULTISETS)
            ranges = [best_here[first : first + CHUNK_MULTISETS] for first in firsts]
            multisets = [multiset_at(first, size, counts) for first in firsts]
            for placements, done in zip(
                threads.map(search_range, multisets, ranges), ranges, strict=True
            ):
                found.append(placements)
                if advance is not None:
                    advance(len(done))
    return join_placements(found)


def _search_range(
    memory_gib: NDArray[np.float64],
    weight_gib: float,
    rho: float,
    counts: NDArray[np.int64],
    best: NDArray[np.float64],
    start: NDArray[np.int64],
    search: MultisetSearch,
    first: NDArray[np.int64],
    best_here: NDArray[np.float64],
) -> Placements:
    """Search consecutive multisets from ``first`` on, and write the most that each carries."""
    size = len(first)
    multisets = np.empty((len(best_here), size), dtype=np.int64)
    list_multisets(first, len(memory_gib), multisets)
    total_gib = memory_gib[multisets].sum(axis=1)
    # Nothing that is allowed has a part above the upper limit; parts below the lower limit are no
    # templates themselves, but pass on what lies inside them.
    small = np.flatnonzero((total_gib <= rho * weight_gib) | (size == 1))
    multisets, total_gib = multisets[small], total_gib[small]
    in_parts = np.empty(len(small))
    best_split(multisets, counts, best, start, in_parts)
    allowed = np.flatnonzero((total_gib >= weight_gib) | (size == 1))
    to_beat = in_parts[allowed] * (1.0 + SAME_RATE)
    rates, placements = search(multisets[allowed], to_beat)
    in_parts[allowed] = np.where(rates > to_beat, rates, in_parts[allowed])
    best_here[small] = in_parts
    return placements


def _packed(
    rate: NDArray[np.float64],
    nodes: NDArray[np.int64],
    stages: NDArray[np.int64],
    layers: NDArray[np.int64],
    points: NDArray[np.int64],
) -> Placements:
    width = max(MAX_NODES, nodes.shape[1])
    return Placements(
        capacity_req_per_s=rate,
        nodes=join_rows([nodes.astype(np.uint8)], width, np.uint8(NO_NODE)),
        stages=join_rows([stages.astype(np.uint8)], width, np.uint8(NO_NODE)),
        layers=join_rows([layers.astype(np.uint16)], width, np.uint16(0)),
        points=points.astype(np.int32),
    )
