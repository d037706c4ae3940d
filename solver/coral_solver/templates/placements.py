"""Placements as arrays: hundreds of thousands of them fit in a few megabytes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_Number = TypeVar("_Number", np.uint8, np.uint16)

MOST_NODES = 12
"""Most node configurations of one template."""

NO_NODE = 255
"""Fills the rows of placements with fewer nodes than the others."""

NO_POINT = -1
"""Operating point of a placement in the ``paper`` space, which has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placements:
    """Placements of one phase of one model, T of them, over a list of configurations.

    Attributes
    ----------
    capacity_req_per_s
        Shape (T,), positive.
    nodes
        Shape (T, N): index of the configuration of each node, ``NO_NODE`` beyond the last
        node.
    stages
        Shape (T, N): stage of each node, ``NO_NODE`` beyond the last node.
    layers
        Shape (T, N): layers of each stage, 0 beyond the last stage.
    points
        Shape (T,): operating point of the joint tables, or ``NO_POINT``.
    """

    capacity_req_per_s: NDArray[np.float64]
    nodes: NDArray[np.uint8]
    stages: NDArray[np.uint8]
    layers: NDArray[np.uint16]
    points: NDArray[np.int32]

    def __len__(self) -> int:
        """Return T."""
        return len(self.capacity_req_per_s)

    def config_counts(self, num_configs: int) -> NDArray[np.uint8]:
        """Return how many of each configuration each placement takes, shape (T, C)."""
        counts = np.zeros((len(self), num_configs), dtype=np.uint8)
        for column in self.nodes.T:
            rows = np.flatnonzero(column != NO_NODE)
            counts[rows, column[rows]] += 1
        return counts

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Placements:
        """Return some of the placements."""
        return Placements(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def renumbered(self, new_index: NDArray[np.uint8]) -> Placements:
        """Return the placements over another list of configurations.

        Parameters
        ----------
        new_index
            Shape (C,): new index of each configuration, or ``NO_NODE`` where it is not on the new
            list; placements that need such a configuration are left out.
        """
        lookup = np.full(NO_NODE + 1, NO_NODE, dtype=np.uint8)
        lookup[: len(new_index)] = new_index
        nodes = lookup[self.nodes]
        kept = ((nodes == NO_NODE) == (self.nodes == NO_NODE)).all(axis=1)
        renamed = Placements(
            capacity_req_per_s=self.capacity_req_per_s,
            nodes=nodes,
            stages=self.stages,
            layers=self.layers,
            points=self.points,
        )
        return renamed if kept.all() else renamed.select(kept)


def join_placements(parts: Sequence[Placements]) -> Placements:
    """Return all placements of several lists over the same configurations, in order."""
    width = max((part.nodes.shape[1] for part in parts), default=1)
    return Placements(
        capacity_req_per_s=np.concatenate([np.zeros(0), *(p.capacity_req_per_s for p in parts)]),
        nodes=join_rows([part.nodes for part in parts], width, np.uint8(NO_NODE)),
        stages=join_rows([part.stages for part in parts], width, np.uint8(NO_NODE)),
        layers=join_rows([part.layers for part in parts], width, np.uint16(0)),
        points=np.concatenate([np.zeros(0, dtype=np.int32), *(part.points for part in parts)]),
    )


def join_rows(parts: Sequence[NDArray[_Number]], width: int, filling: _Number) -> NDArray[_Number]:
    """Return the rows of several arrays below each other, filled up to one width."""
    rows = sum(len(part) for part in parts)
    joined = np.full((rows, width), filling)
    start = 0
    for part in parts:
        joined[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return joined
