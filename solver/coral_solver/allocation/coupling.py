"""The rows that models share, and what their duals say about the prices of slices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.columns import space_of
from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.pricing_problem import Prices
from coral_solver.allocation.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from coral_solver.allocation.ground import Ground
    from coral_solver.allocation.pricing_problem import BlockPlan, PricingProblem


class Use(NamedTuple):
    """What a plan of one block costs by itself, and its entries in the coupling rows."""

    cost: float
    rows: NDArray[np.int64]
    values: NDArray[np.float64]


class Coupling:
    """Flow and capacity rows, with draws, opened nodes and kept instances in them.

    In the form ``row_lower <= A x + (what new instances take) <= row_upper`` with bounds on ``x``.

    Parameters
    ----------
    ground
        What plans are made of.
    costs
        What things cost, by variable of the model; rent plus switching charge if None.
    """

    def __init__(
        self, ground: Ground, costs: Callable[[PlanModel], Mapping[int, float]] | None = None
    ) -> None:
        model = PlanModel(replace(space_of(ground, ()), draws=ground.draws))
        program = model.program
        self._num_rows, size = model.num_coupling_rows, model.num_coupling_variables
        entry_row = np.array(program.entry_row, dtype=np.int64)
        inside = entry_row < self._num_rows
        self._row = entry_row[inside]
        self._variable = np.array(program.entry_variable, dtype=np.int64)[inside]
        self._value = np.array(program.entry_value, dtype=np.float64)[inside]
        self._lower = np.array(program.lower, dtype=np.float64)[:size]
        self._upper = np.array(program.upper, dtype=np.float64)[:size]
        given = model.cost if costs is None else costs(model)
        cost = [given.get(i, 0.0) for i in range(size)]
        self._cost = np.array(cost, dtype=np.float64)
        self._row_lower = np.array(program.row_lower, dtype=np.float64)[: self._num_rows]
        self._row_upper = np.array(program.row_upper, dtype=np.float64)[: self._num_rows]
        self._kept = np.array(model.kept, dtype=np.int64)
        self._is_kept = np.zeros(size, dtype=bool)
        self._is_kept[self._kept] = True
        self._flow = np.full((len(ground.offers), len(ground.configs)), -1)
        self._index = {
            (offer.region, offer.site_factor, config): (i, j)
            for i, offer in enumerate(ground.offers)
            for j, config in enumerate(ground.configs)
        }
        for (region, factor, config), row in model.flow_rows.items():
            self._flow[self._index[region, factor, config]] = row
        self._is_flow = np.zeros(self._num_rows, dtype=bool)
        self._is_flow[self._flow[self._flow >= 0]] = True
        # Slices may be drawn for nothing; so they have no negative price.
        self._row_upper[self._is_flow] = np.inf
        self._drawn = np.unique(self._variable[self._flow_entries()])

    @property
    def num_rows(self) -> int:
        """Number of coupling rows."""
        return self._num_rows

    def start(self) -> NDArray[np.float64]:
        """Return duals at which GPUs that are not paid as whole nodes have no rent of scarcity."""
        duals = np.zeros(self._num_rows)
        # A node that is paid whole: its price lies on its smallest slices.
        for variable in np.flatnonzero((self._cost > 0) & ~self._is_kept).tolist():
            entries = np.flatnonzero((self._variable == variable) & (self._value < 0))
            entries = entries[~self._is_flow[self._row[entries]]]
            if len(entries):
                entry = entries[np.argmin(self._value[entries])]
                duals[self._row[entry]] = self._cost[variable] / self._value[entry]
        return self.with_flow(duals)

    def with_flow(self, duals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return duals of the right sign whose slice prices follow from those of the capacity.

        A slice costs what the cheapest supply asks for it.
        """
        duals = np.where(self._is_flow, 0.0, np.minimum(duals, 0.0))
        reduced = self._reduced_costs(duals)
        price = np.full(self._num_rows, np.inf)
        entries = self._flow_entries()
        np.minimum.at(price, self._row[entries], reduced[self._variable[entries]])
        duals[self._is_flow] = np.maximum(price[self._is_flow], 0.0)
        return duals

    def prices(self, duals: NDArray[np.float64]) -> Prices:
        """Return what slices and kept instances cost at some duals."""
        slices = np.append(duals, 0.0)[self._flow]
        return Prices(slices, self._reduced_costs(duals)[self._kept], self._index)

    def shared_part(self, duals: NDArray[np.float64]) -> tuple[float, float]:
        """Return the bound's part that belongs to no model, and the size of its terms."""
        reduced = np.where(self._is_kept, 0.0, self._reduced_costs(duals))
        variables = np.where(reduced < 0, reduced * self._upper, reduced * self._lower)
        with np.errstate(invalid="ignore"):
            rows = np.where(duals > 0, duals * self._row_lower, duals * self._row_upper)
        rows[duals == 0] = 0.0
        return float(variables.sum() + rows.sum()), float(
            np.abs(variables).sum() + np.abs(rows).sum()
        )

    def use(self, plan: BlockPlan, problem: PricingProblem) -> Use:
        """Return what a plan of one block costs and takes."""
        taken = np.zeros(self._num_rows)
        cost = 0.0
        for item, number in plan.items:
            counts = problem.taken[item].counts
            rows = self._flow[item.offer, counts > 0]
            taken[rows] -= number * counts[counts > 0]
        for keep, number in plan.kept:
            variable = self._kept[keep]
            cost += number * float(self._cost[variable])
            entries = self._variable == variable
            np.add.at(taken, self._row[entries], number * self._value[entries])
        rows = np.flatnonzero(taken)
        return Use(cost, rows, taken[rows])

    def scales(self) -> NDArray[np.float64]:
        """Return by row a price that is usual for one more on its right side."""
        scales = np.zeros(self._num_rows)
        usable = ~self._is_kept[self._variable] & (self._cost[self._variable] > 0)
        ratio = self._cost[self._variable] / np.abs(self._value)
        np.maximum.at(scales, self._row[usable], ratio[usable])
        positive = scales[scales > 0]
        scales[scales == 0] = positive.mean() if len(positive) else 1.0
        return scales

    def program(self) -> tuple[Program, dict[int, float]]:
        """Return the rows with all variables but kept instances, as a program to add plans to."""
        upper = np.where(self._is_kept, 0.0, self._upper)
        upper[self._drawn] = np.inf  # the capacity rows limit draws, and they are soft
        program = Program(
            lower=self._lower.tolist(),
            upper=upper.tolist(),
            integer=[False] * len(self._lower),
            row_lower=self._row_lower.tolist(),
            row_upper=self._row_upper.tolist(),
            entry_row=self._row.tolist(),
            entry_variable=self._variable.tolist(),
            entry_value=self._value.tolist(),
        )
        objective = {i: float(self._cost[i]) for i in np.flatnonzero(self._cost).tolist()}
        return program, objective

    def amounts(self) -> NDArray[np.float64]:
        """Return by row how much there is, at least 1."""
        finite = np.where(np.isfinite(self._row_upper), np.abs(self._row_upper), 0.0)
        return np.maximum(finite, 1.0)

    def is_soft(self) -> NDArray[np.bool_]:
        """Return by row whether it limits what there is."""
        return ~self._is_flow

    def _flow_entries(self) -> NDArray[np.int64]:
        return np.flatnonzero(self._is_flow[self._row])

    def _reduced_costs(self, duals: NDArray[np.float64]) -> NDArray[np.float64]:
        spent = np.bincount(
            self._variable, weights=self._value * duals[self._row], minlength=len(self._cost)
        )
        reduced: NDArray[np.float64] = self._cost - spent
        return reduced
