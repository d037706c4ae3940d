"""Rows that are exact for slices of a power of two on the nodes of one supply.

Slices of 1, 2, 4, ... GPUs fit on nodes with ``free`` GPUs each if and only if, for every size
``2^k``, the slices of at least that size, counted in units of it, are no more than the sum of
``floor(free / 2^k)``: placing the largest slices first, on any node with room, never fails then,
because taking a multiple of ``2^k`` GPUs from a node lowers its floor by exactly that multiple.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from coral_solver.allocation.program import Program
    from coral_solver.allocation.supply import Supply


class LooseSlices(NamedTuple):
    """A variable that counts slices which may go to any node of the supply."""

    variable: int
    size: int


class AloneTenants(NamedTuple):
    """A variable that counts kept instances, each alone on one node of the supply."""

    variable: int
    free_gpus: int
    used_gpus: int


class SharedTenant(NamedTuple):
    """A variable that counts kept instances on one node that others share."""

    variable: int
    used_gpus: int


class CapacityBlock:
    """Capacity rows of one supply.

    Parameters
    ----------
    program
        Where the rows go.
    supply
        The nodes.
    loose
        Slices of new instances, and slices that wait for a node to open.
    alone
        Kept instances that are alone on their nodes.
    shared
        Kept instances by the node that they share.

    Attributes
    ----------
    opened
        Terms that add up to the nodes in use, for an elastic supply; empty otherwise.
    """

    def __init__(
        self,
        program: Program,
        supply: Supply,
        *,
        loose: Sequence[LooseSlices],
        alone: Sequence[AloneTenants],
        shared: Mapping[str, Sequence[SharedTenant]],
    ) -> None:
        self._supply = supply
        self._shared = shared
        self._sizes = sorted({slices.size for slices in loose})
        self._rows: list[list[tuple[int, float]]] = []
        # (node, size) -> slices of that size that still fit beside the node's kept instances
        self._room: dict[tuple[str, int], int] = {}
        self._open: dict[str, int] = {}  # node -> whether it is in use, for an elastic supply
        self._generic: int | None = None  # nodes in use that hold no kept instance
        self.opened: list[tuple[int, float]] = []

        if supply.elastic:
            self._generic = program.add_variable(0, supply.max_open, integer=True)
            self._open = {node: program.add_variable(0, 1, integer=True) for node in sorted(shared)}
            self.opened = [
                (self._generic, 1.0),
                *((tenants.variable, 1.0) for tenants in alone),
                *((variable, 1.0) for variable in self._open.values()),
            ]
            program.add_row(self.opened, upper=float(supply.max_open))
        for node in sorted(shared):
            self._add_shared_node(program, node)

        for size in self._sizes:
            slots = sum(node.free_gpus // size for node in supply.nodes if node.name not in shared)
            row = [(item.variable, item.size / size) for item in loose if item.size >= size]
            row += [(self._room[node, size], -1.0) for node in sorted(shared)]
            for item in alone:
                left = (item.free_gpus - item.used_gpus) // size
                lost = -left if supply.elastic else item.free_gpus // size - left
                row.append((item.variable, float(lost)))
            self._rows.append(row)
            if self._generic is None:
                program.add_row(row, upper=float(slots))
            else:
                per_node = supply.pool.key.gpus_per_node // size
                program.add_row([*row, (self._generic, -float(per_node))], upper=0.0)

    def _add_shared_node(self, program: Program, node: str) -> None:
        """Kept instances fit on their node, and leave it whole slices of each size."""
        free = self._supply.free_by_node[node]
        taken = [(tenant.variable, float(tenant.used_gpus)) for tenant in self._shared[node]]
        upper = float(free)
        if node in self._open:
            taken.append((self._open[node], -float(free)))
            upper = 0.0
        program.add_row(taken, upper=upper)
        for size in self._sizes:
            # An integer that is at most (free - taken) / size is at most its floor.
            room = program.add_variable(0, free // size, integer=True)
            program.add_row([(room, float(size)), *taken], upper=upper)
            self._room[node, size] = room

    def complete(self, values: NDArray[np.float64]) -> None:
        """Set the block's own variables from those that it was given.

        Parameters
        ----------
        values
            By variable of the program; changed in place.
        """
        for node, tenants in self._shared.items():
            taken = sum(values[tenant.variable] * tenant.used_gpus for tenant in tenants)
            free = self._supply.free_by_node[node]
            if node in self._open:
                values[self._open[node]] = float(taken > 0)
                free = free if taken > 0 else 0
            for size in self._sizes:
                values[self._room[node, size]] = (free - taken) // size
        if self._generic is not None:
            values[self._generic] = max(
                (
                    math.ceil(
                        sum(values[variable] * value for variable, value in row)
                        / (self._supply.pool.key.gpus_per_node // size)
                        - 1e-9
                    )
                    for size, row in zip(self._sizes, self._rows, strict=True)
                ),
                default=0,
            )
            values[self._generic] = max(values[self._generic], 0.0)
