"""GPUs are short: who is served how much, class by class, then the wishes, then the cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.allocation.budget import BudgetBound
from coral_solver.allocation.cheapest import CheapestSearch
from coral_solver.allocation.columns import target_req_per_s
from coral_solver.allocation.coupling import Coupling
from coral_solver.allocation.decision import standing
from coral_solver.allocation.master import Relaxation
from coral_solver.allocation.objective import (
    BUDGET_LEVEL,
    COST_LEVEL,
    priority_classes,
    soft_shortfall,
    weight,
)
from coral_solver.allocation.options import SHARE_TOLERANCE
from coral_solver.allocation.pricing_problem import Need, PricingProblem
from coral_solver.allocation.settled import FixedProgram, Settled
from coral_solver.allocation.shares import LEAST_SHARE, Raise, ShareBounds
from coral_solver.allocation.solver import MipStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.allocation.incumbent import Incumbent, LevelBounds
    from coral_solver.allocation.objective import PriorityClass
    from coral_solver.allocation.pool import ColumnPool
    from coral_solver.allocation.pricing_problem import Item
    from coral_solver.allocation.program import Program

_SERVED_SHARE = 0.8
"""Share of the time left that the served levels may take together."""

_STEP_SHARE = 0.6
"""Share of what is left of that which one step may take: the worst off come first."""

_BOUND_SHARE = 0.4
"""Share of a step's time for its bound by prices."""

_TRY_SHARE = 0.15
"""Share of a step's time for one attempt at a certain share."""

_MOST_TRIES = 3

_CLOSE = 0.2
"""Share of the gap by which a bound may miss what there is."""


