"""Closed-loop predictions, and the scheduler's kernel against the event simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from event_simulation import Request, engine, simulate

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.hardware import Precision
from coral_solver.performance.closed_loop import (
    default_engine_limits,
    default_partition,
    predict_closed_loop,
)
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.steps import StepLoad, step_model
from coral_solver.performance.tables import StageRole

QWEN = model_arch("qwen3-32b")
H100 = gpu_type("H100")


def predict(arch=QWEN, gpu=H100, **changes):
    case = {
        "tensor_parallel": 2,
        "precision": Precision.BF16,
        "input_tokens": 1024,
        "output_tokens": 256,
        "concurrency": 8,
    }
    return predict_closed_loop(arch, gpu, **case | changes)


def test_one_client_waits_for_its_own_steps_only():
    steps = step_model(QWEN, H100, precision=Precision.BF16, tensor_parallel=2)
    load = StepLoad(1.0, 1024 + 128.0, 0.0, 0.0, 1.0)
    step_ms = 1e3 * (64 * steps.layer_s(load) + steps.extra_s(StageRole.ONLY, load))
    prompt = StepLoad(0.0, 0.0, 1024.0, 512.0, 1.0)
    prompt_ms = 1e3 * (64 * steps.layer_s(prompt) + steps.extra_s(StageRole.ONLY, prompt))
    prediction = predict(concurrency=1)
    assert prediction.status == "ok"
    assert prediction.tpot_ms == pytest.approx(step_ms, rel=0.01)
    overhead_ms = 1e3 * DEFAULT_PARAMETERS.request_overhead_s
    assert prediction.ttft_ms == pytest.approx(prompt_ms + overhead_ms, rel=0.03)
    answer_s = 1e-3 * (prediction.ttft_ms + 255 * step_ms)
    assert prediction.requests_per_s == pytest.approx(1 / answer_s, rel=0.03)


def test_more_clients_give_more_throughput_and_longer_waits():
    predictions = [predict(concurrency=c) for c in (1, 4, 16, 64, 256)]
    for name, sign in (("output_tokens_per_s", 1), ("ttft_ms", 1), ("tpot_ms", 1)):
        figures = [getattr(p, name) for p in predictions]
        assert (sign * np.diff(figures) > 0).all(), name


def test_an_infinite_concurrency_is_a_burst_of_a_thousand_requests():
    burst, clients = predict(concurrency=math.inf), predict(concurrency=1000, num_requests=1000)
    assert burst == clients
    assert predict(concurrency=math.inf, num_requests=10).ttft_ms < burst.ttft_ms / 10


def test_a_small_kv_cache_makes_requests_wait():
    # 65.5 GB of weights leave about 8.6 of 76.4 GB: 33,000 tokens of 262 kB, 28 of 64 requests.
    one, two = predict(tensor_parallel=1, concurrency=64), predict(concurrency=64)
    assert one.running_share == pytest.approx(28 / 64, abs=0.03)
    assert two.running_share == 1.0
    assert one.ttft_ms > 5 * two.ttft_ms


def test_two_stages_serve_more_clients_at_a_longer_time_per_token():
    one = predict(tensor_parallel=1, concurrency=16, input_tokens=128)
    two = predict(tensor_parallel=1, pipeline_parallel=2, concurrency=16, input_tokens=128)
    assert two.status == "ok"
    assert two.tpot_ms > 0.9 * one.tpot_ms
    burst_one = predict(tensor_parallel=1, concurrency=math.inf)
    burst_two = predict(tensor_parallel=1, pipeline_parallel=2, concurrency=math.inf)
    assert burst_two.requests_per_s > 1.5 * burst_one.requests_per_s


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"tensor_parallel": 3}, "IllegalTensorParallel"),
        ({"pipeline_parallel": 65}, "IllegalPipelineParallel"),
        ({"precision": Precision.MXFP4}, "UnsupportedPrecision"),
        ({"gpu": gpu_type("T4"), "precision": Precision.FP8}, "UnsupportedPrecision"),
        ({"gpu": gpu_type("L4"), "tensor_parallel": 1}, "DoesNotFit"),
        ({"input_tokens": 40000, "output_tokens": 1000}, "ContextTooLong"),
        ({"input_tokens": 0}, "InvalidLengths"),
        ({"output_tokens": math.nan}, "InvalidLengths"),
        ({"input_tokens": math.inf}, "ContextTooLong"),
        ({"concurrency": 0}, "InvalidConcurrency"),
        ({"concurrency": -1}, "InvalidConcurrency"),
        ({"concurrency": math.nan}, "InvalidConcurrency"),
    ],
)
def test_what_cannot_run_gets_a_reason_and_no_figures(changes, status):
    prediction = predict(**changes)
    assert prediction.status == status
    assert prediction.message
    assert math.isnan(prediction.tpot_ms)
    assert math.isnan(prediction.output_tokens_per_s)


def test_vllm_defaults_by_gpu():
    assert default_engine_limits(H100) == (8192, 1024)
    assert default_engine_limits(gpu_type("A100-80GB")) == (2048, 256)
    assert default_engine_limits(gpu_type("L40S")) == (2048, 256)


@pytest.mark.parametrize(
    ("layers", "stages", "partition"),
    [(8, 2, [4, 4]), (10, 3, [3, 4, 3]), (11, 3, [4, 4, 3]), (5, 4, [1, 1, 2, 1])],
)
def test_vllm_gives_what_is_left_to_late_stages_but_not_the_last(layers, stages, partition):
    assert default_partition(layers, stages) == partition


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("name", ["llama-3.1-8b", "gpt-oss-20b"])
def test_the_scheduler_kernel_agrees_with_the_event_simulation_on_a_burst(name, stages):
    arch = model_arch(name)
    precision = arch.native_precision
    prediction = predict_closed_loop(
        arch,
        H100,
        tensor_parallel=1,
        pipeline_parallel=stages,
        precision=precision,
        input_tokens=700,
        output_tokens=60,
        concurrency=math.inf,
        num_requests=300,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
    )
    parameters = replace(DEFAULT_PARAMETERS, hop_bytes_per_s=450e9)
    steps = step_model(arch, H100, precision=precision, tensor_parallel=1, parameters=parameters)
    rng = np.random.default_rng(7)
    lengths = rng.uniform(0.98, 1.02, (300, 2)) * [700, 60]
    requests = [Request(0.0, round(i), round(o)) for i, o in lengths]
    setup = engine(
        [steps] * stages,
        default_partition(arch.layers, stages),
        max_num_seqs=64,
        budget_tokens=2048,
    )
    simulate(setup, requests)
    duration_s = max(r.last_s for r in requests)
    ttft_s = np.mean([r.first_s for r in requests])
    tpot_s = np.mean([(r.last_s - r.first_s) / (r.output_tokens - 1) for r in requests])
    overhead_s = DEFAULT_PARAMETERS.request_overhead_s
    assert prediction.requests_per_s == pytest.approx(300 / (duration_s + overhead_s), rel=0.03)
    assert prediction.ttft_ms == pytest.approx(1e3 * (ttft_s + overhead_s), rel=0.05)
    assert prediction.tpot_ms == pytest.approx(1e3 * tpot_s, rel=0.05)
