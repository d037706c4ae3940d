"""The columns that a search has seen: few of all that there are."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.columns import column_of, space_of
from coral_solver.allocation.dominance import undominated
from coral_solver.domain.errors import SolverError
from coral_solver.domain.pricing import Allowance, PricedTemplates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coral_solver.allocation.columns import Column, SearchSpace
    from coral_solver.allocation.decision import Decision
    from coral_solver.allocation.ground import Ground
    from coral_solver.allocation.master import Relaxation
    from coral_solver.allocation.pricing_problem import Item, PricingProblem


_EVERYTHING = 1500
"""Most columns of a search space that holds all there are."""


class Choice(NamedTuple):
    """A decision with the space that it is about."""

    space: SearchSpace
    decision: Decision


class ColumnPool:
    """Columns by item.

    Parameters
    ----------
    ground
        What there is beside the columns.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._columns: dict[Item, Column] = {}

    def add(self, items: Iterable[Item], pricing: PricingProblem) -> None:
        """Make columns of items that a pricing problem has given."""
        for item in items:
            if item not in self._columns:
                taken = pricing.taken[item]
                self._columns[item] = column_of(
                    self._ground,
                    item.model,
                    item.phase,
                    item.offer,
                    taken.counts,
                    taken.capacity_req_per_s,
                    self._ground.known[item.model].pricers[item.phase],
                    item.handle,
                )

    def add_cheapest(self, relaxation: Relaxation) -> None:
        """Add what no other template undercuts where GPUs are not scarce, wherever it fits."""
        pricing = relaxation.pricing
        prices = relaxation.coupling.prices(relaxation.coupling.start())
        try:
            answers = pricing.solve(prices)
        except SolverError:  # a pricer without a library gives up: the others have something
            answers = {}
            for block in pricing.blocks:
                with suppress(SolverError):
                    answers |= pricing.solve(prices, [block])
        for answer in answers.values():
            for menu in answer.menus:
                self.add(menu.items, pricing)
                self.add(self._elsewhere(menu.items, pricing), pricing)

    def _elsewhere(self, items: Iterable[Item], pricing: PricingProblem) -> list[Item]:
        """Return the same templates in all other offers that have room for them."""
        found = []
        for item in items:
            taken = pricing.taken[item]
            for offer in self._ground.places[item.model, item.phase]:
                other = item._replace(offer=offer)
                room = self._ground.rooms[item.model][offer]
                if (taken.counts @ room.units <= room.slots).all():
                    pricing.taken.setdefault(other, taken)
                    found.append(other)
        return found

    def items_of(self, choice: Choice) -> set[Item]:
        """Return the items that a decision starts."""
        started = np.flatnonzero(choice.decision.started).tolist()
        keys = {_key(choice.space.columns[i]) for i in started}
        return {item for item, column in self._columns.items() if _key(column) in keys}

    def space(self, items: Iterable[Item] | None = None) -> SearchSpace:
        """Return the search space of some items of the pool, or of all; the order is fixed."""
        chosen = sorted(self._columns if items is None else set(items))
        return space_of(self._ground, [self._columns[item] for item in chosen])

    def everything(self, pricing: PricingProblem) -> SearchSpace | None:
        """Return the space of all templates that an optimal plan can need; None if too many."""
        ground = self._ground
        chosen: list[Item] = []
        for (model, phase), places in ground.places.items():
            pricer = ground.known[model].pricers[phase]
            prices = np.ones(len(ground.configs))
            for offer in places:
                all_of_it = Allowance(np.array([np.inf]), np.array([np.inf]))
                found = pricer.within(prices, ground.rooms[model][offer], all_of_it, _EVERYTHING)
                if found is None:
                    return None
                useful = undominated(found.counts, found.capacity_req_per_s)
                found = PricedTemplates(
                    capacity_req_per_s=found.capacity_req_per_s[useful],
                    cost=found.cost[useful],
                    counts=found.counts[useful],
                    handles=found.handles[useful],
                )
                chosen += pricing.remember(model, phase, offer, found)
                if len(chosen) > _EVERYTHING:
                    return None
        self.add(chosen, pricing)
        return self.space([*chosen, *self._columns])


def moved(decision: Decision, old: SearchSpace, new: SearchSpace) -> Decision:
    """Return the same decision in a space that has all of its columns."""
    column = {_key(c): i for i, c in enumerate(new.columns)}
    draw = {d: i for i, d in enumerate(new.draws)}
    started = np.zeros(len(new.columns), dtype=np.int64)
    drawn = np.zeros(len(new.draws), dtype=np.int64)
    for index in np.flatnonzero(decision.started).tolist():
        started[column[_key(old.columns[index])]] = decision.started[index]
    for index in np.flatnonzero(decision.drawn).tolist():
        drawn[draw[old.draws[index]]] = decision.drawn[index]
    return replace(decision, started=started, drawn=drawn)


def _key(column: Column) -> tuple[object, ...]:
    return column.model, column.phase, column.region, column.site_factor, column.handle
