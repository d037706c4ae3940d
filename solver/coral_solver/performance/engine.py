"""Predictions and engine settings of a chosen operating point."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from coral_solver.domain.template import EngineSettings, Prediction
from coral_solver.domain.workload import Phase
from coral_solver.performance import kernels
from coral_solver.performance.parameters import DEFAULT_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coral_solver.domain.workload import ServedModel
    from coral_solver.performance.evidence import Correction
    from coral_solver.performance.kernels import Row
    from coral_solver.performance.parameters import PerformanceParameters
    from coral_solver.performance.tables import JointTables

PREFILL_NUM_SEQS = 16
"""Prompts per micro-batch that may run on a PREFILL instance."""
MODEL_LEN_MARGIN = 1.5
"""Longest request to accept over the longest of the workload's points."""
MODEL_LEN_STEP_TOKENS = 256
SOURCE = "physical model"


def prediction_at(
    tables: JointTables,
    point: int,
    stages: int,
    tau_s: float,
    stretch: float,
    *,
    evidence: Correction | None = None,
) -> Prediction:
    """Return capacity and latencies of a pipeline at an operating point.

    Parameters
    ----------
    tables
        Tables of the model and phase.
    point
        Row of ``tables.point_params``.
    stages
        Number of pipeline stages.
    tau_s, stretch
        Largest step time and largest stretch of the stages at the point.
    evidence
        Error bar of the placement (``anchors.template_evidence``); None: not known.

    Returns
    -------
    Prediction
        Latencies at the attainment quantile of the requests, at the capacity.
    """
    row, request = tables.point_params[point], tables.request_params
    rate = kernels.joint_capacity(stages, row, request, tau_s, stretch)
    ttft_s = tpot_s = 0.0
    if rate > 0.0:
        target = request[kernels.REQUEST_ATTAINMENT]
        state = (rate, stages, row, request, tau_s, stretch)
        phase = request[kernels.REQUEST_PHASE]
        if phase != kernels.PHASE_DECODE:
            limit_s = request[kernels.REQUEST_TTFT]
            ttft_s = _quantile_s(kernels.ttft_share, target, limit_s, state)
            ttft_s += request[kernels.REQUEST_OVERHEAD]
        if phase != kernels.PHASE_PREFILL:
            limit_s = request[kernels.REQUEST_TPOT]
            tpot_s = _quantile_s(kernels.tpot_share, target, limit_s, state)
    return Prediction(
        capacity_req_per_s=rate,
        ttft_s=float(ttft_s),
        tpot_s=float(tpot_s),
        batch_per_stage=_batch(row, request),
        source=SOURCE if evidence is None else f"{SOURCE}; {evidence.rests_on}",
        error_share=None if evidence is None else evidence.error_share,
    )


def engine_settings_at(
    model: ServedModel,
    phase: Phase,
    tables: JointTables,
    point: int,
    layers_per_stage: Sequence[int],
    *,
    parameters: PerformanceParameters = DEFAULT_PARAMETERS,
) -> EngineSettings:
    """Return the vLLM settings that make an operating point true.

    Parameters
    ----------
    model, phase
        What is served.
    tables
        Tables of the model and phase.
    point
        Row of ``tables.point_params``.
    layers_per_stage
        Layers of each stage, first to last.
    parameters
        Values of the performance model.
    """
    row = tables.point_params[point]
    stages = len(layers_per_stage)
    seqs = int(row[kernels.POINT_SEQS])
    if phase is Phase.PREFILL:
        seqs = PREFILL_NUM_SEQS
    return EngineSettings(
        tensor_parallel=tables.configs[0].gpu_count,
        pipeline_parallel=stages,
        layers_per_stage=tuple(layers_per_stage),
        max_model_len_tokens=max_model_len_tokens(model),
        max_num_seqs=stages * seqs,
        max_num_batched_tokens=int(row[kernels.POINT_BUDGET]),
        gpu_memory_utilization=parameters.memory_utilization,
    )


def max_model_len_tokens(model: ServedModel) -> int:
    """Return the longest request to accept: the workload's longest with a margin, or as asked."""
    if model.max_model_len_tokens is not None:
        return min(model.max_model_len_tokens, model.arch.max_context_tokens)
    workload = model.workload
    longest = workload.input_tokens.longest_tokens + workload.output_tokens.longest_tokens
    steps = math.ceil(longest * MODEL_LEN_MARGIN / MODEL_LEN_STEP_TOKENS)
    return min(steps * MODEL_LEN_STEP_TOKENS, model.arch.max_context_tokens)


def _batch(row: Row, request: Row) -> float:
    """Return the joint micro-batch of a point: sequences, or prompts of a full PREFILL step."""
    if request[kernels.REQUEST_PHASE] == kernels.PHASE_PREFILL:
        return float(row[kernels.POINT_BUDGET] / request[kernels.REQUEST_INPUT])
    return float(row[kernels.POINT_SEQS])


def _quantile_s(
    share: Callable[..., float], target: float, limit_s: float, state: tuple[object, ...]
) -> float:
    """Return the latency that a share of requests stays within, between 0 and its limit."""
    low, high = 0.0, limit_s
    for _ in range(kernels.BISECTIONS):
        middle = 0.5 * (low + high)
        if share(middle, *state) >= target:
            high = middle
        else:
            low = middle
    return high
