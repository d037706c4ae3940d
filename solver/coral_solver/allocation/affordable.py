"""Which templates a better plan could still contain, among all that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.allocation.frontiers import summed
from coral_solver.domain.pricing import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from coral_solver.allocation.ground import Ground
    from coral_solver.allocation.pricing_problem import (
        Answer,
        Block,
        Item,
        Need,
        Prices,
        PricingProblem,
    )
    from coral_solver.domain.workload import Phase

_MOST_STEPS = 512
_TINY = 1e-8
"""Share of the wanted rate: beside the steps of a frontier, never on them."""

_SAFETY = 1e-7


def affordable_items(
    ground: Ground,
    pricing: PricingProblem,
    prices: Prices,
    answers: dict[Block, Answer],
    slack: float,
    limit: int,
    time_left_s: Callable[[], float],
) -> list[Item] | None:
    """Return every template that may be in a plan which costs no more than a bound and a slack.

    A plan with a template in it costs at least the bound, plus the template, plus the cheapest
    rest that its block needs beside it, minus the cheapest plan of the block.

    Parameters
    ----------
    ground, pricing
        What plans are made of.
    prices, answers
        Of one evaluation.
    slack
        What the plan may cost above that evaluation's bound.
    limit
        Most items to return.
    time_left_s
        Tells what is left of the time.

    Returns
    -------
    list of Item, or None
        None if there are more than ``limit``, or if the time is over.
    """
    items: list[Item] = []
    for block, answer in answers.items():
        need = pricing.need(block.model)
        for index, part in enumerate(answer.parts):
            for phase, offers in part.offers.items():
                if not offers:
                    continue
                rates, rest = _rest(answer, index, phase, need)
                allowed = slack + answer.value - rest
                allowed += _SAFETY * (1.0 + np.abs(answer.value))
                for offer in offers:
                    found = (
                        ground.known[block.model]
                        .pricers[phase]
                        .within(
                            prices.slices[offer],
                            ground.rooms[block.model][offer],
                            Allowance(rates / ground.offers[offer].site_factor, allowed),
                            limit - len(items),
                        )
                    )
                    if found is None or time_left_s() <= 0:
                        return None
                    items += pricing.remember(block.model, phase, offer, found)
    return items


def _rest(
    answer: Answer, index: int, phase: Phase, need: Need
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the rest of a block costs at least beside a template, by its capacity.

    A template of at most ``rates[i]`` leaves a rest of at least ``costs[i]``.

    Parameters
    ----------
    answer
        Of the block.
    index, phase
        Part of the block that the template is in, and the phase that it serves.
    need
        What the block is to have.
    """
    rate, number = need
    part = answer.parts[index]
    others = [other.frontiers for i, other in enumerate(answer.parts) if i != index]
    own = part.menus[phase].covers[0].rate_req_per_s
    beside = summed(others, rate) if others else None
    covered = own if beside is None else np.add.outer(own, beside[0].rate_req_per_s).ravel()
    steps = _steps(rate, np.unique(covered))
    rest = np.full(len(steps), np.inf)
    for elsewhere in range(number + 1) if beside is not None else (0,):
        here = number - elsewhere
        points = [(0.0, 0.0)]
        if beside is not None:
            points = list(zip(*beside[elsewhere][:2], strict=True))
        for there, cost in points:
            total = np.full(len(steps), cost)
            for half, menu in part.menus.items():
                given, fewer = (steps, 1) if half is phase else (np.zeros(len(steps)), 0)
                cover = menu.covers[max(here - fewer, 0)]
                total += cover.cost_of(np.maximum(rate - there - given, 0.0))
            rest = np.minimum(rest, total)
    return steps, rest


def _steps(rate: float, covered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return capacities just below those at which the rest gets cheaper, and the whole rate."""
    steps = np.unique(np.clip(rate - covered - _TINY * rate, 0.0, rate))
    if len(steps) > _MOST_STEPS:
        steps = steps[np.linspace(0, len(steps) - 1, _MOST_STEPS).astype(np.int64)]
    return np.append(steps[steps < rate], rate)
