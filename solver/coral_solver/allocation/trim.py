"""Takes out of a decision what nobody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.allocation.columns import target_req_per_s
from coral_solver.allocation.decision import Decision, standing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.allocation.columns import SearchSpace


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
    now = decision
    before = standing(space, decision)
    targets = [target_req_per_s(model) for model in space.problem.models]
    wanted = [model.min_replicas for model in space.problem.models]

    def is_enough(trial: Decision, model: int) -> bool:
        after = standing(space, trial)
        rate = min(before.capacity_req_per_s[model], targets[model])
        replicas = min(before.replicas[model], wanted[model])
        return bool(
            after.capacity_req_per_s[model] >= rate * (1.0 - 1e-12)
            and after.replicas[model] >= replicas
        )

    for index in np.flatnonzero(decision.started):
        while now.started[index] > 0:
            trial = _without_started(space, now, int(index))
            if not is_enough(trial, space.columns[index].model):
                break
            now = trial
    for index in np.flatnonzero(decision.kept):
        while now.kept[index] > 0:
            trial = Decision(started=now.started, kept=_less(now.kept, index), drawn=now.drawn)
            if not is_enough(trial, space.keeps[index].model):
                break
            now = trial
    return now


def _without_started(space: SearchSpace, decision: Decision, index: int) -> Decision:
    """Stop one new instance, and give back the dearest slices of its kind."""
    column = space.columns[index]
    drawn = decision.drawn.copy()
    for config, count in column.configs:
        sources = [
            i
            for i, draw in enumerate(space.draws)
            if drawn[i] > 0
            and (draw.region, draw.site_factor, draw.config)
            == (column.region, column.site_factor, config)
        ]
        sources.sort(key=lambda i: (-space.supplies[space.draws[i].supply].gpu_usd_per_hour, i))
        for i in sources:
            part = min(count, int(drawn[i]))
            drawn[i] -= part
            count -= part
    return Decision(started=_less(decision.started, index), kept=decision.kept, drawn=drawn)


def _less(numbers: NDArray[np.int64], index: int | np.intp) -> NDArray[np.int64]:
    fewer = numbers.copy()
    fewer[index] -= 1
    return fewer
