"""The Lagrangian bound: whole plans of each model, coupled by the GPUs that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.solver import solve_lp
from coral_solver.domain.errors import SolverError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from coral_solver.allocation.coupling import Coupling, Use
    from coral_solver.allocation.ground import Ground
    from coral_solver.allocation.pricing_problem import Answer, Block, BlockPlan, PricingProblem

_MOST_ROUNDS = 300
_WEIGHT_OF_BEST = 0.6
"""Prices are asked between the best duals so far and the master's (Wentges smoothing)."""

_CONVERGED = 1e-6
"""Share of the master's value below it at which no better duals are looked for."""

_SHORT = 1e-7
"""A shortage of GPUs below this is rounding."""

_SAFETY = 1e-9
"""Share of the terms of a bound that rounding may have added to it."""


class Relaxation(NamedTuple):
    """What bounds are made of: all templates by their price, and the rows that models share."""

    ground: Ground
    pricing: PricingProblem
    coupling: Coupling


class Evaluation(NamedTuple):
    """What the models answer at some duals.

    Attributes
    ----------
    duals
        By coupling row.
    bound
        No plan costs less.
    answers
        The cheapest plan of each block.
    """

    duals: NDArray[np.float64]
    bound: float
    answers: dict[Block, Answer]


class _Mix(NamedTuple):
    """The cheapest mix of the plans so far: its cost, the GPUs it is short of, its duals."""

    value: float
    shortage: float
    duals: NDArray[np.float64]


class Master:
    """Searches the duals with the highest bound, by column generation over whole plans.

    Parameters
    ----------
    pricing
        Finds the cheapest plan of each block at given prices.
    coupling
        The rows that plans share.
    time_left_s
        Tells what is left of the time.

    Attributes
    ----------
    best
        The highest bound so far.
    is_short
        Whether even a mix of the plans so far needs more GPUs than there are.
    is_cut
        Whether rounds ended early, so that something else has time too; there is some left.
    """

    def __init__(
        self, pricing: PricingProblem, coupling: Coupling, time_left_s: Callable[[], float]
    ) -> None:
        self._pricing = pricing
        self._coupling = coupling
        self._time_left_s = time_left_s
        self._columns: dict[Block, dict[BlockPlan, Use]] = {b: {} for b in pricing.blocks}
        self.best = self.evaluate(coupling.start())
        self.is_short = False
        self.is_cut = False

    def converge(self, shortage_costs: NDArray[np.float64], *, enough: float = np.inf) -> None:
        """Raise the bound until it is the master's value, is enough, or the time is over.

        Parameters
        ----------
        shortage_costs
            By coupling row: what one GPU (or node) more than there is costs.
        enough
            A bound at which to stop.
        """
        # A round that takes searches takes its time: some must be left for finding a plan.
        stop_s = self._time_left_s() / 2 if self._pricing.is_searching else -np.inf
        for _ in range(_MOST_ROUNDS):
            left_s = self._time_left_s()
            self.is_cut = 0.0 < left_s < stop_s
            if self.best.bound >= enough or self.is_cut:
                return
            duals = self._next_duals(shortage_costs, stop_s)
            if duals is None:
                return
            known = sum(len(plans) for plans in self._columns.values())
            try:
                found = self.evaluate(duals)
            except SolverError:  # a pricer without a library gives up where too much is alike
                return
            is_new = known < sum(len(plans) for plans in self._columns.values())
            if found.bound > self.best.bound:
                self.best = found
            elif self._pricing.is_searching and not is_new:
                return  # the next round would ask the same again

    def _next_duals(
        self, shortage_costs: NDArray[np.float64], stop_s: float
    ) -> NDArray[np.float64] | None:
        """Return duals to ask for a bound at; None where there is nothing more to learn.

        Where every question takes a search, they are the best ones for the templates that are
        known so far: rounds over these take no time, and few rounds with searches are left.
        """
        center = self.best
        for turn in range(_MOST_ROUNDS):
            mix = self._mix(shortage_costs)
            if mix is None:
                return None
            self.is_short = mix.shortage > _SHORT
            if mix.value - self.best.bound <= _CONVERGED * abs(mix.value):
                return None
            duals = _WEIGHT_OF_BEST * center.duals + (1.0 - _WEIGHT_OF_BEST) * mix.duals
            if not self._pricing.is_searching:
                return duals
            if turn == 0:
                center = self._answer(center.duals, known_only=True)
            is_close = mix.value - center.bound <= _CONVERGED * abs(mix.value)
            if is_close or self._time_left_s() < stop_s:
                break
            found = self._answer(duals, known_only=True)
            if found.bound > center.bound:
                center = found
        return center.duals

    def plans(self) -> Iterator[tuple[Block, BlockPlan]]:
        """Yield all plans so far."""
        for block, plans in self._columns.items():
            for plan in plans:
                yield block, plan

    def add_plan(self, block: Block, plan: BlockPlan) -> None:
        """Let a plan be part of the mix."""
        if plan not in self._columns[block]:
            self._columns[block][plan] = self._coupling.use(plan, self._pricing)

    def evaluate(self, duals: NDArray[np.float64]) -> Evaluation:
        """Return the bound at some duals, and remember the plans."""
        return self._answer(duals, known_only=False)

    def _answer(self, duals: NDArray[np.float64], *, known_only: bool) -> Evaluation:
        duals = self._coupling.with_flow(duals)
        answers = self._pricing.solve(self._coupling.prices(duals), known_only=known_only)
        shared, size = self._coupling.shared_part(duals)
        values = [answer.value for answer in answers.values()]
        bound = shared + float(sum(values))
        if np.isfinite(bound):
            bound -= _SAFETY * (size + float(np.abs(values).sum()))
        for block, answer in answers.items():
            if answer.plan is not None:
                self.add_plan(block, answer.plan)
        return Evaluation(duals, bound, answers)

    def _mix(self, shortage_costs: NDArray[np.float64]) -> _Mix | None:
        """Mix the plans so far as cheaply as possible; None if there is no time for it."""
        program, objective = self._coupling.program()
        short = []
        for row in np.flatnonzero(self._coupling.is_soft()).tolist():
            variable = program.add_variable(0.0, float("inf"))
            objective[variable] = float(shortage_costs[row])
            program.entry_row.append(row)
            program.entry_variable.append(variable)
            program.entry_value.append(-1.0)
            short.append(variable)
        for plans in self._columns.values():
            terms = []
            for use in plans.values():
                variable = program.add_variable(0.0, float("inf"))
                objective[variable] = use.cost
                program.entry_row += use.rows.tolist()
                program.entry_variable += [variable] * len(use.rows)
                program.entry_value += use.values.tolist()
                terms.append((variable, 1.0))
            program.add_row(terms, lower=1.0, upper=1.0)
        found = solve_lp(program, objective, time_limit_s=self._time_left_s())
        if found is None:
            return None
        duals = found.duals[: self._coupling.num_rows]
        return _Mix(found.value, float(found.values[short].sum()), duals)
