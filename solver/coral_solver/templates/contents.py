"""What the search for templates by their price asks, and what it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.domain.errors import SolverError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAME = 1e-12
"""Two costs whose difference is a smaller share are equal."""

NEXT_RATE = 1.0 + 1e-10
"""The next threshold is the rate of the last template times this."""

LEAST_RATE = 1e-300
"""A threshold that every template passes."""


class TooManyError(SolverError):
    """More would be listed, or looked at for a list, than there is memory and patience for."""

    def __init__(self) -> None:
        super().__init__(
            "templates cannot be priced within the limits of this problem: use a smaller "
            "max_nodes, or a template library"
        )


class Contents(NamedTuple):
    """What a stage can be made of at a rate, K ways.

    Attributes
    ----------
    nodes
        Shape (K, N): configurations, the first ``size`` entries.
    size, layers, cost
        Shape (K,): number of nodes, layers that they hold, price.
    """

    nodes: NDArray[np.uint8]
    size: NDArray[np.int64]
    layers: NDArray[np.int64]
    cost: NDArray[np.float64]

    @classmethod
    def empty(cls, size: int, max_nodes: int) -> Contents:
        """Return room for so many contents, for a kernel to write."""
        return cls(
            np.zeros((size, max_nodes), dtype=np.uint8),
            np.empty(size, dtype=np.int64),
            np.empty(size, dtype=np.int64),
            np.empty(size),
        )

    def first(self, count: int) -> Contents:
        """Return the first ones."""
        return Contents(
            self.nodes[:count], self.size[:count], self.layers[:count], self.cost[:count]
        )

    @property
    def numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """What kernels take."""
        return self.size, self.layers, self.cost


class Pipelines(NamedTuple):
    """Placements with the same number of stages, P of them.

    Attributes
    ----------
    capacity_req_per_s
        Shape (P,).
    nodes, sizes
        Shapes (P, S, N), (P, S): configurations of each stage, the first ``sizes`` entries.
    layers
        Shape (P, S).
    """

    capacity_req_per_s: NDArray[np.float64]
    nodes: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    layers: NDArray[np.int64]

    def rows(self, chosen: NDArray[np.int64]) -> Pipelines:
        """Return some of them."""
        return Pipelines(
            self.capacity_req_per_s[chosen],
            self.nodes[chosen],
            self.sizes[chosen],
            self.layers[chosen],
        )


class Question(NamedTuple):
    """Prices, and what templates must fit into, over the configurations of the tables.

    Attributes
    ----------
    prices
        Shape (C,): infinite for a configuration that does not fit alone.
    rows, limits
        Shapes (C, R), (R,): what a configuration uses up, not negative, and how much there is.
    """

    prices: NDArray[np.float64]
    rows: NDArray[np.float64]
    limits: NDArray[np.float64]


def used_up(
    nodes: NDArray[np.uint8], size: NDArray[np.int64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what nodes use up.

    Parameters
    ----------
    nodes, size
        Shapes (..., N), (...): configurations, the first ``size`` entries.
    rows
        Shape (C, R).

    Returns
    -------
    numpy.ndarray
        Shape (..., R).
    """
    present = np.arange(nodes.shape[-1]) < size[..., None]
    return np.ascontiguousarray((rows[nodes] * present[..., None]).sum(axis=-2))
