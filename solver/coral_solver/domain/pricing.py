"""What stage 2 asks of stage 1 when it looks for templates by their price."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Room(NamedTuple):
    """What a template must fit into when all else is empty.

    A template with ``counts`` fits where ``counts @ units <= slots`` in every entry.

    Attributes
    ----------
    units
        Shape (C, C): ``units[i, j]`` slices of configuration ``j`` are lost to one of ``i``; not
        negative.
    slots
        Shape (C,): how many slices of each configuration the empty nodes hold.
    """

    units: NDArray[np.int64]
    slots: NDArray[np.int64]


class PricedTemplates(NamedTuple):
    """Templates of one model and phase at some prices, by ascending cost.

    Attributes
    ----------
    capacity_req_per_s
        Shape (N,).
    cost
        Shape (N,): price of all slices, in the unit of the prices; a lower bound of what the
        capacity costs where a search was given up.
    counts
        Shape (N, C): how many of each node configuration each takes.
    handles
        Shape (N,): what ``TemplatePricer.template`` wants; the same template, the same handle.
    """

    capacity_req_per_s: NDArray[np.float64]
    cost: NDArray[np.float64]
    counts: NDArray[np.int64]
    handles: NDArray[np.int64]


class Allowance(NamedTuple):
    """The most that a template may cost, by what it carries: a step function.

    A template of capacity ``c`` may cost ``cost[i]`` with the least ``i`` such that
    ``c <= capacity_req_per_s[i]``, and the last ``cost`` beyond.

    Attributes
    ----------
    capacity_req_per_s
        Shape (K,), ascending; K is at least 1.
    cost
        Shape (K,), not descending.
    """

    capacity_req_per_s: NDArray[np.float64]
    cost: NDArray[np.float64]
