"""Length moments as an engine in steady state sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from deployments import served

from coral_solver.domain.workload import LENGTH_POINTS, LengthDistribution, Workload
from coral_solver.performance.traffic import Traffic


def model_with(inputs, outputs):
    half = LENGTH_POINTS // 2
    lengths = [
        LengthDistribution(
            mean_tokens=(low + high) / 2, points_tokens=(low,) * half + (high,) * half
        )
        for low, high in (inputs, outputs)
    ]
    base = served("qwen3-32b", ttft_s=1, tpot_s=0.1, input_tokens=100, output_tokens=100)
    return replace(base, workload=Workload(input_tokens=lengths[0], output_tokens=lengths[1]))


def test_long_answers_are_seen_more_often_in_a_running_batch():
    traffic = Traffic.of(model_with((100.0, 100.0), (100.0, 300.0)))
    # Weights 1/4 and 3/4, mean positions 50 and 150: 100 + 12.5 + 112.5.
    assert traffic.context_tokens == pytest.approx(225.0)
    # Second moment 1/4 x 100^2/3 + 3/4 x 300^2/3 = 23333; less 125^2.
    assert traffic.context_sigma_tokens == pytest.approx((23333.33 - 15625.0) ** 0.5, rel=1e-4)


def test_equal_lengths_have_half_the_answer_in_the_cache():
    traffic = Traffic.of(model_with((100.0, 100.0), (200.0, 200.0)))
    assert traffic.context_tokens == pytest.approx(200.0)
    assert traffic.prefill_context_tokens == pytest.approx(50.0)


def test_long_prompts_count_for_more_work_than_their_length():
    traffic = Traffic.of(model_with((1000.0, 9000.0), (100.0, 100.0)))
    work = np.array(traffic.work_points_tokens)
    assert work.mean() == pytest.approx(5000.0)
    assert work[-1] > 9000.0
    assert work[0] < 1000.0
    assert traffic.work_cv2 > 0.64  # (4000 / 5000)^2
