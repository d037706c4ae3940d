"""Pipelines of the ``paper`` space by their price, with no library: a dynamic program.

docs/model-templates.md, "Pricing without a library", shows why every answer is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.templates.compiled import ONLY
from coral_solver.templates.content_kernels import (
    affordable_contents,
    cheapest_contents,
    least_cover,
)
from coral_solver.templates.contents import (
    SAME,
    Contents,
    Pipelines,
    Question,
    TooManyError,
    used_up,
)
from coral_solver.templates.pipeline_kernels import (
    cheapest_choice,
    complete,
    list_pipelines,
    split_layers,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.performance.tables import SeparableTables

HIGHEST_COST = 1e300
"""Stands for no limit: infinity is the cost of what does not exist."""

LONGEST_LISTING = 1 << 18
"""Most contents and most pipelines that a listing may hold before it is given up."""

PATIENCE = 64
"""Beginnings of contents and of pipelines that are looked at for each one that may be listed."""

TOO_LONG = -2
"""What a listing returns when it has looked at too much."""

FIRST_SIZE = 4096
"""Length of a list before it is known how long it must be; too short ones grow eightfold."""


class PaperPipelines:
    """Finds pipelines of two or more stages in the ``paper`` space.

    Parameters
    ----------
    tables
        Stage rates, not rising with the layers.
    max_nodes
        Most nodes of a template, N.
    """

    def __init__(self, tables: SeparableTables, max_nodes: int) -> None:
        rates = np.ascontiguousarray(tables.rate_req_per_s, dtype=np.float64)
        self.num_layers = rates.shape[3] - 1
        self.max_nodes = max_nodes
        self.most_stages = min(len(rates), max_nodes, self.num_layers)
        self.alone = rates[0, ONLY, :, self.num_layers]
        self._roles = np.ascontiguousarray(rates[:, :3])
        self._roles[..., 0] = 0.0
        fastest = self._roles.max(axis=1)
        self.work = np.ascontiguousarray((fastest * np.arange(self.num_layers + 1)).max(axis=2))
        size = self.num_layers * max_nodes
        self._buffers = [Contents.empty(size, max_nodes) for _ in range(3)]

    def least_cost(
        self, stages: int, target: float, prices: NDArray[np.float64], budget: float
    ) -> float:
        """Return a lower bound on the cost of a pipeline of a rate; the budget if it is higher.

        A stage at rate T with j layers needs T * j of the work of its nodes.
        """
        work = target * self.num_layers * (1 - SAME)
        return least_cover(self.work[stages - 1], prices, work, self.max_nodes, budget)

    def relaxed(
        self, stages: int, target: float, prices: NDArray[np.float64], budget: float
    ) -> tuple[float, Pipelines | None]:
        """Find the cheapest pipeline as ``bounded.cheapest`` does, if there were no limits."""
        contents = self._cheapest_contents(stages, target, prices, budget)
        if any(len(part.cost) == 0 for part in contents[:: 1 if stages > 2 else 2]):
            return budget, None
        # Each layer costs at least as much as in the content with the cheapest layers.
        per_layer = min(float((part.cost / part.layers).min(initial=np.inf)) for part in contents)
        if per_layer * self.num_layers * (1 - SAME) >= budget:
            return budget, None
        middles, others = self._completions(stages, contents, full=False)
        least = float(others[0, -1, -1])
        if not least < budget:
            return budget, None
        choice = np.empty((1, stages), dtype=np.int64)
        cheapest_choice(
            *contents[0].numbers,
            *contents[1].numbers,
            *contents[2].numbers,
            middles,
            others,
            choice[0],
        )
        return least, self._placed(contents, choice)

    def listing(
        self,
        stages: int,
        target: float,
        question: Question,
        budget: float,
        weights: NDArray[np.float64],
        *,
        only_cheapest: bool = False,
        most: int = LONGEST_LISTING,
    ) -> Pipelines | None:
        """List every pipeline of at least a rate that fits and costs no more than a budget.

        Parameters
        ----------
        stages, target, question
            As of ``bounded.cheapest``.
        budget
            Most that a pipeline may cost.
        weights
            Shape (R,): prices of what is limited. They raise the bounds that end the search where
            the limits bind; any are right.
        only_cheapest
            List only the cheapest.
        most
            Most contents of a stage, and most pipelines, that are listed.

        Returns
        -------
        Pipelines or None
            With their best split of the layers; None if there are none. A pipeline may have nodes
            that it does not need at this rate.

        Raises
        ------
        TooManyError
            If there are too many to list.
        """
        most_cost = min(budget * (1 + SAME), HIGHEST_COST)
        # Whatever fits costs at most so much more at the raised prices.
        offset = float(weights @ question.limits)
        top = most_cost + offset * (1 + SAME)
        raised = question.prices + question.rows @ weights
        contents = self._cheapest_contents(stages, target, raised, np.nextafter(top, np.inf))
        if any(len(part.cost) == 0 for part in contents[:: 1 if stages > 2 else 2]):
            return None
        middles, others = self._completions(stages, contents, full=True)
        if not others[0, -1, -1] <= top:
            return None
        # The price itself is the last limit.
        own = np.where(np.isfinite(question.prices), question.prices, 0.0)[:, None]
        limited = Question(
            prices=raised,
            rows=np.ascontiguousarray(np.hstack([question.rows, own])),
            limits=np.append(question.limits, most_cost),
        )
        listed = self._affordable_contents(stages, target, limited, others, top, most)
        first, middle, last = (used_up(part.nodes, part.size, limited.rows) for part in listed)
        size = 1 if only_cheapest else min(FIRST_SIZE, most)
        while True:
            choice = np.empty((size, stages), dtype=np.int64)
            count = list_pipelines(
                *listed[0].numbers,
                first,
                *listed[1].numbers,
                middle,
                *listed[2].numbers,
                last,
                middles,
                others[1],
                top,
                offset,
                only_cheapest,
                limited.limits,
                PATIENCE * most,
                choice,
            )
            if count >= 0:
                break
            size = _longer(size, most, count)
        return self._placed(listed, choice[:count]) if count else None

    def _price_of_work(self, stages: int, prices: NDArray[np.float64]) -> float:
        work = self.work[stages - 1]
        usable = (work > 0) & np.isfinite(prices)
        return float((prices[usable] / work[usable]).min(initial=np.inf))

    def _cheapest_contents(
        self, stages: int, target: float, prices: NDArray[np.float64], budget: float
    ) -> tuple[Contents, Contents, Contents]:
        longest = self.num_layers - stages + 1
        per_layer = target * self._price_of_work(stages, prices) * (1 - SAME)
        by_layers = np.full(self.num_layers + 1, np.inf)
        if np.isfinite(budget) and np.isfinite(per_layer):
            by_layers = budget - per_layer * np.arange(self.num_layers, -1.0, -1.0)
        found = []
        for role in range(3):
            buffer = self._buffers[role]
            count = 0
            if role != 1 or stages > 2:
                count = cheapest_contents(
                    self._roles[stages - 1, role],
                    prices,
                    target,
                    longest,
                    self.max_nodes - stages + 1,
                    by_layers,
                    *buffer,
                )
            found.append(buffer.first(count))
        return found[0], found[1], found[2]

    def _affordable_contents(
        self,
        stages: int,
        target: float,
        question: Question,
        others: NDArray[np.float64],
        budget: float,
        most: int,
    ) -> tuple[Contents, Contents, Contents]:
        found = []
        for role in range(3):
            size = min(FIRST_SIZE, most)
            while True:
                buffer = Contents.empty(size, self.max_nodes)
                count = affordable_contents(
                    self._roles[stages - 1, role],
                    question.prices,
                    target,
                    self.num_layers - stages + 1,
                    self.max_nodes - stages + 1,
                    others[1 + role],
                    budget,
                    question.rows,
                    question.limits,
                    PATIENCE * most,
                    *buffer,
                )
                if count >= 0:
                    break
                size = _longer(size, most, count)
            found.append(buffer.first(count))
        return found[0], found[1], found[2]

    def _completions(
        self, stages: int, contents: tuple[Contents, Contents, Contents], *, full: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        shape = (self.max_nodes + 1, self.num_layers + 1)
        middles = np.empty((stages - 1, *shape))
        others = np.empty((4, *shape))
        complete(
            *contents[0].numbers,
            *contents[1].numbers,
            *contents[2].numbers,
            middles,
            others,
            full,
        )
        return middles, others

    def _placed(
        self, contents: tuple[Contents, Contents, Contents], choice: NDArray[np.int64]
    ) -> Pipelines:
        count, stages = choice.shape
        nodes = np.empty((count, stages, self.max_nodes), dtype=np.uint8)
        sizes = np.empty((count, stages), dtype=np.int64)
        for stage in range(stages):
            part = contents[0 if stage == 0 else 2 if stage == stages - 1 else 1]
            nodes[:, stage] = part.nodes[choice[:, stage]]
            sizes[:, stage] = part.size[choice[:, stage]]
        rate = np.empty(count)
        layers = np.empty((count, stages), dtype=np.int64)
        split_layers(self._roles[stages - 1], nodes, sizes, self.num_layers, rate, layers)
        return Pipelines(rate, nodes, sizes, layers)


def _longer(size: int, most: int, fault: int) -> int:
    """Return the next length of a list that was too short.

    Raises
    ------
    TooManyError
        If it may not be longer, or if the search took too long already.
    """
    if size >= most or fault == TOO_LONG:
        raise TooManyError
    return min(8 * size, most)
