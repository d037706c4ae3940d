"""Takes out of a decision what nobody needs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from coral_solver.allocation.columns import target_req_per_s
from coral_solver.allocation.decision import paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.columns import Column, SearchSpace
    from coral_solver.allocation.decision import Decision
    from coral_solver.allocation.keeps import KeepClass


def trimmed(space: SearchSpace, decision: Decision) -> Decision:
    """Drop instances that no target and no wish needs.

    A solution that a time limit cut short may hold some; so may an optimal one where GPUs cost
    nothing, since the cost does not tell then. New instances go before kept ones.

    Parameters
    ----------
    space
        What the decision is about.
    decision
        A decision that fits.

    Returns
    -------
    Decision
        One that fits, serves as much of every target, and costs no more.
    """
    running: dict[int, list[tuple[Column | KeepClass, int, bool]]] = defaultdict(list)
    for index in np.flatnonzero(decision.started).tolist():
        running[space.columns[index].model].append((space.columns[index], index, True))
    for index in np.flatnonzero(decision.kept).tolist():
        running[space.keeps[index].model].append((space.keeps[index], index, False))

    for model, items in running.items():
        served = space.problem.models[model]
        rate, replicas = _amounts(space, decision, items)
        rate = min(rate, target_req_per_s(served)) * (1.0 - 1e-12)
        replicas = min(replicas, served.min_replicas)
        for _, index, is_new in items:
            while (decision.started if is_new else decision.kept)[index] > 0:
                trial = _without_one(space, decision, index, is_new=is_new)
                now = _amounts(space, trial, items)
                if now[0] < rate or now[1] < replicas:
                    break
                decision = trial
    return decision


def _amounts(
    space: SearchSpace, decision: Decision, items: Sequence[tuple[Column | KeepClass, int, bool]]
) -> tuple[float, float]:
    """Return what some instances carry and how many they are, phases paired."""
    counts = [int((decision.started if is_new else decision.kept)[i]) for _, i, is_new in items]
    rates = []
    numbers = []
    for (item, _, _), count in zip(items, counts, strict=True):
        rates.append((item.phase, item.region, item.capacity_req_per_s * count))
        numbers.append((item.phase, item.region, float(count)))
    sum_regions = space.options.sum_regions
    return paired(rates, sum_regions=sum_regions), paired(numbers, sum_regions=sum_regions)


def _without_one(space: SearchSpace, decision: Decision, index: int, *, is_new: bool) -> Decision:
    """Stop one instance; a new one gives back the dearest slices of its kind."""
    if not is_new:
        return replace(decision, kept=_less(decision.kept, index))
    column = space.columns[index]
    drawn = decision.drawn.copy()
    for config, needed in column.configs:
        sources = [
            i
            for i, draw in enumerate(space.draws)
            if drawn[i] > 0
            and (draw.region, draw.site_factor, draw.config)
            == (column.region, column.site_factor, config)
        ]
        sources.sort(key=lambda i: (-space.supplies[space.draws[i].supply].gpu_usd_per_hour, i))
        left = needed
        for i in sources:
            part = min(left, int(drawn[i]))
            drawn[i] -= part
            left -= part
    return replace(decision, started=_less(decision.started, index), drawn=drawn)


def _less(numbers: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    fewer = numbers.copy()
    fewer[index] -= 1
    return fewer
