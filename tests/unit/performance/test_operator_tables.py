"""Tables, predictions and engine settings of the operator rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from deployments import config, deploy, served

from coral_solver.catalog import gpu_type
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import Precision
from coral_solver.domain.workload import Phase
from coral_solver.performance.capacity import joint_tables
from coral_solver.performance.engine import max_model_len_tokens
from coral_solver.performance.tables import StageRole

QWEN = served("qwen3-32b", ttft_s=1.6, tpot_s=0.1, input_tokens=600, output_tokens=300)
PHI = served("phi-4-14b", ttft_s=1.2, tpot_s=0.06, input_tokens=1155, output_tokens=211)


def tables_of(model, phase, gpus, gpu_count, max_stages=3):
    return joint_tables(model, phase, [config(g, gpu_count) for g in gpus], max_stages)


@pytest.mark.parametrize("phase", list(Phase))
def test_tables_have_the_shapes_that_stage_1_expects(phase):
    tables = tables_of(QWEN, phase, ["H100", "L40S"], 4)
    points = len(tables.point_params)
    assert points > 0
    assert tables.layer_s.shape == (3, points, 2)
    assert tables.extra_s.shape == tables.stretch.shape == tables.max_layers.shape
    assert tables.extra_s.shape == (3, points, len(StageRole), 2)
    assert tables.max_layers.dtype == np.int64
    for array in (tables.point_params, tables.request_params, tables.layer_s):
        assert array.flags.c_contiguous
        assert np.isfinite(array).all()
    assert tables.memory_gib == pytest.approx(
        [4 * gpu_type(g).memory_gib for g in ("H100", "L40S")]
    )
    assert tables.weight_gib == pytest.approx(65.52e9 / 2**30, rel=0.003)


def test_layers_take_time_and_a_fuller_step_takes_longer():
    tables = tables_of(QWEN, Phase.WHOLE, ["H100", "L40S"], 4)
    assert (tables.layer_s > 0).all()
    assert (tables.extra_s >= 0).all()
    assert (tables.stretch > 1).all()


def test_an_empty_prefill_step_is_shorter_than_a_full_one():
    tables = tables_of(QWEN, Phase.PREFILL, ["H100", "L40S"], 4)
    assert ((tables.stretch > 0) & (tables.stretch < 1)).all()


def test_more_micro_batches_in_flight_leave_room_for_fewer_layers():
    tables = tables_of(QWEN, Phase.WHOLE, ["L40S"], 4)
    assert (np.diff(tables.max_layers, axis=0) <= 0).all()


def test_a_stage_with_embedding_and_head_holds_no_more_layers_than_one_in_the_middle():
    tables = tables_of(PHI, Phase.WHOLE, ["L40S"], 1)
    middle = tables.max_layers[:, :, StageRole.MIDDLE]
    for role in (StageRole.FIRST, StageRole.LAST, StageRole.ONLY):
        assert (tables.max_layers[:, :, role] <= middle).all()


def test_an_illegal_tensor_parallel_size_leaves_nothing():
    # 10 KV heads and 4 GPUs: neither divides the other.
    tables = tables_of(PHI, Phase.WHOLE, ["L40S"], 4)
    assert not tables.max_layers.any()


def test_a_precision_that_a_gpu_cannot_run_leaves_that_gpu_out():
    tables = tables_of(replace(QWEN, precision=Precision.FP8), Phase.WHOLE, ["L40S", "T4"], 4)
    assert tables.max_layers[..., 0].any()
    assert not tables.max_layers[..., 1].any()


def test_an_slo_that_no_point_meets_gives_an_empty_table():
    impossible = replace(QWEN, slo=replace(QWEN.slo, tpot_s=1e-4))
    assert len(tables_of(impossible, Phase.WHOLE, ["H100"], 8).point_params) == 0


def test_decode_runs_on_one_stage_only():
    tables = tables_of(QWEN, Phase.DECODE, ["H100"], 4)
    assert tables.max_layers[0].any()
    assert not tables.max_layers[1:].any()


def test_configurations_of_different_sizes_are_refused():
    with pytest.raises(InvalidInputError, match=r"one GPU count per stage, got \[2, 4\]"):
        joint_tables(QWEN, Phase.WHOLE, [config("L4", 2), config("L4", 4)], 2)


def test_data_sheets_may_be_given():
    slower = replace(gpu_type("L40S"), memory_bandwidth_bytes_per_s=4e11)
    configs = [config("L40S", 4)]
    usual = joint_tables(QWEN, Phase.DECODE, configs, 1)
    given = joint_tables(QWEN, Phase.DECODE, configs, 1, gpu_types={"L40S": slower})
    assert given.layer_s[0, 0, 0] > 1.5 * usual.layer_s[0, 0, 0]


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("attainment", [0.9, 0.99])
def test_predicted_latencies_keep_the_slo_and_engine_settings_can_start(phase, attainment):
    model = replace(QWEN, slo=replace(QWEN.slo, attainment=attainment))
    deployment = deploy(model, phase, ["H100"], 4)
    assert deployment is not None
    prediction, settings = deployment.prediction, deployment.settings
    assert prediction.capacity_req_per_s == deployment.capacity_req_per_s > 0
    assert prediction.batch_per_stage > 0
    assert prediction.ttft_s <= model.slo.ttft_s * (1 + 1e-9)
    assert prediction.tpot_s <= model.slo.tpot_s * (1 + 1e-9)
    assert (prediction.ttft_s > 0) == (phase is not Phase.DECODE)
    assert (prediction.tpot_s > 0) == (phase is not Phase.PREFILL)
    assert settings.tensor_parallel == 4
    assert settings.pipeline_parallel == 1
    assert settings.layers_per_stage == (64,)
    # vLLM refuses a token budget below the number of sequences.
    assert settings.max_num_batched_tokens >= settings.max_num_seqs >= 1
    assert settings.max_model_len_tokens <= model.arch.max_context_tokens


def test_a_stricter_attainment_costs_capacity():
    capacities = []
    for attainment in (0.8, 0.9, 0.95, 0.99):
        model = replace(QWEN, slo=replace(QWEN.slo, attainment=attainment))
        deployment = deploy(model, Phase.WHOLE, ["L40S"], 4)
        assert deployment is not None
        capacities.append(deployment.capacity_req_per_s)
    assert capacities == sorted(capacities, reverse=True)
    assert capacities[-1] < 0.95 * capacities[0]


def test_bursts_cost_capacity():
    bursty = replace(QWEN, workload=replace(QWEN.workload, burstiness=8.0))
    calm, rough = deploy(QWEN, Phase.WHOLE, ["L40S"], 4), deploy(bursty, Phase.WHOLE, ["L40S"], 4)
    assert calm is not None
    assert rough is not None
    assert rough.capacity_req_per_s < 0.9 * calm.capacity_req_per_s


def test_the_longest_request_covers_the_workload_within_the_models_context():
    # Longest points of a log-normal with mean m and cv 1: m x exp(0.8326 x 1.96 - 0.3466) = 3.6 m;
    # (3.6 x 900 tokens) x 1.5 is about 4900, in steps of 256.
    longest = max_model_len_tokens(QWEN)
    assert longest % 256 == 0
    assert longest == pytest.approx(3.62 * 900 * 1.5, abs=256)
    assert max_model_len_tokens(replace(QWEN, max_model_len_tokens=9999)) == 9999
    assert max_model_len_tokens(replace(QWEN, max_model_len_tokens=10**6)) == 40960
