"""The cheapest plan that meets some needs, proven over all templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.allocation.affordable import affordable_items
from coral_solver.allocation.coupling import Coupling
from coral_solver.allocation.cuts import add_cuts
from coral_solver.allocation.master import Master
from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.pool import Choice, moved
from coral_solver.allocation.solver import MipStatus, solve_mip
from coral_solver.domain.errors import SolverError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from coral_solver.allocation.master import Relaxation
    from coral_solver.allocation.pool import ColumnPool
    from coral_solver.allocation.pricing_problem import Item

_SHORTAGE_COSTS = (1.0, 10.0, 100.0, 1000.0)
"""What a GPU more than there is costs, in rents; high costs would ruin the first duals."""

_TARGET_SHARE = 0.9
"""Share of the gap that a better plan must gain to be looked for."""

_WIDTHS = (300, 1_000, 3_000, 10_000, 60_000)
"""Most templates of the programs that close the gap, one after the other."""

_NARROWER = 0.5
"""Factor between the slacks that are tried until few enough templates are left."""

_LEAST_SLACK = 0.02
"""Share of the open gap below which no templates are looked for."""

_ENOUGH_OF_GAP = 0.1
"""Share of the open gap at which a program that proves nothing is left."""

_SURELY_SHORT = 1e-6
"""Share of the GPUs of a kind that is missing in every mix of plans: more than rounding."""

_WIDER_SLACKS = (0.01, 0.05, 0.2)
"""Shares above the bound within which templates are tried while no plan is known."""


class CheapestSearch:
    """Searches the cheapest plan that meets the needs of a pricing problem.

    First the Lagrangian bound, then an integer program over the templates of its plans. What is
    left of the gap is closed by an integer program over all templates that a better plan could
    have. Both carry the bound in them as rows.

    Parameters
    ----------
    relaxation
        What bounds are made of, with the needs.
    pool
        Columns that are known so far; more are added.
    incumbent
        A plan that meets the needs, if one is known.
    time_left_s
        Tells what is left of the time.

    Attributes
    ----------
    best
        The best plan; None if none was found.
    bound
        No plan that meets the needs costs less, in USD per hour.
    impossible
        Whether it is proven that no plan meets them.
    solved
        Whether the solver has given a solution or proven something.
    """

    def __init__(
        self,
        relaxation: Relaxation,
        pool: ColumnPool,
        *,
        incumbent: Choice | None,
        time_left_s: Callable[[], float],
    ) -> None:
        self.best = incumbent
        self.bound = 0.0
        self.impossible = False
        self.solved = False
        self._cost = _cost_of(incumbent) if incumbent is not None else np.inf
        self._ground, self._pricing, self._coupling = relaxation
        self._pool = pool
        self._master = Master(self._pricing, self._coupling, time_left_s)
        self._time_left_s = time_left_s
        self._gap = relaxation.ground.options.relative_gap

    def run(self) -> None:
        """Search until the gap is closed, the time is over, or it is known to be impossible."""
        self._raise_bound()
        if self.impossible:
            return
        self._solve(self._items_of_plans())
        while self._master.is_cut and self.best is not None and not self._is_proven():
            # Now that there is a plan, the rest of the time is for the bound.
            self._raise_bound()
            self._solve(self._items_of_plans())
        for slack in _WIDER_SLACKS:
            if self.best is None and self._time_left_s() > 0:
                items = self._affordable(slack * self.bound)
                if items is not None:
                    self._solve(items)
        if self.best is not None and not self._is_proven():
            self._prove()

    def _items_of_plans(self) -> set[Item]:
        return {item for _, plan in self._master.plans() for item, _ in plan.items}

    def _raise_bound(self) -> None:
        """Search the best duals; where GPUs are short in any mix of plans, find out if always."""
        enough = self._cost * (1.0 - self._gap)
        scales = self._coupling.scales()
        for position, factor in enumerate(_SHORTAGE_COSTS):
            if not np.isfinite(self._master.best.bound):
                self.impossible = True
                return
            self._master.converge(factor * scales, enough=enough)
            if not self._master.is_short or self._master.is_cut or self._time_left_s() <= 0:
                break
            if position == 0 and self._is_impossible():
                self.impossible = True
                return
        self.bound = max(self.bound, self._master.best.bound)

    def _is_impossible(self) -> bool:
        """Return whether no mix of plans does with the GPUs that there are, whatever it costs."""
        coupling = Coupling(self._ground, lambda _: {})
        try:
            master = Master(self._pricing, coupling, self._time_left_s)
        except SolverError:  # a pricer that cannot tell: nothing is proven
            return False
        for block, plan in self._master.plans():
            master.add_plan(block, plan)
        master.converge(1.0 / coupling.amounts(), enough=_SURELY_SHORT)
        for block, plan in master.plans():
            self._master.add_plan(block, plan)
        return master.best.bound >= _SURELY_SHORT

    def _prove(self) -> None:
        """Close the gap by programs over more and more templates, at last all that could help.

        Few templates soon give better plans, and these leave fewer templates to look at.
        """
        for most in _WIDTHS:
            target = self._cost * (1.0 - _TARGET_SHARE * self._gap)
            slack = target - self.bound
            items = self._affordable(slack, most)
            if items is not None:
                self.bound = max(self.bound, min(target, self._solve(items)))
                return
            least = _LEAST_SLACK * slack
            while items is None and slack > least and self._time_left_s() > 0:
                slack *= _NARROWER
                items = self._affordable(slack, most)
            if items is not None:
                self._solve(items, gap=_ENOUGH_OF_GAP * (1.0 - self.bound / self._cost))
            if self._is_proven():
                return

    def _affordable(self, slack: float, most: int = _WIDTHS[-1]) -> list[Item] | None:
        """Return all templates of plans that cost at most some slack more than the bound.

        None if there are more than ``most``.
        """
        best = self._master.best
        try:
            return affordable_items(
                self._ground,
                self._pricing,
                self._coupling.prices(best.duals),
                best.answers,
                slack,
                most,
                self._time_left_s,
            )
        except SolverError:  # a pricer without a library gives up where too much is alike
            return None

    def _is_proven(self) -> bool:
        return self._cost - self.bound <= self._gap * self._cost

    def _solve(self, items: Iterable[Item], *, gap: float = 0.0) -> float:
        """Solve the integer program over some items and the best plan's; return its bound.

        ``gap`` is a share of the cost at which it may stop, if more than what is wanted.
        """
        chosen = set(items)
        self._pool.add(chosen, self._pricing)
        if self.best is not None:
            chosen |= self._pool.items_of(self.best)
        space = self._pool.space(chosen)
        model = PlanModel(space)
        program = model.program.copy()
        for index, variable in model.served.items():
            least = self._pricing.needs[index].rate_req_per_s
            share = least / self._ground.problem.models[index].demand_req_per_s
            program.lower[variable] = min(program.upper[variable], share)
        for index, variable in model.missing_replicas.items():
            number = self._pricing.needs[index].number
            program.upper[variable] = max(0.0, program.upper[variable] - number)
        evaluation = self._master.best
        prices = self._coupling.prices(evaluation.duals)
        add_cuts(program, model, space, prices, evaluation.answers)
        hint = None
        if self.best is not None:
            hint = model.values(moved(self.best.decision, self.best.space, space))
        result = solve_mip(
            program,
            model.cost,
            maximize=False,
            time_limit_s=self._time_left_s(),
            relative_gap=max(0.5 * self._gap, gap),
            hint=hint,
        )
        if result.values is not None:
            self.solved = True
            cost = float(sum(value * result.values[i] for i, value in model.cost.items()))
            if cost < self._cost:
                self.best, self._cost = Choice(space, model.decision(result.values)), cost
        if result.status is MipStatus.INFEASIBLE:
            return float("inf")
        return result.bound


def _cost_of(choice: Choice) -> float:
    model = PlanModel(choice.space)
    values = model.values(choice.decision)
    return float(sum(value * values[variable] for variable, value in model.cost.items()))
