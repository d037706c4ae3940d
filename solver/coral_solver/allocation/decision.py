"""A choice of instances in whole numbers, and what it is worth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from coral_solver.allocation.columns import Column, SearchSpace
    from coral_solver.allocation.keeps import KeepClass


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How many instances of everything.

    Attributes
    ----------
    started
        Shape (columns,): new instances of each column.
    kept
        Shape (keep classes,): instances of each class that stay.
    drawn
        Shape (draws,): slices taken from supplies for the new instances.
    """

    started: NDArray[np.int64]
    kept: NDArray[np.int64]
    drawn: NDArray[np.int64]


def paired(entries: Iterable[tuple[Phase, str, float]], *, sum_regions: bool) -> float:
    """Return what whole and paired phases amount to together.

    Parameters
    ----------
    entries
        Phase, region and amount (a rate, or a number of instances) of each part.
    sum_regions
        Pair the sums over all regions instead of region by region.

    Returns
    -------
    float
        Whole amounts, plus the smaller of prefill and decode in each region.
    """
    whole = 0.0
    prefill: dict[str, float] = defaultdict(float)
    decode: dict[str, float] = defaultdict(float)
    for phase, region, amount in entries:
        place = "" if sum_regions else region
        if phase is Phase.WHOLE:
            whole += amount
        elif phase is Phase.PREFILL:
            prefill[place] += amount
        else:
            decode[place] += amount
    return whole + sum(min(prefill[place], decode[place]) for place in sorted(prefill))


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a decision gives each model; indices are those of the problem's models.

    Attributes
    ----------
    capacity_req_per_s
        Shape (models,): rate that the instances carry, phases paired.
    replicas
        Shape (models,): instances, prefill and decode paired.
    """

    capacity_req_per_s: NDArray[np.float64]
    replicas: NDArray[np.float64]


def standing(space: SearchSpace, decision: Decision) -> Standing:
    """Return what a decision gives each model."""
    rates: dict[int, list[tuple[Phase, str, float]]] = defaultdict(list)
    numbers: dict[int, list[tuple[Phase, str, float]]] = defaultdict(list)
    running: list[tuple[Column | KeepClass, int]] = [
        *((space.columns[i], decision.started[i]) for i in np.flatnonzero(decision.started)),
        *((space.keeps[i], decision.kept[i]) for i in np.flatnonzero(decision.kept)),
    ]
    for item, count in running:
        phase = item.phase
        rates[item.model].append((phase, item.region, item.capacity_req_per_s * float(count)))
        numbers[item.model].append((phase, item.region, float(count)))
    models = range(len(space.problem.models))
    sum_regions = space.options.sum_regions
    return Standing(
        capacity_req_per_s=np.array([paired(rates[m], sum_regions=sum_regions) for m in models]),
        replicas=np.array([paired(numbers[m], sum_regions=sum_regions) for m in models]),
    )
