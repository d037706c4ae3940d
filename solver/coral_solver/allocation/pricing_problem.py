"""The cheapest whole plan of each model under given prices of slices: what bounds are made of."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.frontiers import Menu, paired, summed
from coral_solver.allocation.knapsack import UNBOUNDED, CoveringItems, cover_frontier
from coral_solver.allocation.source import SearchingPricer
from coral_solver.domain.processors import num_threads
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.columns import Column
    from coral_solver.allocation.frontiers import Frontier
    from coral_solver.allocation.ground import Ground
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.pricing import PricedTemplates

MOST_NUMBER = 4
"""Replicas that the bound knows of; wanting more is a row of the integer program only."""


_LEAST_RATE = 1e-12

_HALVES = (Phase.PREFILL, Phase.DECODE)


class Need(NamedTuple):
    """What one model is to have: a rate, and a number of instances."""

    rate_req_per_s: float
    number: int


class Prices(NamedTuple):
    """What slices and kept instances cost.

    Attributes
    ----------
    slices
        Shape (offers, C): price of a slice of each configuration; not negative.
    keeps
        Shape (keep classes,): price of keeping one instance of each class.
    where
        By region, site factor and configuration: where its price is in ``slices``.
    """

    slices: NDArray[np.float64]
    keeps: NDArray[np.float64]
    where: dict[tuple[str, float, NodeConfig], tuple[int, int]]

    def of_column(self, column: Column) -> float:
        """Return the price of one new instance."""
        place = column.region, column.site_factor
        return float(
            sum(self.slices[self.where[*place, config]] * n for config, n in column.configs)
        )


class Block(NamedTuple):
    """A part of a plan that can be priced on its own.

    One phase of a model, or all of its phases where aggregated and disaggregated serving mix.
    """

    model: int
    phases: tuple[Phase, ...]


class Item(NamedTuple):
    """A template in an offer, as far as prices and plans need to know it."""

    model: int
    phase: Phase
    offer: int
    handle: int


class Taken(NamedTuple):
    """Node configurations that a template takes, shape (C,), and its capacity at factor 1."""

    counts: NDArray[np.int64]
    capacity_req_per_s: float


class Part(NamedTuple):
    """What serves in one place: whole instances, or prefill and decode that pair there.

    Attributes
    ----------
    offers
        By phase: where it may start something.
    menus
        By phase: what it may take, at some prices.
    frontiers
        By number of instances at least: the least cost of each rate.
    """

    offers: dict[Phase, tuple[int, ...]]
    menus: dict[Phase, Menu]
    frontiers: list[Frontier]


class BlockPlan(NamedTuple):
    """A whole plan of one block.

    Attributes
    ----------
    items
        New instances: template in an offer, and how many.
    kept
        Keep classes, and how many of each stay.
    """

    items: tuple[tuple[Item, int], ...]
    kept: tuple[tuple[int, int], ...]


class Answer(NamedTuple):
    """The cheapest plan of one block at some prices.

    Attributes
    ----------
    value
        Its cost; no plan of the block costs less. Infinite if there is none.
    plan
        The plan; None if there is none.
    parts
        Its parts.
    frontiers
        By number of instances at least: the least cost of each rate, over all parts.
    """

    value: float
    plan: BlockPlan | None
    parts: list[Part]
    frontiers: list[Frontier]

    @property
    def menus(self) -> list[Menu]:
        """What all parts may take."""
        return [menu for part in self.parts for menu in part.menus.values()]

    def rates(self, top_req_per_s: float) -> NDArray[np.float64]:
        """Return every rate up to a top one at which more would cost more, ascending."""
        return np.unique(np.minimum(self.frontiers[0].rate_req_per_s, top_req_per_s))

    def cost_of(self, rates_req_per_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the least cost of carrying each rate, with any number of instances."""
        return self.frontiers[0].cost_of(rates_req_per_s)

    def plan_of(self, rate_req_per_s: float) -> BlockPlan:
        """Return the cheapest plan that carries a rate; there is one."""
        return _plan_of(self.frontiers[0], rate_req_per_s)


