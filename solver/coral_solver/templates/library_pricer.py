"""Templates by their price out of a library: a pass over all of them for each question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.domain.pricing import PricedTemplates
from coral_solver.templates.placements import NO_NODE
from coral_solver.templates.scan_kernels import scan_staircase, scan_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.pricing import Allowance, Room
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import Phase
    from coral_solver.templates.template_list import TemplateList


class LibraryPricer:
    """Finds templates of one model and phase by their price, among those of a list.

    A template is up to six bytes here, the indices of its node configurations: a pass over
    150,000 of them takes a few milliseconds.

    Parameters
    ----------
    configs
        Node configurations on offer, C of them: the order of all arrays.
    templates
        What handles are indices of.
    rows
        Shape (N,): the templates of one phase, as indices into ``templates``.
    nodes
        Shape (N, n): index into ``configs`` of each node, ``NO_NODE`` beyond the last one.
    capacity_req_per_s
        Shape (N,), positive.
    """

    def __init__(
        self,
        configs: Sequence[NodeConfig],
        templates: Sequence[ServingTemplate],
        rows: NDArray[np.int64],
        nodes: NDArray[np.uint8],
        capacity_req_per_s: NDArray[np.float64],
    ) -> None:
        self.configs = tuple(configs)
        self._templates = templates
        order = np.argsort(-capacity_req_per_s, kind="stable")
        self._rows = rows[order]
        self._capacity = np.ascontiguousarray(capacity_req_per_s[order])
        filled = np.where(nodes == NO_NODE, len(self.configs), nodes)
        self._nodes = np.ascontiguousarray(filled[order].astype(np.uint8))

    def staircase(
        self, prices: NDArray[np.float64], room: Room, enough_req_per_s: float
    ) -> PricedTemplates:
        """Return the templates that no other undercuts: capacity and cost both ascend.

        Of several that are equal in both, the first of the list. Parameters as of
        ``TemplatePricer.staircase``.
        """
        out = np.empty(len(self._capacity), dtype=np.int64)
        found = scan_staircase(
            self._nodes,
            self._capacity,
            *self._scanned(prices, room),
            float(enough_req_per_s),
            out,
        )
        return self._priced(out[:found][::-1], prices)

    def within(
        self, prices: NDArray[np.float64], room: Room, allowance: Allowance, limit: int
    ) -> PricedTemplates | None:
        """Return all templates that fit and cost no more than allowed; None if over ``limit``.

        Parameters as of ``TemplatePricer.within``.
        """
        out = np.empty(min(limit, len(self._capacity)), dtype=np.int64)
        found = scan_within(
            self._nodes,
            self._capacity,
            *self._scanned(prices, room),
            np.ascontiguousarray(allowance.capacity_req_per_s, dtype=np.float64),
            np.ascontiguousarray(allowance.cost, dtype=np.float64),
            out,
        )
        return None if found < 0 else self._priced(out[:found], prices)

    def template(self, handle: int) -> ServingTemplate:
        """Return a template that this pricer has given."""
        return self._templates[handle]

    def _scanned(
        self, prices: NDArray[np.float64], room: Room
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Return prices, units and slots for the kernels.

        What does not fit alone gets an infinite price. Only the slots that a template could use
        up are left to be looked at.
        """
        fits_alone = (room.units <= room.slots).all(axis=1)
        scarce = room.units[fits_alone].max(axis=0, initial=0) * self._nodes.shape[1] > room.slots
        return (
            np.append(np.where(fits_alone, prices, np.inf), 0.0),
            np.ascontiguousarray(np.pad(room.units[:, scarce], ((0, 1), (0, 0))), dtype=np.int64),
            np.ascontiguousarray(room.slots[scarce], dtype=np.int64),
        )

    def _priced(self, found: NDArray[np.int64], prices: NDArray[np.float64]) -> PricedTemplates:
        nodes = self._nodes[found]
        cost = np.zeros(len(found))
        for column in nodes.T:  # in the order of the kernels, to the last bit
            cost += np.append(prices, 0.0)[column]
        order = np.lexsort((self._rows[found], self._capacity[found], cost))
        counts = np.zeros((len(found), len(self.configs) + 1), dtype=np.int64)
        np.add.at(counts, (np.arange(len(found))[:, None], nodes), 1)
        return PricedTemplates(
            capacity_req_per_s=self._capacity[found][order],
            cost=cost[order],
            counts=counts[order, :-1],
            handles=self._rows[found][order],
        )


def library_pricer(
    templates: TemplateList, phase: Phase, configs: Sequence[NodeConfig]
) -> LibraryPricer | None:
    """Return a pricer of the templates of one phase; None if there are none.

    Parameters
    ----------
    templates
        Of one model.
    phase
        The phase.
    configs
        Node configurations on offer, with all that the templates are made of.
    """
    rows = np.zeros(0, dtype=np.int64)
    if phase in templates.phases:
        rows = np.flatnonzero(templates.phase_index == templates.phases.index(phase))
    if len(rows) == 0:
        return None
    new_index = np.full(NO_NODE + 1, NO_NODE, dtype=np.uint8)
    for old, config in enumerate(templates.configs):
        new_index[old] = configs.index(config)
    return LibraryPricer(
        configs,
        templates,
        rows,
        new_index[templates.nodes[rows]],
        templates.capacity_req_per_s[rows],
    )
