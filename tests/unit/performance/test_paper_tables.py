"""Tables of the paper rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from deployments import config, served

from coral_solver.catalog import gpu_type
from coral_solver.domain.hardware import Precision
from coral_solver.domain.workload import Phase
from coral_solver.performance.capacity import separable_tables
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.steps import StepLoad, step_model
from coral_solver.performance.tables import StageRole

QWEN = served("qwen3-32b", ttft_s=1.6, tpot_s=0.1, input_tokens=600, output_tokens=300)
PHI = served("phi-4-14b", ttft_s=1.2, tpot_s=0.06, input_tokens=1155, output_tokens=211)
CONFIGS = [config(g, n) for g in ("H100", "L40S", "L4") for n in (1, 2, 4, 8)]


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("model", [QWEN, PHI], ids=["qwen", "phi"])
def test_rates_never_rise_with_the_layers_held(model, phase):
    tables = separable_tables(model, phase, CONFIGS, 4)
    rates = tables.rate_req_per_s
    assert rates.shape == (4, len(StageRole), len(CONFIGS), model.arch.layers + 1)
    assert not rates[..., 0].any()
    assert (np.diff(rates[..., 1:], axis=-1) <= 1e-12).all()
    assert rates.any()


@pytest.mark.parametrize("phase", list(Phase))
def test_a_node_is_at_least_as_fast_as_two_of_half_its_size(phase):
    rates = separable_tables(QWEN, phase, CONFIGS, 3).rate_req_per_s
    for c, node in enumerate(CONFIGS):
        if node.gpu_count > 1:
            assert (rates[:, :, c] >= 2 * rates[:, :, c - 1] - 1e-12).all()


def test_a_node_whose_gpus_cannot_all_share_a_layer_works_in_groups():
    # Phi-4 allows 1 or 2 of 4 GPUs in a group, so four GPUs are two groups of two.
    rates = separable_tables(PHI, Phase.DECODE, CONFIGS, 1).rate_req_per_s
    two, four = CONFIGS.index(config("L40S", 2)), CONFIGS.index(config("L40S", 4))
    assert np.array_equal(rates[:, :, four], 2 * rates[:, :, two])


def test_a_prefill_rate_is_one_batch_of_mean_prompts_per_step():
    rates = separable_tables(QWEN, Phase.PREFILL, [config("H100", 1)], 1).rate_req_per_s
    steps = step_model(QWEN.arch, gpu_type("H100"), precision=Precision.BF16, tensor_parallel=1)
    best = 0.0
    for prompts in (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0):
        load = StepLoad(0.0, 0.0, prompts * 600.0, 300.0, prompts)
        step_s = 16 * float(steps.layer_s(load)) + float(steps.extra_s(StageRole.ONLY, load))
        if step_s <= QWEN.slo.ttft_s - DEFAULT_PARAMETERS.request_overhead_s:
            best = max(best, prompts / step_s)
    assert rates[0, StageRole.ONLY, 0, 16] == pytest.approx(best)


def test_each_stage_of_a_longer_pipeline_has_less_time():
    rates = separable_tables(QWEN, Phase.DECODE, [config("L40S", 4)], 4).rate_req_per_s
    held = rates[:, StageRole.MIDDLE, 0, 16]
    assert (np.diff(held) < 0).all()


def test_what_does_not_fit_or_is_too_slow_has_rate_zero():
    rates = separable_tables(QWEN, Phase.DECODE, [config("L4", 1)], 1).rate_req_per_s
    # 64 layers are 61 GB, an L4 has 22 GiB.
    assert rates[0, StageRole.ONLY, 0, 64] == 0.0
    hasty = replace(QWEN, slo=replace(QWEN.slo, tpot_s=1e-4))
    assert not separable_tables(hasty, Phase.DECODE, CONFIGS, 2).rate_req_per_s.any()
