"""Templates of one model and phase by their price, with no library behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.pricing import PricedTemplates, Room
from coral_solver.domain.template import StagePlacement
from coral_solver.templates.bounded import cheapest
from coral_solver.templates.climb import Climb
from coral_solver.templates.contents import (
    LEAST_RATE,
    NEXT_RATE,
    SAME,
    Question,
    TooManyError,
    used_up,
)
from coral_solver.templates.joint_climb import JointClimb
from coral_solver.templates.offers import KnownOffers
from coral_solver.templates.pricing import PaperPipelines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.pricing import Allowance
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.performance.tables import SeparableTables
    from coral_solver.templates.offers import Offer, Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingLimits:
    """Which templates are on offer.

    Attributes
    ----------
    max_nodes
        Most node configurations of one template.
    rho
        Two or more node configurations together have at most ``rho`` times the memory of the
        model's weights.
    min_share
        Least capacity per GPU, as a share of the best on offer.
    """

    max_nodes: int
    rho: float
    min_share: float


class DynamicPricer:
    """Finds templates of one model and phase by their price, among all of the ``paper`` space.

    Parameters
    ----------
    configs
        Node configurations on offer, C of them: the order of all arrays.
    tables
        Stage rates of those that the model may use.
    limits
        Which templates are on offer.
    build
        Makes a template of its stages and its capacity.

    Attributes
    ----------
    configs
        As given.
    has_templates
        Whether there is any template, whatever it costs.

    Raises
    ------
    InvalidInputError
        If rates are not finite, are negative or rise with the layers.
    """

    def __init__(
        self,
        configs: Sequence[NodeConfig],
        tables: SeparableTables,
        limits: PricingLimits,
        build: Callable[[tuple[StagePlacement, ...], float], ServingTemplate],
    ) -> None:
        _check(tables)
        self.configs = tuple(configs)
        self._tables = tables
        self._build = build
        self._columns = np.array([self.configs.index(c) for c in tables.configs], dtype=np.int64)
        self._gpus = np.array([c.gpu_count for c in tables.configs], dtype=np.float64)
        self._pipelines = PaperPipelines(tables, limits.max_nodes)
        self._most_gib = limits.rho * tables.weight_gib * (1 + SAME)
        best_per_gpu = self._best_per_gpu()
        self.has_templates = best_per_gpu > 0
        self._least_per_gpu = limits.min_share * best_per_gpu
        self._known = KnownOffers(len(tables.configs))
        self._handles: dict[Placed, int] = {}
        self._last: tuple[object, list[PricedTemplates]] = (None, [])

    def staircase(
        self, prices: NDArray[np.float64], room: Room, enough_req_per_s: float
    ) -> PricedTemplates:
        """Return the templates that no other undercuts: capacity and cost both ascend.

        Parameters as of ``TemplatePricer.staircase``.
        """
        climb = JointClimb([self._climb(self._question(prices, room))], None)
        return self._priced([offer for _, offer in climb.staircase(enough_req_per_s)])

    def staircases(
        self,
        prices: NDArray[np.float64],
        rooms: Sequence[Room],
        enough_req_per_s: float,
        *,
        known_only: bool = False,
    ) -> list[PricedTemplates]:
        """Return the templates of each room that no others undercut, one or several together.

        Parameters as of ``SearchingPricer.staircases``.
        """
        questions = [self._question(row, room) for row, room in zip(prices, rooms, strict=True)]
        if known_only:
            return self._known_staircases(questions, enough_req_per_s)
        # The first prices of a plan are asked for twice.
        asked = [*(part.tobytes() for question in questions for part in question), enough_req_per_s]
        if self._last[0] == asked:
            return self._last[1]
        chosen = _undominated(questions, rooms)
        lowest = None
        if len(chosen) > 1:
            most_room = Room(
                units=np.min([rooms[i].units for i in chosen], axis=0),
                slots=np.max([rooms[i].slots for i in chosen], axis=0),
            )
            # Where a configuration does not fit alone, its price is of no interest.
            low = np.full(prices.shape[1], np.inf)
            low[self._columns] = np.min([questions[i].prices for i in chosen], axis=0)
            lowest = self._climb(self._question(low, most_room))
        climb = JointClimb([self._climb(questions[i]) for i in chosen], lowest)
        offers: list[list[Offer]] = [[] for _ in questions]
        for place, offer in climb.useful(enough_req_per_s):
            offers[chosen[place]].append(offer)
        self._last = asked, [self._priced(some) for some in offers]
        return self._last[1]

    def within(
        self, prices: NDArray[np.float64], room: Room, allowance: Allowance, limit: int
    ) -> PricedTemplates | None:
        """Return all templates that fit and cost no more than allowed; None if over ``limit``.

        Parameters as of ``TemplatePricer.within``.
        """
        question = self._question(prices, room)
        try:
            offers = self._climb(question).within(allowance, limit)
        except TooManyError:
            return None
        return None if offers is None else self._priced(offers)

    def template(self, handle: int) -> ServingTemplate:
        """Return a template that this pricer has given."""
        offer = self._known.offers[handle]
        stages = tuple(
            StagePlacement(layers, tuple(sorted(self._tables.configs[node] for node in nodes)))
            for nodes, layers in zip(offer.placed.stages, offer.placed.layers, strict=True)
        )
        return self._build(stages, offer.capacity_req_per_s)

    def _known_staircases(
        self, questions: Sequence[Question], enough_req_per_s: float
    ) -> list[PricedTemplates]:
        at_prices = [self._known.at(q).staircase(enough_req_per_s) for q in questions]
        capacity = [self._known.capacity_req_per_s[rows] for rows, _ in at_prices]
        useful = _not_undercut(capacity, [cost for _, cost in at_prices])
        return [
            PricedTemplates(
                capacity_req_per_s=carried[chosen],
                cost=cost[chosen],
                counts=self._counts(self._known.counts[rows[chosen]]),
                handles=rows[chosen],
            )
            for (rows, cost), carried, chosen in zip(at_prices, capacity, useful, strict=True)
        ]

    def _counts(self, own: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return numbers of the tables' configurations as numbers of all."""
        counts = np.zeros((len(own), len(self.configs)), dtype=np.int64)
        counts[:, self._columns] = own
        return counts

    def _climb(self, question: Question) -> Climb:
        return Climb(self._pipelines, question, self._gpus, self._least_per_gpu, self._known)

    def _question(self, prices: NDArray[np.float64], room: Room) -> Question:
        units, slots = room.units[self._columns], room.slots
        fits_alone = (units <= slots).all(axis=1)
        most_nodes = self._pipelines.max_nodes
        scarce = units[fits_alone].max(axis=0, initial=0) * most_nodes > slots
        rows, limits = self._memory_row()
        return Question(
            prices=np.where(fits_alone, prices[self._columns], np.inf),
            rows=np.ascontiguousarray(np.hstack([units[:, scarce], rows]), dtype=np.float64),
            limits=np.append(slots[scarce], limits).astype(np.float64),
        )

    def _memory_row(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the memory cap as rows of a question; none if no template can pass it."""
        memory_gib = self._tables.memory_gib
        if memory_gib.max(initial=0.0) * self._pipelines.max_nodes <= self._most_gib:
            return np.zeros((len(memory_gib), 0)), np.zeros(0)
        return memory_gib[:, None], np.array([self._most_gib])

    def _best_per_gpu(self) -> float:
        """Return the most that a template carries per GPU."""
        question = Question(self._gpus, *self._memory_row())
        best = float((self._pipelines.alone / self._gpus).max(initial=0.0))
        most_gpus = int(self._gpus.max(initial=0.0)) * self._pipelines.max_nodes
        for stages in range(2, self._pipelines.most_stages + 1):
            gpus = stages
            while gpus <= most_gpus:
                # A pipeline of at most so many GPUs that carries more per GPU than the best so far.
                target = max(best * gpus * NEXT_RATE, LEAST_RATE)
                least = self._pipelines.least_cost(stages, target, question.prices, np.inf)
                if least <= gpus:
                    weights = np.zeros(len(question.limits))
                    least, found = cheapest(
                        self._pipelines,
                        stages,
                        target,
                        question,
                        gpus + 0.5,
                        weights,
                        horizon=np.inf,
                    )
                    if found is not None and least <= gpus:
                        # Where the search was given up, it has more GPUs than ``least``.
                        own = used_up(found.nodes, found.sizes, self._gpus[:, None]).sum()
                        per_gpu = float(found.capacity_req_per_s[0] / own)
                        if per_gpu > best:
                            best = per_gpu
                            continue
                # What carries more than so much has at least so many GPUs.
                gpus = max(gpus + 1, int(np.ceil(min(least, most_gpus + 1) * (1 - SAME))))
        return best

    def _priced(self, offers: Sequence[Offer]) -> PricedTemplates:
        offers = sorted(offers, key=lambda o: (o.cost, o.capacity_req_per_s, o.placed))
        counts = np.zeros((len(offers), len(self.configs)), dtype=np.int64)
        for row, offer in enumerate(offers):
            for nodes in offer.placed.stages:
                np.add.at(counts[row], self._columns[list(nodes)], 1)
        return PricedTemplates(
            capacity_req_per_s=np.array([o.capacity_req_per_s for o in offers], dtype=np.float64),
            cost=np.array([o.cost for o in offers], dtype=np.float64),
            counts=counts,
            handles=np.array([self._handle(o) for o in offers], dtype=np.int64),
        )

    def _handle(self, offer: Offer) -> int:
        if offer.placed not in self._handles:
            self._handles[offer.placed] = len(self._known.offers)
            self._known.add(offer)
        return self._handles[offer.placed]


def _not_undercut(
    capacity: Sequence[NDArray[np.float64]], cost: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.bool_]]:
    """Return by place which of its templates none of any place undercuts."""
    carried, price = np.concatenate(capacity), np.concatenate(cost)
    order = np.lexsort((-carried, price))
    best = np.maximum.accumulate(np.append(-1.0, carried[order]))
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order] = carried[order] > best[:-1]
    return np.split(chosen, np.cumsum([len(part) for part in cost])[:-1])


def _undominated(questions: Sequence[Question], rooms: Sequence[Room]) -> list[int]:
    """Return the rooms that no other has more space and lower prices than."""
    chosen: list[int] = []
    for i, (question, room) in enumerate(zip(questions, rooms, strict=True)):
        beaten = any(
            (other.prices <= question.prices).all()
            and (rooms[j].slots >= room.slots).all()
            and (rooms[j].units <= room.units).all()
            # Of two that are the same, the first one stays.
            and (
                j < i
                or (other.prices < question.prices).any()
                or (rooms[j].slots > room.slots).any()
                or (rooms[j].units < room.units).any()
            )
            for j, other in enumerate(questions)
            if j != i
        )
        if not beaten:
            chosen.append(i)
    return chosen


def _check(tables: SeparableTables) -> None:
    rates = tables.rate_req_per_s[..., 1:]
    if not np.isfinite(rates).all() or (rates < 0).any():
        raise InvalidInputError(["stage rates must be finite and not negative"])
    if (np.diff(rates, axis=-1) > 0).any():
        raise InvalidInputError(["stage rates must not rise with the number of layers"])
