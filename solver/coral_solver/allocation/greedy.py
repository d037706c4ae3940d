"""A plan by a rule instead of a proof: a first solution, a last resort, and a baseline."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.columns import target_req_per_s
from coral_solver.allocation.decision import Decision, paired
from coral_solver.allocation.incumbent import is_within_budget
from coral_solver.allocation.pool import Choice
from coral_solver.domain.plan import ScarcityPolicy
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.columns import Column, SearchSpace
    from coral_solver.allocation.keeps import KeepClass, Seat
    from coral_solver.allocation.supply import Supply
    from coral_solver.domain.hardware import NodeConfig

_LEAST_USD_PER_HOUR = 1e-9  # what is free of charge is the best buy, but still comparable


def kept_decision(space: SearchSpace) -> Decision:
    """Return the decision to keep what is in force, as far as it fits together."""
    return _Greedy(space).decision()


def greedy_decision(space: SearchSpace, *, capped: bool, worst_off_first: bool) -> Decision:
    """Keep what is in force, then buy what carries most per USD until every wish is met.

    Parameters
    ----------
    space
        What there is to choose from.
    capped
        Whether capacity beyond the rest of a model's target counts for nothing when columns are
        compared.
    worst_off_first
        Buy one instance at a time for the model with the least served share; otherwise finish
        one model after the other, by id. Under the ``Priority`` policy a model of a higher class
        goes first in either case.


    Returns
    -------
    Decision
        Within the budget, unless what is in force and stays is over it already: nothing at all
        then.
    """
    state = _Greedy(space)
    if not is_within_budget(Choice(space, state.decision())):
        return Decision(
            started=np.zeros(len(space.columns), dtype=np.int64),
            kept=np.zeros(len(space.keeps), dtype=np.int64),
            drawn=np.zeros(len(space.draws), dtype=np.int64),
        )
    budget = space.problem.policy.budget_usd_per_hour
    blocked: set[int] = set()
    by_priority = space.problem.policy.scarcity is ScarcityPolicy.PRIORITY
    while True:
        hungry = [
            (
                -model.priority if by_priority else 0,
                state.served_share(index) if worst_off_first else 0.0,
                index,
            )
            for index, model in enumerate(space.problem.models)
            if index not in blocked and state.lacks(index)
        ]
        if not hungry:
            return state.decision()
        index = min(hungry)[2]
        if not state.buy(index, capped=capped):
            blocked.add(index)
        elif budget is not None and not is_within_budget(Choice(space, state.decision())):
            state.give_back()
            blocked.add(index)


class _Part(NamedTuple):
    """What is added up for one model: a phase, in a region (empty: in all of them)."""

    phase: Phase
    place: str


class _Offers(NamedTuple):
    """The columns of one model as arrays, in the order of ``columns``."""

    columns: list[int]
    capacity_req_per_s: NDArray[np.float64]
    usd_per_hour: NDArray[np.float64]
    parts: list[_Part]


class _Greedy:
    """Instances so far, and the slices that are left."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._started = np.zeros(len(space.columns), dtype=np.int64)
        self._kept = np.zeros(len(space.keeps), dtype=np.int64)
        self._drawn = np.zeros(len(space.draws), dtype=np.int64)
        models = range(len(space.problem.models))
        self._rate: list[dict[_Part, float]] = [defaultdict(float) for _ in models]
        self._number: list[dict[_Part, float]] = [defaultdict(float) for _ in models]
        self._stocks = [_Stock(supply) for supply in space.supplies]
        self._draws: dict[tuple[object, ...], list[int]] = defaultdict(list)
        order = sorted(
            range(len(space.draws)),
            key=lambda i: (space.supplies[space.draws[i].supply].gpu_usd_per_hour, i),
        )
        for i in order:  # cheapest first
            draw = space.draws[i]
            self._draws[draw.region, draw.site_factor, draw.config].append(i)
        self._offers = [self._offers_of(index) for index in models]
        self._last: tuple[int, list[int]] = 0, []  # what was bought last
        for index, keep in enumerate(space.keeps):
            for member in keep.members:
                # Members are interchangeable to the model but not here: the first ones stay.
                if not self._keep(index, member.seats):
                    break

    def decision(self) -> Decision:
        """Return what was kept and bought."""
        return Decision(started=self._started, kept=self._kept, drawn=self._drawn)

    def served_share(self, model: int) -> float:
        """Return the share of the raw demand that is served; 1 without a demand."""
        demand = self._space.problem.models[model].demand_req_per_s
        return min(1.0, _paired(self._rate[model]) / demand) if demand > 0 else 1.0

    def lacks(self, model: int) -> bool:
        """Return whether the model's target or its replicas are not reached."""
        return self._missing(model) != (0.0, 0.0)

    def buy(self, model: int, *, capped: bool) -> bool:
        """Start the instance that gains most per USD; False if none fits."""
        offers = self._offers[model]
        missing_rate, missing_number = self._missing(model)
        if missing_rate > 0:
            useful = self._useful(self._rate[model], offers, missing_rate)
            gain = np.minimum(offers.capacity_req_per_s, useful)
            if not capped:
                gain = np.where(useful > 0, offers.capacity_req_per_s, 0.0)
        else:
            gain = self._useful(self._number[model], offers, missing_number)
        score = gain / np.maximum(offers.usd_per_hour, _LEAST_USD_PER_HOUR)
        for row in np.argsort(-score, kind="stable").tolist():
            if gain[row] <= 0:
                return False
            if self._start(offers.columns[row]):
                return True
        return False

    def _missing(self, model: int) -> tuple[float, float]:
        """Return the rate and the replicas that are missing."""
        served = self._space.problem.models[model]
        target = target_req_per_s(served)
        rate = target - _paired(self._rate[model])
        number = served.min_replicas - _paired(self._number[model])
        return (rate if rate > 1e-9 * target else 0.0, max(0.0, number))

    def _useful(
        self, amounts: Mapping[_Part, float], offers: _Offers, missing: float
    ) -> NDArray[np.float64]:
        """Return by column how much more of its part helps: the lagging phase catches up first."""
        useful = {}
        for part in set(offers.parts):
            if part.phase is Phase.WHOLE:
                useful[part] = missing
                continue
            prefill = amounts.get(_Part(Phase.PREFILL, part.place), 0.0)
            decode = amounts.get(_Part(Phase.DECODE, part.place), 0.0)
            lead = decode - prefill if part.phase is Phase.PREFILL else prefill - decode
            if lead > 0:
                useful[part] = min(lead, missing)
            elif lead == 0 and part.phase is Phase.PREFILL:
                useful[part] = missing
            else:
                useful[part] = 0.0
        return np.array([useful[part] for part in offers.parts])

    def _start(self, index: int) -> bool:
        """Take the slices of one instance, cheapest first; False, and nothing taken, if short."""
        column = self._space.columns[index]
        taken: list[int] = []
        for config, count in column.configs:
            for _ in range(count):
                for draw in self._draws[column.region, column.site_factor, config]:
                    if self._stocks[self._space.draws[draw].supply].take(config.gpu_count):
                        taken.append(draw)
                        break
                else:
                    for draw in taken:
                        self._put_back(draw)
                    return False
        self._started[index] += 1
        for draw in taken:
            self._drawn[draw] += 1
        self._count(column, 1)
        self._last = index, taken
        return True

    def give_back(self) -> None:
        """Take the instance that was bought last out again."""
        index, taken = self._last
        self._started[index] -= 1
        for draw in taken:
            self._drawn[draw] -= 1
            self._put_back(draw)
        self._count(self._space.columns[index], -1)

    def _put_back(self, draw: int) -> None:
        chosen = self._space.draws[draw]
        self._stocks[chosen.supply].put_back(chosen.config.gpu_count)

    def _keep(self, index: int, seats: Sequence[Seat]) -> bool:
        """Keep one instance where it is; False, and nothing changed, if that does not fit."""
        trial = {seat.supply: self._stocks[seat.supply].copy() for seat in seats}
        for seat in seats:
            stock = trial[seat.supply]
            fits = stock.take(seat.size) if seat.node is None else stock.seat(seat.node, seat.size)
            if not fits:
                return False
        for supply, stock in trial.items():
            self._stocks[supply] = stock
        self._kept[index] += 1
        self._count(self._space.keeps[index], 1)
        return True

    def _count(self, item: Column | KeepClass, number: int) -> None:
        place = "" if self._space.options.sum_regions else item.region
        part = _Part(item.phase, place)
        self._rate[item.model][part] += number * item.capacity_req_per_s
        self._number[item.model][part] += number

    def _offers_of(self, model: int) -> _Offers:
        """Return the columns of a model, each at the price of its cheapest slices."""
        columns = [i for i, column in enumerate(self._space.columns) if column.model == model]
        rates, prices, parts = [], [], []
        for index in columns:
            column = self._space.columns[index]
            place = "" if self._space.options.sum_regions else column.region
            rates.append(column.capacity_req_per_s)
            parts.append(_Part(column.phase, place))
            prices.append(
                sum(
                    count * config.gpu_count * self._cheapest_gpu(column, config)
                    for config, count in column.configs
                )
            )
        return _Offers(columns, np.array(rates), np.array(prices), parts)

    def _cheapest_gpu(self, column: Column, config: NodeConfig) -> float:
        draw = self._draws[column.region, column.site_factor, config][0]
        return self._space.supplies[self._space.draws[draw].supply].gpu_usd_per_hour


