"""Operating points of the ``operator`` rule: what is searched, and what their steps work on.

Formulas with their names: docs/model-performance.md, "Operator rule".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.domain.workload import Phase
from coral_solver.performance.steps import StepLoad

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.performance.traffic import Traffic

    Array = NDArray[np.float64]

# fmt: off
DECODE_SEQS_GRID = (
    1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 23, 27, 32,
    38, 45, 54, 64, 76, 91, 108, 128, 152, 181, 215, 256, 304, 362, 431, 512,
)
"""Sequences per micro-batch of a DECODE point."""
WHOLE_SEQS_GRID = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32,
    40, 51, 64, 81, 102, 128, 161, 203, 256, 323, 406, 512,
)
"""Sequences per micro-batch of a WHOLE point: those that may run."""
PREFILL_BUDGET_GRID_TOKENS = (
    256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384,
)
"""Token budgets of PREFILL points."""
# fmt: on
WHOLE_BUDGET_GRID_TOKENS = (512, 2048, 8192)
"""Token budgets of WHOLE points."""
DECODE_BUDGET_TOKENS = 2048
"""Token budget of DECODE points; it only has to hold the sequences."""
OCCUPANCY_GRID = (1.0, 0.8, 0.6)
"""Share of the sequences that run on average at the highest rate of a WHOLE point."""
OCCUPANCY_SIGMAS = 1.5
"""Standard deviations of the number of running sequences that a step time allows for."""
LARGEST_SHARE = 0.98
"""Prompt tokens of a typical step over the room for them, at most."""
LARGEST_OF_NORMALS = (0.0, 0.564, 0.846, 1.029, 1.163, 1.267, 1.352, 1.424)
"""Mean of the largest of n standard normal numbers, n = 1, 2, ...: how much fuller than the mean
the fullest of n micro-batches is."""


class Points(NamedTuple):
    """Operating points: arrays of shape (P,).

    Attributes
    ----------
    seqs
        Decoding sequences of a micro-batch that may run; 0 for PREFILL.
    budget_tokens
        Token budget of a step.
    prefill_tokens
        Prompt tokens of a mean step at the highest rate of the point.
    mean_seqs
        Mean number of decoding sequences of a micro-batch at that rate.
    """

    seqs: Array
    budget_tokens: Array
    prefill_tokens: Array
    mean_seqs: Array


class PointLoads(NamedTuple):
    """Steps of all points, with fields that broadcast to shape (S, P).

    Attributes
    ----------
    idle, loaded
        The two steps that the typical one is a mix of: without and with prompts.
    loaded_share
        Share of the second.
    stretched
        DECODE and WHOLE: a step with a full token budget. PREFILL, where the typical step is
        full: a step with a single token.
    """

    idle: StepLoad
    loaded: StepLoad
    loaded_share: Array
    stretched: StepLoad


def operating_points(phase: Phase, traffic: Traffic) -> Points:
    """Return the grid of operating points of a phase."""
    if phase is Phase.DECODE:
        seqs = np.array(DECODE_SEQS_GRID, dtype=np.float64)
        budget = np.full(len(seqs), float(DECODE_BUDGET_TOKENS))
        return Points(seqs, budget, np.zeros(len(seqs)), seqs)
    if phase is Phase.PREFILL:
        budget = np.array(PREFILL_BUDGET_GRID_TOKENS, dtype=np.float64)
        return Points(np.zeros(len(budget)), budget, budget, np.zeros(len(budget)))
    grid = np.meshgrid(WHOLE_BUDGET_GRID_TOKENS, OCCUPANCY_GRID, WHOLE_SEQS_GRID, indexing="ij")
    budget, occupancy, seqs = (axis.ravel().astype(np.float64) for axis in grid)
    mean = occupancy * seqs
    prefill = mean * traffic.input_tokens / traffic.output_tokens
    # Few slots have no use for a lower occupancy: the fluctuation alone fills them.
    keep = (prefill < LARGEST_SHARE * (budget - seqs)) & ((occupancy == 1.0) | (seqs >= 4))
    return Points(seqs[keep], budget[keep], prefill[keep], mean[keep])


def point_loads(phase: Phase, points: Points, stage_counts: Array, traffic: Traffic) -> PointLoads:
    """Return what the steps of all points work on.

    Parameters
    ----------
    phase, points, traffic
        The grid and what it is for.
    stage_counts
        Shape (S, 1): 1, 2, ..., S.
    """
    prompt_context = traffic.prefill_context_tokens
    if phase is Phase.PREFILL:
        finished = np.maximum(1.0, points.budget_tokens / traffic.input_tokens)
        full = StepLoad(0.0, 0.0, points.budget_tokens, prompt_context, finished)
        one = StepLoad(0.0, 0.0, np.ones_like(points.seqs), 1.0, 1.0)
        return PointLoads(full, full, np.zeros_like(points.seqs), one)
    index = np.minimum(len(LARGEST_OF_NORMALS), stage_counts.astype(np.int64)) - 1
    # The number of running sequences fluctuates like a Poisson variable, more with bursts ...
    mean = points.mean_seqs
    sigmas = OCCUPANCY_SIGMAS * math.sqrt(max(1.0, (1.0 + traffic.burstiness) / 2.0))
    busy = np.minimum(points.seqs, mean + sigmas * np.sqrt(mean / stage_counts))
    # ... and they join micro-batches at random and stay: the fullest of these sets the pace.
    fullest = busy + np.array(LARGEST_OF_NORMALS)[index] * np.sqrt(busy)
    seqs = np.minimum(fullest, stage_counts * points.seqs)
    idle = StepLoad(seqs, traffic.context_tokens, 0.0, 0.0, seqs)
    if phase is Phase.DECODE:
        return PointLoads(idle, idle, np.zeros_like(points.seqs), idle)
    room = points.budget_tokens - points.seqs
    arrivals = points.prefill_tokens / traffic.input_tokens
    chunk = np.minimum(room, points.prefill_tokens / -np.expm1(-arrivals))
    # A micro-batch with a prompt holds up the others in flight; the chunks of one prompt follow
    # each other through the stages and hold them up together.
    prompts = np.array(traffic.work_points_tokens)
    chunks = np.ceil(prompts / room[:, None]).mean(axis=1)
    held_up = 1.0 + (stage_counts - 1.0) / chunks
    share = 1.0 - (1.0 - points.prefill_tokens / chunk) ** held_up
    loaded = StepLoad(
        seqs, traffic.context_tokens, chunk, prompt_context, seqs + chunk / traffic.input_tokens
    )
    full = loaded._replace(
        prefill_tokens=room, sampled_seqs=seqs + np.maximum(1.0, room / traffic.input_tokens)
    )
    return PointLoads(idle, loaded, share, full)
