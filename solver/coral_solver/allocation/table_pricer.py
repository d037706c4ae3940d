"""Templates by their price, out of a table of them: for sources that have no faster way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.domain.pricing import PricedTemplates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.allocation.template_table import TemplateTable
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.pricing import Allowance, Room
    from coral_solver.domain.template import ServingTemplate


class TablePricer:
    """Finds templates of one model and phase by their price; see ``TemplatePricer``.

    Parameters
    ----------
    configs
        Node configurations on offer: the order of all arrays.
    table
        The templates; handles are positions in it.
    """

    def __init__(self, configs: tuple[NodeConfig, ...], table: TemplateTable) -> None:
        self.configs = configs
        self._table = table

    def staircase(
        self, prices: NDArray[np.float64], room: Room, enough_req_per_s: float
    ) -> PricedTemplates:
        """Return the templates that no other undercuts: capacity and cost both ascend."""
        fitting = self._fitting(room)
        capacity = np.minimum(self._table.capacity_req_per_s[fitting], enough_req_per_s)
        cost = self._table.counts[fitting] @ prices
        order = np.lexsort((fitting, -capacity, cost))
        best = np.maximum.accumulate(np.append(-1.0, capacity[order]))
        return self._priced(fitting[order[capacity[order] > best[:-1]]], prices)

    def within(
        self, prices: NDArray[np.float64], room: Room, allowance: Allowance, limit: int
    ) -> PricedTemplates | None:
        """Return all templates that fit and cost no more than allowed; None if over ``limit``."""
        fitting = self._fitting(room)
        step = np.searchsorted(
            allowance.capacity_req_per_s, self._table.capacity_req_per_s[fitting]
        )
        allowed = allowance.cost[np.minimum(step, len(allowance.cost) - 1)]
        cost = self._table.counts[fitting] @ prices
        found = fitting[cost <= allowed]
        return (
            None
            if len(found) > limit
            else self._priced(found[np.lexsort((found, cost[cost <= allowed]))], prices)
        )

    def template(self, handle: int) -> ServingTemplate:
        """Return a template that this pricer has given."""
        return self._table.template(handle)

    def _fitting(self, room: Room) -> NDArray[np.int64]:
        fits = np.all(self._table.counts @ room.units <= room.slots, axis=1)
        return np.flatnonzero(fits)

    def _priced(self, found: NDArray[np.int64], prices: NDArray[np.float64]) -> PricedTemplates:
        counts = self._table.counts[found]
        return PricedTemplates(
            capacity_req_per_s=self._table.capacity_req_per_s[found],
            cost=counts @ prices,
            counts=counts,
            handles=found,
        )