class _Stock:
    """Slices that one supply still holds, by size."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._free = dict(supply.free_by_node)
        self._seated: set[str] = set()
        self._taken: Counter[int] = Counter()  # by size, in units of it; not in ``_free``
        self._slots: dict[int, int] = {}  # by size, what the nodes hold before ``_taken``

    def copy(self) -> _Stock:
        """Return a stock that can change on its own."""
        other = _Stock(self._supply)
        other._free = dict(self._free)
        other._seated = set(self._seated)
        other._taken = Counter(self._taken)
        other._slots = dict(self._slots)
        return other

    def seat(self, node: str, size: int) -> bool:
        """Take GPUs of a given node; False if they, or what was taken before, do not fit."""
        self._free[node] -= size
        self._seated.add(node)
        self._slots.clear()
        too_many = self._supply.elastic and len(self._seated) > self._supply.max_open
        return self._free[node] >= 0 and not too_many and self._holds_all()

    def take(self, size: int) -> bool:
        """Take GPUs of any node; False, and nothing taken, if no node has room."""
        self._change(size, 1)
        if self._holds_all():
            return True
        self._change(size, -1)
        return False

    def put_back(self, size: int) -> None:
        """Undo ``take``."""
        self._change(size, -1)

    def _change(self, size: int, sign: int) -> None:
        small = 1
        while small <= size:
            self._taken[small] += sign * size // small
            small *= 2

    def _holds_all(self) -> bool:
        for size, units in self._taken.items():
            if size not in self._slots:
                self._slots[size] = self._count_slots(size)
            if units > self._slots[size]:
                return False
        return True

    def _count_slots(self, size: int) -> int:
        if not self._supply.elastic:
            return sum(free // size for free in self._free.values())
        unopened = self._supply.max_open - len(self._seated)
        return unopened * (self._supply.pool.key.gpus_per_node // size) + sum(
            self._free[node] // size for node in self._seated
        )


def _paired(amounts: Mapping[_Part, float]) -> float:
    """Return what the parts of one model amount to; a place is a region, or all of them."""
    entries = ((part.phase, part.place, amount) for part, amount in amounts.items())
    return paired(entries, sum_regions=False)
