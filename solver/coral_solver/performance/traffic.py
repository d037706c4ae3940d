"""Means and spreads of a workload as an engine in steady state sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coral_solver.performance import memory

if TYPE_CHECKING:
    from coral_solver.domain.workload import ModelArch, ServedModel

ATTENTION_RATE_RATIO = 1.1
"""FLOP rate of matrix products over that of prefill attention: 0.64 over 0.60 on Hopper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Length moments of one model's requests.

    Long requests stay longer, so what a running batch holds is weighted by output length.

    Attributes
    ----------
    input_tokens, output_tokens
        Mean lengths over requests.
    input_cv2, output_cv2
        Squared coefficients of variation.
    burstiness
        Squared coefficient of variation of the times between arrivals.
    context_tokens
        Mean context of a decoding sequence: ``in + out (1 + cv2_out) / 2``.
    context_sigma_tokens
        Standard deviation of the context over decoding sequences.
    prefill_context_tokens
        Mean number of tokens that a prompt token attends to: ``in (1 + cv2_in) / 2``.
    work_points_tokens
        Equally likely prompts, each as the length that an average prompt of the same work has:
        attention makes a token of a long prompt cost more. Their mean is ``input_tokens``.
    work_cv2
        Squared coefficient of variation of these.
    """

    input_tokens: float
    output_tokens: float
    input_cv2: float
    output_cv2: float
    burstiness: float
    context_tokens: float
    context_sigma_tokens: float
    prefill_context_tokens: float
    work_points_tokens: tuple[float, ...]
    work_cv2: float

    @classmethod
    def of(cls, model: ServedModel) -> Traffic:
        """Return the moments of a model's workload."""
        inputs, outputs = model.workload.input_tokens, model.workload.output_tokens
        lengths = np.array(outputs.points_tokens)
        # A sequence of length L is seen at a uniform position in [0, L], with weight L.
        position = float((lengths**2).sum() / (2 * lengths.sum()))
        square = float((lengths**3).sum() / (3 * lengths.sum()))
        variance = inputs.cv2 * inputs.mean_tokens**2 + square - position**2
        prompts = np.array(inputs.points_tokens)
        work = prompts * (1.0 + _attention_share_per_token(model.arch) * prompts / 2.0)
        work *= inputs.mean_tokens / work.mean()
        return cls(
            input_tokens=inputs.mean_tokens,
            output_tokens=outputs.mean_tokens,
            input_cv2=inputs.cv2,
            output_cv2=outputs.cv2,
            burstiness=model.workload.burstiness,
            context_tokens=inputs.mean_tokens + position,
            context_sigma_tokens=math.sqrt(max(variance, 0.0)),
            prefill_context_tokens=inputs.mean_tokens * (1 + inputs.cv2) / 2,
            work_points_tokens=tuple(work.tolist()),
            work_cv2=float(work.var() / work.mean() ** 2),
        )


def _attention_share_per_token(arch: ModelArch) -> float:
    """Return the work of attending to one token over the rest of a prompt token's work.

    Ratio of FLOPs; kernels reach a lower rate in attention by about the same factor everywhere.
    """
    h, d = arch.hidden_size, arch.head_dim
    pairs = 4 * arch.attention_heads * d * (1.0 - memory.sliding_share(arch))
    inner = (
        arch.experts_per_token * arch.moe_intermediate_size
        if arch.experts
        else arch.intermediate_size
    )
    weights = memory.attention_weights(arch, 1) + 3 * h * inner
    return ATTENTION_RATE_RATIO * pairs / (2 * weights)
