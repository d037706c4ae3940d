"""How much demand a budget can serve at most: a proof over all templates.

At given prices of GPUs, and of a USD of the budget, every model serves the rate at which its weight
exceeds the cost of the cheapest whole plan most. What all gain together, and what the GPUs and the
budget are worth at these prices, bounds every plan (Lagrangian duality). Column generation over
whole plans looks for the prices with the lowest bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.coupling import Coupling
from coral_solver.allocation.objective import weight
from coral_solver.allocation.pricing_problem import BlockPlan, Need, PricingProblem
from coral_solver.allocation.solver import solve_lp
from coral_solver.domain.errors import SolverError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from coral_solver.allocation.coupling import Use
    from coral_solver.allocation.ground import Ground
    from coral_solver.allocation.pricing_problem import Answer, Item, Taken

_MOST_ROUNDS = 200
_CONVERGED = 1e-6
_WEIGHT_OF_BEST = 0.5
"""Prices are asked between the best duals so far and the master's (Wentges smoothing)."""

_LEAST_WORTH = 1e-6
"""What a USD of the budget is worth at least, as a share of the mean worth of one."""

_SAFETY = 1e-9


class _Column(NamedTuple):
    """A plan of one model in the master."""

    weighted_req_per_s: float
    use: Use


class _Prices(NamedTuple):
    """A point of the dual: capacity rows in USD, and what a USD of the budget is worth."""

    duals: NDArray[np.float64]
    worth: float


class BudgetBound:
    """Bounds the weighted demand that a budget can serve.

    Parameters
    ----------
    ground
        What plans are made of.
    taken
        What is known of items; more are added.
    budget_usd_per_hour
        Most rent of all instances together.
    time_left_s
        Tells what is left of the time.

    Attributes
    ----------
    value
        No plan serves more, in weighted requests per second.
    seen
        Items that some prices made the cheapest for what they carry.
    """

    def __init__(
        self,
        ground: Ground,
        taken: dict[Item, Taken],
        budget_usd_per_hour: float,
        *,
        time_left_s: Callable[[], float],
    ) -> None:
        models = ground.problem.models
        placeable = {model for model, _ in ground.places} | {keep.model for keep in ground.keeps}
        needs = {
            index: Need(models[index].demand_req_per_s, 0)
            for index in sorted(placeable)
            if models[index].demand_req_per_s > 0
        }
        self.seen: set[Item] = set()
        self._weights = {index: float(weight(models[index])) for index in needs}
        self.value = sum(self._weights[i] * need.rate_req_per_s for i, need in needs.items())
        self._budget = budget_usd_per_hour
        self._time_left_s = time_left_s
        self._coupling = Coupling(ground, lambda model: model.rent)
        self._pricing = PricingProblem(ground, needs, taken)
        self._columns: dict[int, dict[tuple[BlockPlan, ...], _Column]] = {i: {} for i in needs}
        self._mean_worth = self.value / max(budget_usd_per_hour, 1e-9)

    def run(self) -> None:
        """Search until the bound is as low as prices can make it, or the time is over."""
        best = _Prices(self._coupling.start(), self._mean_worth)
        try:
            self.value = min(self.value, self._evaluate(best))
        except SolverError:  # a pricer without a library gives up where too much is alike
            return
        smoothing = _WEIGHT_OF_BEST
        for _ in range(_MOST_ROUNDS):
            found = self._solve_master()
            if found is None or self._time_left_s() <= 0:
                return
            reached, prices = found
            if self.value - reached <= _CONVERGED * max(self.value, 1e-9):
                return
            mixed = _Prices(
                smoothing * best.duals + (1.0 - smoothing) * prices.duals,
                smoothing * best.worth + (1.0 - smoothing) * prices.worth,
            )
            known = self._num_columns()
            try:
                bound = self._evaluate(mixed)
            except SolverError:
                return
            if bound < self.value or self._num_columns() > known:
                smoothing = _WEIGHT_OF_BEST
            elif smoothing == 0.0:
                return  # the master's own prices give nothing new
            else:
                smoothing = 0.0
            if bound < self.value:
                self.value, best = bound, mixed

    def _num_columns(self) -> int:
        return sum(len(columns) for columns in self._columns.values())

    def _evaluate(self, prices: _Prices) -> float:
        """Return the bound at some prices, and remember the plans."""
        duals = self._coupling.with_flow(prices.duals)
        answers = self._pricing.solve(self._coupling.prices(duals))
        shared, size = self._coupling.shared_part(duals)
        total = prices.worth * (self._budget - shared)
        size = prices.worth * (self._budget + size)
        for answer in answers.values():
            self.seen.update(item for menu in answer.menus for item in menu.items)
        for model, value_of_rate in self._weights.items():
            mine = [answer for block, answer in answers.items() if block.model == model]
            top = self._pricing.need(model).rate_req_per_s
            gain, plans = _best_rate(mine, top, value_of_rate, prices.worth)
            total += gain
            size += gain
            if plans:
                self._remember(model, plans)
        return total + _SAFETY * size

    def _remember(self, model: int, plans: tuple[float, tuple[BlockPlan, ...]]) -> None:
        rate, parts = plans
        if parts not in self._columns[model]:
            whole = BlockPlan(
                tuple(entry for plan in parts for entry in plan.items),
                tuple(entry for plan in parts for entry in plan.kept),
            )
            use = self._coupling.use(whole, self._pricing)
            self._columns[model][parts] = _Column(self._weights[model] * rate, use)

    def _solve_master(self) -> tuple[float, _Prices] | None:
        """Mix the plans so far to serve as much as possible; return that, and the prices."""
        program, rent = self._coupling.program()
        spent = list(rent.items())
        objective: dict[int, float] = {}
        for columns in self._columns.values():
            terms = []
            for column in columns.values():
                variable = program.add_variable(0.0, 1.0)
                objective[variable] = -column.weighted_req_per_s
                terms.append((variable, 1.0))
                program.entry_row += column.use.rows.tolist()
                program.entry_variable += [variable] * len(column.use.rows)
                program.entry_value += column.use.values.tolist()
                spent.append((variable, column.use.cost))
            program.add_row(terms, lower=-float("inf"), upper=1.0)
        program.add_row(spent, lower=-float("inf"), upper=self._budget)
        found = solve_lp(program, objective, time_limit_s=self._time_left_s())
        if found is None:
            return None
        worth = max(-float(found.duals[-1]), _LEAST_WORTH * self._mean_worth)
        duals = found.duals[: self._coupling.num_rows] / worth
        return -found.value, _Prices(duals, worth)


def _best_rate(
    answers: list[Answer], top_req_per_s: float, value_of_rate: float, worth: float
) -> tuple[float, tuple[float, tuple[BlockPlan, ...]] | None]:
    """Return what a model gains most at some prices, with the rate and the plans of its blocks."""
    rates = np.unique(np.concatenate([answer.rates(top_req_per_s) for answer in answers]))
    cost = sum((answer.cost_of(rates) for answer in answers), np.zeros(len(rates)))
    gain = value_of_rate * rates - worth * cost
    if not len(rates) or not gain.max() > 0:
        return 0.0, None
    best = int(np.argmax(gain))
    rate = float(rates[best])
    return float(gain[best]), (rate, tuple(answer.plan_of(rate) for answer in answers))
