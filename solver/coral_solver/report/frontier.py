"""How much each template carries for its money: the frontier, and what a plan chose."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coral_solver.allocation.template_table import tables_by_phase
from coral_solver.domain.hardware import cheapest_usd_per_hour, configs_on_offer
from coral_solver.planning.usage import SECONDS_PER_HOUR
from coral_solver.report.figures import hardware_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.plan import PlanningProblem

GRID_CELLS = 110
"""Cells a side that points are thinned to: about what a panel of a report can show apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenTemplate:
    """A template that a plan uses.

    Attributes
    ----------
    label
        GPUs of one instance in words, and how many copies, for example ``1 H100 (2 copies)``.
    capacity_req_per_s, usd_per_hour
        Of one instance, at the price that the plan pays.
    """

    label: str
    capacity_req_per_s: float
    usd_per_hour: float

    @property
    def requests_per_usd(self) -> float:
        """Requests that a dollar buys at full load."""
        return self.capacity_req_per_s * SECONDS_PER_HOUR / self.usd_per_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Templates of one model and phase by what they carry and what they cost.

    Attributes
    ----------
    model_id, phase
        Whose templates.
    num_templates
        All of them.
    capacity_req_per_s, requests_per_usd
        Shape (P,), P <= ``num_templates``: the templates, thinned to one for each spot that a
        plot can show.
    best_capacity_req_per_s, best_requests_per_usd
        Shape (F,), by ascending capacity: no other template carries as much for less money.
    chosen
        Those of the plan, at most expensive first.
    demand_req_per_s
        Capacity beyond it is worth nothing.
    """

    model_id: str
    phase: str
    num_templates: int
    capacity_req_per_s: NDArray[np.float64]
    requests_per_usd: NDArray[np.float64]
    best_capacity_req_per_s: NDArray[np.float64]
    best_requests_per_usd: NDArray[np.float64]
    chosen: tuple[ChosenTemplate, ...]
    demand_req_per_s: float


def template_frontiers(
    problem: PlanningProblem,
    source: TemplateSource,
    document: Mapping[str, Any],
    *,
    whole_nodes_only: bool = False,
) -> tuple[Frontier, ...]:
    """Return a frontier for every phase of every model that has templates.

    The price of a node configuration is that of the cheapest pool that can give it, whether or not
    it has any free: what the plan did not choose may simply not have been there.

    Parameters
    ----------
    problem
        Models and pools.
    source
        Where the templates come from.
    document
        The plan, as ``plan_document`` gives it.
    whole_nodes_only
        Leave out slices of nodes, as the ``paper`` space does.
    """
    configs = configs_on_offer(problem.pools, whole_nodes_only=whole_nodes_only)
    prices = np.array(
        [
            cheapest_usd_per_hour(config, problem.pools, whole_nodes_only=whole_nodes_only)
            for config in configs
        ]
    )
    found = []
    for model in problem.models:
        chosen = [i for i in document["instances"] if i["model"] == model.id]
        tables = tables_by_phase(source.templates(model, configs), configs)
        for phase, table in tables.items():
            capacity, cost = table.capacity_req_per_s, table.counts @ prices
            is_priced = cost > 0
            capacity, cost = capacity[is_priced], cost[is_priced]
            if not len(capacity):
                continue
            per_usd = capacity * SECONDS_PER_HOUR / cost
            shown, best = _thinned(capacity, per_usd), _staircase(capacity, cost)
            found.append(
                Frontier(
                    model_id=model.id,
                    phase=str(phase),
                    num_templates=len(capacity),
                    capacity_req_per_s=capacity[shown],
                    requests_per_usd=per_usd[shown],
                    best_capacity_req_per_s=capacity[best],
                    best_requests_per_usd=per_usd[best],
                    chosen=_chosen([i for i in chosen if i["phase"] == phase]),
                    demand_req_per_s=model.demand_req_per_s,
                )
            )
    return tuple(found)


def _staircase(capacity: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices that no other undercuts, by ascending capacity."""
    order = np.lexsort((cost, -capacity))
    cheapest_of_larger = np.minimum.accumulate(np.concatenate(([np.inf], cost[order][:-1])))
    return order[cost[order] < cheapest_of_larger][::-1]


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return one index for each cell of a grid, even on logarithmic axes, that has a point."""
    cells = np.zeros(len(x), dtype=np.int64)
    for values in (np.log(x), np.log(y)):
        span = float(np.ptp(values)) or 1.0
        cell = ((values - values.min()) / span * (GRID_CELLS - 1)).astype(np.int64)
        cells = cells * GRID_CELLS + cell
    return np.unique(cells, return_index=True)[1]


def _chosen(instances: Sequence[Mapping[str, Any]]) -> tuple[ChosenTemplate, ...]:
    copies: Counter[tuple[str, float, float]] = Counter()
    for instance in instances:
        if instance["usd_per_hour"] > 0:
            hardware = hardware_in_words(instance)
            copies[hardware, instance["capacity_req_per_s"], instance["usd_per_hour"]] += 1
    return tuple(
        ChosenTemplate(
            label=f"{hardware} ({count} copies)" if count > 1 else hardware,
            capacity_req_per_s=capacity,
            usd_per_hour=usd,
        )
        for (hardware, capacity, usd), count in sorted(
            copies.items(), key=lambda item: (-item[0][2], item[0])
        )
    )
