"""The cheapest pipeline within limits: bounds by raised prices, then a listing of the rest.

What is limited gets a price of its own. The cheapest pipeline at the raised prices, less what the
limits are worth at them, costs no more than the cheapest one that fits; often it fits itself. What
lies between that bound and the best that fits is listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.templates.contents import LEAST_RATE, SAME, TooManyError, used_up
from coral_solver.templates.pricing import LONGEST_LISTING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.templates.contents import Pipelines, Question
    from coral_solver.templates.pricing import PaperPipelines

FEW_TURNS, MANY_TURNS = 3, 40
"""Changes of the prices of what is limited before a short and before a long listing."""

FEW_LISTED = 1 << 12
"""Most contents and most pipelines of a short listing."""

WIDER = 4.0
"""Factor between the windows above the bound in which a pipeline that fits is sought."""

FIRST_WINDOW = 0.002
"""The first of these windows, as a share of the bound."""


def cheapest(
    pipelines: PaperPipelines,
    stages: int,
    target: float,
    question: Question,
    budget: float,
    weights: NDArray[np.float64],
    *,
    horizon: float = 0.0,
    is_patient: bool = True,
) -> tuple[float, Pipelines | None]:
    """Find the cheapest pipeline of at least a rate, if it costs less than a budget.

    Parameters
    ----------
    pipelines
        Where to search.
    stages
        Number of stages, 2 or more.
    target
        Rate, positive.
    question
        Prices and limits.
    budget
        Positive; may be infinite.
    weights
        Shape (R,): prices of what is limited, to start with; what served best is written.
        Zeros are always good.
    horizon
        Up to which cost beyond the budget it is worth to know more, if it takes no listing.
    is_patient
        Whether a long listing is worth it.

    Returns
    -------
    least
        What every pipeline costs at least: infinite if it is known that there is none, whatever it
        costs.
    pipeline
        One that costs so much. Where limits leave so little that too many would have to be looked
        at, ``least`` is a lower bound only, below the budget; the pipeline, if there is one, may
        cost more.
    """
    search = _Search(pipelines, stages, target, question, budget, max(budget, horizon))
    if not search.raise_bound(weights, FEW_TURNS) and not search.list_rest(weights, FEW_LISTED):
        is_settled = search.raise_bound(weights, MANY_TURNS)
        if not is_settled and not (is_patient and search.list_rest(weights, LONGEST_LISTING)):
            return min(search.bound, search.cost), search.found
    if search.found is None:
        return np.inf if search.is_empty(weights) else max(budget, search.cost), None
    return search.cost, search.found


class _Search:
    """The search for the cheapest pipeline that fits, as far as it has come."""

    def __init__(
        self,
        pipelines: PaperPipelines,
        stages: int,
        target: float,
        question: Question,
        budget: float,
        horizon: float,
    ) -> None:
        finite = question.prices[np.isfinite(question.prices)]
        dearest = pipelines.max_nodes * float(finite.max(initial=0.0))
        self._pipelines = pipelines
        self._stages, self._target, self._question = stages, target, question
        self._least_window = max(dearest * 1e-6, LEAST_RATE)
        self._budget = budget
        self.bound = -np.inf
        self._above_all = float(np.nextafter(dearest * (1 + 1e-9), np.inf))
        self.cost = min(horizon, self._above_all)
        self.found: Pipelines | None = None

    def raise_bound(self, weights: NDArray[np.float64], turns: int) -> bool:
        """Look for weights with a high bound; return whether that settles the question."""
        question = self._question
        scale = np.abs(question.rows).max(axis=0, initial=0.0)
        scale[scale == 0.0] = 1.0
        now = weights.copy()
        for _ in range(turns):
            offset = float(now @ question.limits)
            raised = question.prices + question.rows @ now
            least, found = self._pipelines.relaxed(
                self._stages, self._target, raised, self.cost + offset
            )
            if found is None:
                weights[:] = now
                return True
            used = used_up(found.nodes, found.sizes, question.rows).sum(axis=(0, 1))
            bound = least - offset
            if bound > self.bound:
                self.bound = bound
                weights[:] = now
            if (used <= question.limits).all():
                self._keep(found)
            if self.bound >= self.cost * (1 - SAME):
                return True
            if self.bound >= self._budget:
                self.cost, self.found = self.bound, None
                return True
            beyond = (used - question.limits) / scale
            beyond[(beyond < 0) & (now == 0)] = 0.0
            length = float(beyond @ beyond)
            if length == 0.0:
                return False
            goal = min(self.cost, bound + max(self._least_window, 0.1 * abs(bound)))
            now = np.maximum(0.0, now + (goal - bound) / length * beyond / scale)
        return False

    def list_rest(self, weights: NDArray[np.float64], most: int) -> bool:
        """List what may still be cheaper than the best so far; return whether that was possible."""
        window = max(FIRST_WINDOW * self.bound, self._least_window)
        if self.cost > self._budget:
            self.cost, self.found = self._budget, None
        while True:
            within = min(self.bound + window, self.cost)
            try:
                found = self._pipelines.listing(
                    self._stages,
                    self._target,
                    self._question,
                    within,
                    weights,
                    only_cheapest=True,
                    most=most,
                )
            except TooManyError:
                return False
            if found is not None:
                self._keep(found)
            if found is not None or within >= self.cost:
                return True
            self.bound = max(self.bound, within)
            window *= WIDER

    def is_empty(self, weights: NDArray[np.float64]) -> bool:
        """Return whether a settled question that found nothing shows that there is nothing."""
        # Beside much dearer limits, the room above the dearest pipeline is lost to rounding.
        is_sharp = float(weights @ self._question.limits) <= 1e3 * self._above_all
        return self.cost >= self._above_all and is_sharp

    def _keep(self, found: Pipelines) -> None:
        cost = float(_costs(found, self._question.prices)[0])
        if cost < self.cost:
            self.cost, self.found = cost, found


def _costs(found: Pipelines, prices: NDArray[np.float64]) -> NDArray[np.float64]:
    present = np.arange(found.nodes.shape[-1]) < found.sizes[..., None]
    total: NDArray[np.float64] = np.where(present, prices[found.nodes], 0.0).sum(axis=(1, 2))
    return total