class ScarceSearch:
    """Raises the served shares, class by class, and then lowers the cost.

    Parameters
    ----------
    relaxation
        What bounds are made of.
    pool
        Columns that are known so far; more are added.
    incumbent
        The best plan so far.
    found
        Bounds are written into it.
    time_left_s
        Tells what is left of the time.
    progress
        Called with a few words when a solve begins.
    """

    def __init__(
        self,
        relaxation: Relaxation,
        pool: ColumnPool,
        incumbent: Incumbent,
        found: LevelBounds,
        *,
        time_left_s: Callable[[], float],
        progress: Callable[[str], None],
    ) -> None:
        self._ground = relaxation.ground
        self._relaxation = relaxation
        self._gap = relaxation.ground.options.relative_gap
        self._pool = pool
        self._incumbent = incumbent
        self._found = found
        self._time_left_s = time_left_s
        self._progress = progress
        self._models = relaxation.ground.problem.models
        self._placeable = incumbent.best.space.placeable
        self._classes = priority_classes(relaxation.ground.problem)
        self._settled = Settled(relaxation.ground, incumbent, found)
        self._step_ends_s = 0.0  # in terms of ``time_left_s``
        self._all: SearchSpace | None = None
        for group in self._classes:
            self._bound_unplaceable(group)
        found.bounds[BUDGET_LEVEL] = sum(
            weight(model) * model.demand_req_per_s
            for index, model in enumerate(self._models)
            if index in self._placeable
        )

    def run(self) -> None:
        """Serve what can be served, class by class; then the wishes; then the cost."""
        self._all = self._pool.everything(self._relaxation.pricing)
        budget_usd_per_hour = self._ground.problem.policy.budget_usd_per_hour
        if budget_usd_per_hour is None:
            seen = self._serve_by_class()
        else:
            seen = self._serve_within(budget_usd_per_hour)
        self._lower_cost(seen)

    def _serve_within(self, budget_usd_per_hour: float) -> set[Item]:
        """Serve as much weighted demand as a budget pays for; return the items looked at."""
        self._progress(BUDGET_LEVEL)
        self._begin_step(_SERVED_SHARE * self._time_left_s())
        limit = BudgetBound(
            self._ground,
            self._relaxation.pricing.taken,
            budget_usd_per_hour,
            time_left_s=self._bound_left_s,
        )
        limit.run()
        self._pool.add(limit.seen, self._relaxation.pricing)
        items = limit.seen | self._pool.items_of(self._incumbent.best)
        opened = self._settled.open(self._all or self._pool.space(items))
        program, hint = opened.program.copy(), opened.values(self._incumbent.best)
        objective = {}
        for index, served in opened.model.served.items():
            model = self._models[index]
            objective[served] = weight(model) * model.demand_req_per_s
            program.upper[served] = 1.0
            hint[served] = min(hint[served], 1.0)
        limit_s = self._step_left_s()
        result = self._settled.solve(
            opened, program, objective, maximize=True, limit_s=limit_s, hint=hint
        )
        bound = limit.value if self._all is None else min(limit.value, result.bound)
        self._found.bounds[BUDGET_LEVEL] = bound
        for index, share in sorted(self._incumbent.rank.shares.items()):
            if index in opened.model.served:
                self._settled.add([index], share)
        return items

    def _serve_by_class(self) -> set[Item]:
        """Serve one class after the other, leximin; return the items looked at."""
        shares = ShareBounds(
            self._ground,
            self._relaxation.pricing.taken,
            time_left_s=self._bound_left_s,
        )
        end_s = (1.0 - _SERVED_SHARE) * self._time_left_s()
        steps = len(self._incumbent.rank.shares)
        for group in self._classes:
            members = tuple(
                index
                for index in group.models
                if index in self._placeable and self._models[index].demand_req_per_s > 0
            )
            self._leximin(shares, group, members, end_s=end_s, steps=steps)
            steps -= len(members)
        return shares.seen()

    def _leximin(
        self,
        shares: ShareBounds,
        group: PriorityClass,
        members: tuple[int, ...],
        *,
        end_s: float,
        steps: int,
    ) -> None:
        """Raise the smallest share as far as possible, then the second smallest, and so on.

        The ``position``-th smallest share is at least ``t`` if at most ``position - 1`` models
        have less. Which models those are stays open to the levels after, but for the stuck ones:
        no plan gives them more than the share before.
        """
        ahead = len(self._zero_members(group))
        reached = 0.0
        stuck: set[int] = set()
        for position in range(1, len(members) + 1):
            level = group.served_level(ahead + position)
            self._progress(level)
            part = max(_STEP_SHARE, 1.0 / max(1, steps - position + 1))
            self._begin_step(part * (self._time_left_s() - end_s))
            no_more = min(1.0, reached * (1.0 + _CLOSE * self._gap))
            if position > 1:
                stuck |= self._stuck(shares, set(members) - stuck, no_more)
            free = tuple(index for index in members if index not in stuck)
            exceptions = position - 1 - len(stuck)
            if exceptions < 0:
                self._found.bounds[level] = no_more
                continue
            question = Raise(
                self._settled.floors(sorted(self._placeable)), frozenset(free), exceptions
            )
            self._found.bounds[level] = max(no_more, self._raise_share(shares, question))
            share = self._reached(question)
            if share > reached * (1.0 + SHARE_TOLERANCE):
                reached = share
                self._settled.add(free, share, exceptions=exceptions)
            if reached >= 1.0:
                return

    def _stuck(self, shares: ShareBounds, members: set[int], share: float) -> set[int]:
        """Return the members that have no more than a share, and are proven to never have."""
        given = self._incumbent.rank.shares
        floors = self._settled.floors(sorted(self._placeable))
        return {
            index
            for index in sorted(members)
            if given[index] <= share
            and self._bound_left_s() > 0
            and shares.is_impossible(Raise(floors, frozenset({index}), 0), share)
        }

    def _raise_share(self, shares: ShareBounds, question: Raise) -> float:
        """Raise the smallest share but the exceptions; return what it cannot exceed."""
        if self._step_left_s() <= 0:
            return 1.0
        gap = self._gap
        bound = shares.upper_bound(question, self._reached(question), _CLOSE * gap)
        self._pool.add(shares.seen(), self._relaxation.pricing)
        self._try_shares(shares, question, bound)
        reached = self._reached(question)
        if reached >= bound * (1.0 - gap):
            return bound
        no_more = min(1.0, reached * (1.0 + 0.5 * gap))
        proof = shares.search(question, max(no_more, LEAST_SHARE))
        if proof is None:
            return bound
        if proof.missing > 0:
            return no_more
        space = self._all
        if space is None:
            items = shares.items_beyond(proof, self._step_left_s)
            if items is None or self._step_left_s() <= 0:
                return bound
            self._pool.add(items, self._relaxation.pricing)
            space = self._pool.space(items | self._pool.items_of(self._incumbent.best))
        opened = self._settled.open(space)
        program, least, less = _with_share(opened, question)
        program.lower[least] = no_more
        shares.add_cuts(program, opened, proof, less)
        result = self._settled.solve(
            opened, program, {least: 1.0}, maximize=True, limit_s=self._step_left_s()
        )
        if result.status is MipStatus.INFEASIBLE:
            return no_more
        return min(bound, max(no_more, result.bound))

    def _try_shares(self, shares: ShareBounds, question: Raise, bound: float) -> None:
        """Look for plans at shares between what is reached and what may be possible."""
        items = shares.seen() | self._pool.items_of(self._incumbent.best)
        opened = self._settled.open(self._pool.space(items))
        top = bound
        share = bound * (1.0 - _CLOSE * self._gap)
        for _ in range(_MOST_TRIES):
            is_close = top <= self._reached(question) * (1.0 + self._gap)
            if is_close or self._step_left_s() <= 0:
                return
            program, least, _ = _with_share(opened, question)
            program.lower[least] = share
            result = self._settled.solve(opened, program, {}, limit_s=_TRY_SHARE * self._step_s)
            if result.values is None:
                top = share
            share = 0.5 * (top + self._reached(question))

    def _reached(self, question: Raise) -> float:
        """Return the smallest share of the best plan but the exceptions."""
        shares = sorted(self._incumbent.rank.shares[index] for index in question.members)
        return shares[question.exceptions]

    def _lower_cost(self, seen: set[Item]) -> None:
        """Grant wishes and lower the cost; shares stay as they are."""
        best = self._incumbent.best
        items = seen | self._pool.items_of(best)
        opened = self._settled.open(self._all or self._pool.space(items))
        for position, group in enumerate(self._classes):
            limit_s = self._time_left_s() / (len(self._classes) - position + 1)
            self._grant_wishes(opened, group, limit_s=limit_s)
        self._progress("cheapest plan")
        if self._all is not None:
            result = self._settled.solve(
                opened,
                opened.program,
                opened.model.cost,
                limit_s=self._time_left_s(),
                hint=opened.values(self._incumbent.best),
            )
            self._found.bounds[COST_LEVEL] = result.bound
            return
        pricing = PricingProblem(self._ground, self._needs(), self._relaxation.pricing.taken)
        search = CheapestSearch(
            Relaxation(self._ground, pricing, Coupling(self._ground)),
            self._pool,
            incumbent=self._incumbent.best,
            time_left_s=self._time_left_s,
        )
        search.run()
        self._found.solved = self._found.solved or search.solved
        self._found.bounds[COST_LEVEL] = search.bound
        if search.best is not None:
            self._incumbent.consider(search.best)

    def _needs(self) -> dict[int, Need]:
        """Return what every model has in the best plan: the cost is lowered around that."""
        given = standing(*self._incumbent.best)
        needs = {}
        for index, model in enumerate(self._models):
            rate = min(float(given.capacity_req_per_s[index]), target_req_per_s(model))
            number = min(int(given.replicas[index]), model.min_replicas)
            if index in self._placeable:
                needs[index] = Need(rate * (1.0 - SHARE_TOLERANCE), number)
        return needs

    def _grant_wishes(self, opened: FixedProgram, group: PriorityClass, *, limit_s: float) -> None:
        """Come as close to headroom and replicas as what is fixed allows, and fix that."""
        terms: dict[int, float] = {}
        constant = self._found.bounds[group.wishes_level]
        for index in group.models:
            if index in opened.model.served and self._models[index].headroom > 0:
                served = opened.model.served[index]
                terms[served] = -1.0 / opened.program.upper[served]
                constant += 1.0
            if index in opened.model.missing_replicas:
                missing = opened.model.missing_replicas[index]
                terms[missing] = 1.0 / self._models[index].min_replicas
        if not terms:
            return
        self._progress(group.wishes_level)
        hint = opened.values(self._incumbent.best)
        result = self._settled.solve(opened, opened.program, terms, limit_s=limit_s, hint=hint)
        if self._all is not None:
            self._found.bounds[group.wishes_level] = max(
                self._found.bounds[group.wishes_level], constant + result.bound
            )
        values = opened.values(self._incumbent.best)
        reached = sum(value * values[variable] for variable, value in terms.items())
        opened.program.add_row(terms.items(), upper=reached + SHARE_TOLERANCE)

    def _zero_members(self, group: PriorityClass) -> list[int]:
        """Return the models with templates and a demand that nothing free can serve now."""
        return [
            index
            for index in group.models
            if self._models[index].demand_req_per_s > 0
            and self._ground.known[index].can_serve
            and index not in self._placeable
        ]

    def _bound_unplaceable(self, group: PriorityClass) -> None:
        """State what is plain without a solve: nothing runs for models that fit nowhere."""
        for position, _ in enumerate(self._zero_members(group), start=1):
            self._found.bounds[group.served_level(position)] = 0.0
        self._found.bounds[group.wishes_level] = sum(
            soft_shortfall(self._models[index], 0.0, 0.0)
            for index in group.models
            if index not in self._placeable
        )

    def _begin_step(self, limit_s: float) -> None:
        self._step_s = max(0.0, limit_s)
        self._step_ends_s = self._time_left_s() - self._step_s

    def _bound_left_s(self) -> float:
        return self._step_left_s() - (1.0 - _BOUND_SHARE) * self._step_s

    def _step_left_s(self) -> float:
        return self._time_left_s() - self._step_ends_s


def _with_share(opened: FixedProgram, question: Raise) -> tuple[Program, int, dict[int, int]]:
    """Return the program with a variable that all shares reach but the exceptions.

    And by model the binary that says that it is one of them.
    """
    program = opened.program.copy()
    least = program.add_variable(0.0, 1.0)
    less = {index: program.add_variable(0, 1, integer=True) for index in sorted(question.members)}
    program.add_row([(b, 1.0) for b in less.values()], upper=float(question.exceptions))
    for index, below in less.items():
        served = opened.model.served[index]
        program.add_row([(least, 1.0), (served, -1.0), (below, -1.0)], upper=0.0)
    return program, least, less
