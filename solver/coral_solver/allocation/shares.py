"""Which shares of their demand no plan can give to some models: proofs over all templates.

A share ``t`` is impossible if there are prices of the GPUs at which the cheapest whole plans that
carry ``t`` of every demand cost more than all GPUs together. Column generation finds such prices
(the master of ``coral_solver.allocation.master`` in its first phase: only what is missing has a
cost), bisection the least share that is impossible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.affordable import affordable_items
from coral_solver.allocation.coupling import Coupling
from coral_solver.allocation.cuts import Raised, add_cuts
from coral_solver.allocation.pricing_problem import Need, PricingProblem, carried_req_per_s
from coral_solver.allocation.solver import solve_lp
from coral_solver.domain.errors import SolverError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from coral_solver.allocation.coupling import Use
    from coral_solver.allocation.ground import Ground
    from coral_solver.allocation.pricing_problem import Answer, Block, BlockPlan, Item, Taken
    from coral_solver.allocation.program import Program
    from coral_solver.allocation.settled import FixedProgram

_MOST_ROUNDS = 60
_WEIGHT_OF_BEST = 0.5
"""Prices are asked between the best duals so far and the master's (Wentges smoothing)."""

_SAFETY = 1e-7
"""A share is impossible only if more than this part of all terms is missing."""

_MOST_ITEMS = 20_000
"""Most templates for one integer program."""

LEAST_SHARE = 1e-9
"""Smaller than what any instance carries: where it is impossible, nothing can be raised."""


class Raise(NamedTuple):
    """How far can the shares of some models be raised together: a question.

    Attributes
    ----------
    floors
        By model: the share that it has in any case.
    members
        Models whose share is to be raised.
    exceptions
        How many of the members may stay at their floors.
    """

    floors: Mapping[int, float]
    members: frozenset[int]
    exceptions: int


class _Column(NamedTuple):
    """A plan of one block in the master: what it takes, and the rate that it carries."""

    use: Use
    rate_req_per_s: float


class Tier(NamedTuple):
    """Answers of all blocks for one set of needs."""

    pricing: PricingProblem
    answers: dict[Block, Answer]


class ShareProof(NamedTuple):
    """What some duals prove: ``missing`` above 0 means that the shares are impossible."""

    duals: NDArray[np.float64]
    missing: float
    low: Tier
    high: Tier