class PricingProblem:
    """Finds the cheapest plan of each block at some prices.

    Parameters
    ----------
    ground
        What plans are made of.
    needs
        By model: what it is to have. Models without an entry have no block.
    taken
        What is known of items, shared with other problems on the same ground.

    Attributes
    ----------
    needs
        As given.
    blocks
        The blocks.
    taken
        By item that was seen: what it takes and carries.
    is_searching
        Whether a question about some model takes a search.
    """

    def __init__(
        self,
        ground: Ground,
        needs: Mapping[int, Need],
        taken: dict[Item, Taken] | None = None,
    ) -> None:
        self._ground = ground
        self.needs = needs
        self._keeps: dict[tuple[int, Phase], list[int]] = defaultdict(list)
        for index, keep in enumerate(ground.keeps):
            self._keeps[keep.model, keep.phase].append(index)
        self.taken: dict[Item, Taken] = {} if taken is None else taken
        self.blocks = self._blocks()
        self.is_searching = any(
            isinstance(pricer, SearchingPricer)
            for known in ground.known
            for pricer in known.pricers.values()
        )

    def solve(
        self,
        prices: Prices,
        blocks: Iterable[Block] | None = None,
        *,
        known_only: bool = False,
    ) -> dict[Block, Answer]:
        """Return the cheapest plan of each block.

        With ``known_only`` of templates that were found earlier, where finding more of them takes
        a search: what the plans cost is then no bound.
        """
        chosen = list(self.blocks if blocks is None else blocks)

        def answer(block: Block) -> Answer:
            return self._solve_block(block, prices, known_only=known_only)

        if known_only or not self.is_searching:
            return {block: answer(block) for block in chosen}
        # The searches of a block are its own, and compiled.
        with ThreadPoolExecutor(num_threads()) as threads:
            return dict(zip(chosen, threads.map(answer, chosen), strict=True))

    def _menu(
        self,
        model: int,
        phase: Phase,
        region: str | None,
        prices: Prices,
        need: Need,
        *,
        known_only: bool,
    ) -> tuple[tuple[int, ...], Menu]:
        """Return what one phase of a model may take in a region, or in all of them."""
        ground = self._ground
        offers = tuple(
            offer
            for offer in ground.places.get((model, phase), ())
            if region in (None, ground.offers[offer].region)
        )
        items: list[Item] = []
        capacity, cost = [], []
        asked = self._ask(model, phase, offers, prices, need.rate_req_per_s, known_only=known_only)
        for offer, found in asked.items():
            factor = ground.offers[offer].site_factor
            items += self.remember(model, phase, offer, found)
            capacity.append(found.capacity_req_per_s * factor)
            cost.append(found.cost)
        keeps = [
            keep
            for keep in self._keeps[model, phase]
            if region in (None, ground.keeps[keep].region)
        ]
        classes = [ground.keeps[index] for index in keeps]
        capacity.append(np.array([keep.capacity_req_per_s for keep in classes], dtype=np.float64))
        cost.append(prices.keeps[keeps])
        most = np.full(len(items) + len(keeps), UNBOUNDED)
        most[len(items) :] = [len(keep.members) for keep in classes]
        covering = CoveringItems(np.concatenate(capacity), np.concatenate(cost), most)
        covers = [
            cover_frontier(covering, need.rate_req_per_s, number)
            for number in range(need.number + 1)
        ]
        return offers, Menu(items, keeps, covers)

    def _ask(
        self,
        model: int,
        phase: Phase,
        offers: Sequence[int],
        prices: Prices,
        rate_req_per_s: float,
        *,
        known_only: bool,
    ) -> dict[int, PricedTemplates]:
        """Return by offer the templates that are of use at some prices."""
        ground = self._ground
        rooms = ground.rooms[model]
        by_factor: dict[float, list[int]] = defaultdict(list)
        for offer in offers:
            by_factor[ground.offers[offer].site_factor].append(offer)
        found: dict[int, PricedTemplates] = {}
        for factor, alike in by_factor.items():
            enough = max(rate_req_per_s / factor, _LEAST_RATE)
            pricer = ground.known[model].pricers[phase]
            if isinstance(pricer, SearchingPricer):
                answers = pricer.staircases(
                    prices.slices[alike], [rooms[i] for i in alike], enough, known_only=known_only
                )
                found |= dict(zip(alike, answers, strict=True))
            else:
                found |= {i: pricer.staircase(prices.slices[i], rooms[i], enough) for i in alike}
        return dict(sorted(found.items()))

    def remember(self, model: int, phase: Phase, offer: int, found: PricedTemplates) -> list[Item]:
        """Return the items of priced templates; what they take can be looked up by item."""
        items = [Item(model, phase, offer, handle) for handle in found.handles.tolist()]
        for row, item in enumerate(items):
            if item not in self.taken:
                self.taken[item] = Taken(found.counts[row], float(found.capacity_req_per_s[row]))
        return items

    def _solve_block(self, block: Block, prices: Prices, *, known_only: bool) -> Answer:
        need = self.need(block.model)
        places: list[tuple[tuple[Phase, ...], str | None]] = []
        if Phase.WHOLE in block.phases:
            places.append(((Phase.WHOLE,), None))
        halves = tuple(phase for phase in block.phases if phase is not Phase.WHOLE)
        if len(halves) == 1 or (halves and self._ground.options.sum_regions):
            places.append((halves, None))
        elif halves:
            places += [(halves, region) for region in self._regions(block.model)]
        parts = []
        for phases, region in places:
            found = {
                p: self._menu(block.model, p, region, prices, need, known_only=known_only)
                for p in phases
            }
            menus = {phase: menu for phase, (_, menu) in found.items()}
            frontiers = [paired(list(menus.values()), n) for n in range(need.number + 1)]
            parts.append(Part({p: offers for p, (offers, _) in found.items()}, menus, frontiers))
        frontiers = summed([part.frontiers for part in parts], need.rate_req_per_s)
        last = frontiers[need.number]
        value = float(last.cost_of(np.array([need.rate_req_per_s]))[0])
        plan = _plan_of(last, need.rate_req_per_s) if np.isfinite(value) else None
        return Answer(value, plan, parts, frontiers)

    def _regions(self, model: int) -> list[str]:
        """Return the regions in which both prefill and decode of a model can run."""
        ground = self._ground
        offers = ground.places.get((model, Phase.PREFILL), ())
        keeps = self._keeps[model, Phase.PREFILL]
        return sorted(
            {ground.offers[i].region for i in offers} | {ground.keeps[i].region for i in keeps}
        )

    def need(self, model: int) -> Need:
        """Return what the bound asks for a model."""
        need = self.needs[model]
        # Whatever carries a rate is one instance at least.
        number = 0 if need.number <= 1 and need.rate_req_per_s > 0 else need.number
        return Need(need.rate_req_per_s, min(number, MOST_NUMBER))

    def _blocks(self) -> list[Block]:
        blocks = []
        for model in sorted(self.needs):
            phases = [
                phase
                for phase in (Phase.WHOLE, Phase.PREFILL, Phase.DECODE)
                if self._ground.places.get((model, phase)) or self._keeps[model, phase]
            ]
            halves = tuple(phase for phase in phases if phase is not Phase.WHOLE)
            one_place = self._ground.options.sum_regions or len(self._regions(model)) == 1
            if Phase.WHOLE not in phases and one_place:
                blocks += [Block(model, (phase,)) for phase in halves]
            elif phases:
                blocks.append(Block(model, tuple(phases)))
        return blocks


def carried_req_per_s(
    ground: Ground, pricing: PricingProblem, block: Block, plan: BlockPlan
) -> float:
    """Return the rate that a plan of a block carries, its phases paired over all regions."""
    rates = dict.fromkeys(Phase, 0.0)
    for item, number in plan.items:
        factor = ground.offers[item.offer].site_factor
        rates[item.phase] += number * pricing.taken[item].capacity_req_per_s * factor
    for index, number in plan.kept:
        keep = ground.keeps[index]
        rates[keep.phase] += number * keep.capacity_req_per_s
    halves = [rates[phase] for phase in block.phases if phase is not Phase.WHOLE]
    return rates[Phase.WHOLE] + min(halves, default=0.0)


def _plan_of(frontier: Frontier, rate_req_per_s: float) -> BlockPlan:
    items: list[tuple[Item, int]] = []
    kept: list[tuple[int, int]] = []
    for menu, cover, point in frontier.picks(frontier.point_of(rate_req_per_s)):
        for index, count in sorted(cover.items_of(point).items()):
            if index < len(menu.items):
                items.append((menu.items[index], count))
            else:
                kept.append((menu.keeps[index - len(menu.items)], count))
    return BlockPlan(tuple(items), tuple(kept))