class ShareBounds:
    """Finds shares that no plan can give; remembers plans and prices between the questions.

    Parameters
    ----------
    ground
        What plans are made of.
    taken
        What is known of items; more are added.
    time_left_s
        Tells what is left of the time.
    """

    def __init__(
        self, ground: Ground, taken: dict[Item, Taken], *, time_left_s: Callable[[], float]
    ) -> None:
        self._ground = ground
        self._taken = taken
        self._time_left_s = time_left_s
        self._coupling = Coupling(ground, lambda _: {})
        self._columns: dict[Block, dict[BlockPlan, _Column]] = {}
        self._duals = np.where(self._coupling.is_soft(), -1.0 / self._coupling.amounts(), 0.0)

    def upper_bound(self, question: Raise, reached: float, gap: float) -> float:
        """Return a share above which the members cannot all be raised, but the exceptions.

        Parameters
        ----------
        question
            What is asked.
        reached
            A share that some plan gives.
        gap
            Share of the answer at which to stop.
        """
        possible, impossible = reached, 1.0
        share = LEAST_SHARE if reached <= 0.0 else 1.0
        while self._time_left_s() > 0:
            found = self.search(question, share)
            if found is None:
                break
            if found.missing > 0:
                impossible = share
            else:
                possible = share
            if share == LEAST_SHARE:
                if impossible == share:
                    return 0.0
                share = 1.0
                continue
            if impossible - possible <= gap * impossible:
                break
            share = 0.5 * (possible + impossible)
        return impossible

    def is_impossible(self, question: Raise, share: float) -> bool:
        """Return whether it is proven that the members cannot all be raised above a share."""
        proof = self.search(question, max(share, LEAST_SHARE))
        return proof is not None and proof.missing > 0

    def seen(self) -> set[Item]:
        """Return the items of all plans that have been looked at."""
        return {
            item for plans in self._columns.values() for plan in plans for item, _ in plan.items
        }

    def items_beyond(self, proof: ShareProof, time_left_s: Callable[[], float]) -> set[Item] | None:
        """Return every template that a plan with at least the share of a proof may need.

        None if there are too many, if the time is over, or if a pricer gives up.
        """
        prices = self._coupling.prices(proof.duals)
        items: set[Item] = set()
        for tier in (proof.high, proof.low):
            try:
                more = affordable_items(
                    self._ground,
                    tier.pricing,
                    prices,
                    tier.answers,
                    -proof.missing,
                    _MOST_ITEMS - len(items),
                    time_left_s,
                )
            except SolverError:
                return None
            if more is None:
                return None
            items.update(more)
        return items

    def add_cuts(
        self, program: Program, opened: FixedProgram, proof: ShareProof, less: Mapping[int, int]
    ) -> None:
        """Demand of every block what its cheapest plan costs, at the prices of a proof.

        Parameters
        ----------
        program
            Where the rows go: that of ``opened`` with the share as a row.
        opened
            What the variables mean.
        proof
            Of the share that the program asks for.
        less
            By member the binary that says that it is an exception.
        """
        prices = self._coupling.prices(proof.duals)
        raised = {
            block: Raised(answer.value, less[block.model])
            for block, answer in proof.high.answers.items()
        }
        add_cuts(program, opened.model, opened.space, prices, proof.low.answers, raised)

    def search(self, question: Raise, share: float) -> ShareProof | None:
        """Look for prices at which a share is impossible; return the best ones.

        None if a pricer without a library gives up before it has told anything.
        """
        low = PricingProblem(self._ground, self._needs(question, None), self._taken)
        high = PricingProblem(self._ground, self._needs(question, share), self._taken)
        try:
            best = self._evaluate(question, low, high, self._duals)
        except SolverError:
            return None
        for _ in range(_MOST_ROUNDS):
            if best.missing > 0 or self._time_left_s() <= 0:
                break
            duals = self._solve_master(question, low, high)
            if duals is None:
                break
            mixed = _WEIGHT_OF_BEST * best.duals + (1.0 - _WEIGHT_OF_BEST) * duals
            try:
                found = self._evaluate(question, low, high, mixed)
            except SolverError:
                break
            if found.missing > best.missing:
                best = found
        self._duals = best.duals
        return best

    def _needs(self, question: Raise, share: float | None) -> dict[int, Need]:
        """Return the needs of all models at their floors, or of the members at a share."""
        models = self._ground.problem.models
        return {
            index: Need((floor if share is None else share) * models[index].demand_req_per_s, 0)
            for index, floor in question.floors.items()
            if share is None or index in question.members
        }

    def _evaluate(
        self,
        question: Raise,
        low: PricingProblem,
        high: PricingProblem,
        duals: NDArray[np.float64],
    ) -> ShareProof:
        """Ask every block for its cheapest plans, and choose the exceptions that cost most."""
        duals = self._coupling.with_flow(duals)
        prices = self._coupling.prices(duals)
        at_floor, raised = low.solve(prices), high.solve(prices)
        for pricing, answers in ((low, at_floor), (high, raised)):
            for block, answer in answers.items():
                if answer.plan is not None:
                    self._remember(pricing, block, answer.plan)
        total, size = self._coupling.shared_part(duals)
        extra = dict.fromkeys(sorted(question.members), 0.0)
        for block, answer in at_floor.items():
            total += answer.value
            size += abs(answer.value)
            if block in raised:
                extra[block.model] += raised[block].value - answer.value
                size += abs(raised[block].value)
        wanted = len(extra) - question.exceptions
        total += sum(sorted(max(0.0, value) for value in extra.values())[:wanted])
        if np.isfinite(total):
            finite = [a.value for a in (*at_floor.values(), *raised.values())]
            total -= _SAFETY * (size if np.isfinite(size) else float(np.sum(np.abs(finite))))
        return ShareProof(duals, total, Tier(low, at_floor), Tier(high, raised))

    def _remember(self, pricing: PricingProblem, block: Block, plan: BlockPlan) -> None:
        columns = self._columns.setdefault(block, {})
        if plan not in columns:
            rate = carried_req_per_s(self._ground, pricing, block, plan)
            columns[plan] = _Column(self._coupling.use(plan, pricing), rate)

    def _solve_master(
        self, question: Raise, low: PricingProblem, high: PricingProblem
    ) -> NDArray[np.float64] | None:
        """Mix the plans so far so that as little as possible is missing; return the duals.

        None where nothing is missing: no prices prove anything then.
        """
        program, objective = self._coupling.program()
        for row in np.flatnonzero(self._coupling.is_soft()).tolist():
            variable = program.add_variable(0.0, float("inf"))
            objective[variable] = 1.0 / float(self._coupling.amounts()[row])
            program.entry_row.append(row)
            program.entry_variable.append(variable)
            program.entry_value.append(-1.0)
        raised = {index: program.add_variable(0.0, 1.0) for index in sorted(question.members)}
        wanted = float(len(raised) - question.exceptions)
        program.add_row([(v, 1.0) for v in raised.values()], lower=wanted, upper=float(len(raised)))
        for block in low.blocks:
            parts: list[tuple[PricingProblem, float]] = [(low, 1.0)]
            if block.model in raised:
                parts.append((high, 0.0))
            for pricing, ones in parts:
                need = pricing.need(block.model).rate_req_per_s
                terms = []
                for column in self._columns.get(block, {}).values():
                    if column.rate_req_per_s >= need * (1.0 - 1e-9):
                        terms.append((program.add_variable(0.0, float("inf")), 1.0))
                        program.entry_row += column.use.rows.tolist()
                        program.entry_variable += [terms[-1][0]] * len(column.use.rows)
                        program.entry_value += column.use.values.tolist()
                if block.model in raised:
                    terms.append((raised[block.model], 1.0 if pricing is low else -1.0))
                program.add_row(terms, lower=ones, upper=ones)
        found = solve_lp(program, objective, time_limit_s=self._time_left_s())
        if found is None or found.value <= _SAFETY:
            return None
        duals: NDArray[np.float64] = found.duals[: self._coupling.num_rows]
        return duals
