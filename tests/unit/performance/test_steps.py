"""Step times, with every term worked out by hand for one small model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.hardware import GpuType, Link, Precision
from coral_solver.domain.workload import ModelArch
from coral_solver.performance.parameters import (
    AllReduceEfficiency,
    PerformanceParameters,
)
from coral_solver.performance.steps import StepLoad, step_model
from coral_solver.performance.tables import StageRole

# A GPU without an entry of its own: efficiencies 0.8 (weights), 0.75 (KV), 0.6, 0.4 (attention).
GPU = GpuType(
    name="Toy",
    memory_gib=100.0,
    memory_bandwidth_bytes_per_s=1e12,
    flops_per_s={Precision.BF16: 1e14, Precision.FP16: 1e14},
    compute_capability=(8, 0),
    link=Link.PCIE,
    link_bytes_per_s={Link.PCIE: 1e10},
    product_labels=(),
    source="test",
)
ARCH = ModelArch(
    name="toy",
    hub_id=None,
    layers=4,
    hidden_size=1000,
    attention_heads=10,
    kv_heads=2,
    head_dim=100,
    intermediate_size=4000,
    vocab_size=50000,
    max_context_tokens=10000,
    native_precision=Precision.BF16,
    source="test",
)
# No overheads, and times of reading and computing add up: every number below can be checked.
PLAIN = PerformanceParameters(
    norm=1.0,
    layer_overhead_s=0.0,
    moe_layer_overhead_s=0.0,
    sequence_overhead_s=0.0,
    elementwise_bytes_per_hidden=0.0,
    hop_latency_s=0.0,
    pcie=AllReduceEfficiency(
        latency_s=(1e-6, 2e-6, 3e-6), bandwidth_share=(0.5, 0.5, 0.5), source="test"
    ),
)


def toy(*, arch=ARCH, gpu=GPU, precision=Precision.BF16, tensor_parallel=1, parameters=PLAIN):
    return step_model(
        arch,
        gpu,
        precision=precision,
        tensor_parallel=tensor_parallel,
        parameters=parameters,
    )


def decode(seqs, context=0.0):
    return StepLoad(seqs, context, 0.0, 0.0, seqs)


def test_a_dense_decode_layer_reads_its_weights_and_its_kv_cache():
    # Attention 2 x 1000 x 1000 + 2 x 1000 x 200 = 2.4e6, feed-forward 3 x 1000 x 4000 = 12e6
    # weights. Read: 14.4e6 x 2 B / 0.8e12 = 36 us. Compute, 10 rows: 10 x 28.8e6 / 0.6e14 = 4.8 us.
    # KV: 10 x 500 tokens x 2 x 2 x 100 x 2 B = 4e6 B / 0.75e12 = 5.333 us.
    assert float(toy().layer_s(decode(10.0, 500.0))) == pytest.approx(36e-6 + 4.8e-6 + 5.3333e-6)


def test_prompt_tokens_pay_for_attending_to_what_is_before_them():
    load = StepLoad(0.0, 0.0, 1000.0, 500.0, 1.0)
    # 36 us read; compute 1000 x 28.8e6 / 0.6e14 = 480 us;
    # attention 4 x 10 x 100 FLOP x 1000 x 500 / 0.4e14 = 50 us.
    assert float(toy().layer_s(load)) == pytest.approx(36e-6 + 480e-6 + 50e-6)


def test_tensor_parallelism_splits_the_work_and_adds_two_all_reduces():
    # Half of 36 + 4.8 + 5.333 us; two all-reduces of 1 us + 10 x 1000 x 2 B / 4e9 = 5 us each:
    # half of the link's 10e9 B/s, 0.8 of that on a GPU type without measurements.
    assert float(toy(tensor_parallel=2).layer_s(decode(10.0, 500.0))) == pytest.approx(
        46.1333e-6 / 2 + 2 * 6e-6
    )


def test_experts_are_read_as_far_as_they_are_touched_and_padded():
    arch = replace(
        ARCH, experts=10, experts_per_token=2, moe_intermediate_size=500, intermediate_size=0
    )
    parameters = replace(
        PLAIN, routing_exponent=1.0, expert_padding_rows=4.0, expert_bandwidth_share=0.9
    )
    # Two independent tokens touch 10 (1 - 0.8^2) = 3.6 experts of 3 x 1000 x 500 = 1.5e6 weights:
    # 3.6 x 3e6 B / (0.9 x 0.8e12) = 15 us. Rows 2 x 2 + 4 x 3.6 = 18.4, x 3e6 FLOP / 0.25e14
    # = 2.208 us; a width of 500 fills the tiles to 500 / (500 + 115):
    # 2.71584 us. Attention 2.4e6 weights: 6 us read, 2 x 4.8e6 / 0.6e14 = 0.16 us.
    assert float(toy(arch=arch, parameters=parameters).layer_s(decode(2.0))) == pytest.approx(
        15e-6 + 2.71584e-6 + 6e-6 + 0.16e-6
    )


def test_popular_experts_are_touched_together_and_one_token_touches_exactly_its_own():
    arch = model_arch("gpt-oss-120b")
    skewed = step_model(arch, gpu_type("H100"), precision=Precision.MXFP4, tensor_parallel=1)
    even = replace(skewed, routing_exponent=1.0)
    assert float(skewed.layer_s(decode(1.0))) == pytest.approx(float(even.layer_s(decode(1.0))))
    assert float(skewed.layer_s(decode(32.0))) < 0.8 * float(even.layer_s(decode(32.0)))


def test_a_token_may_go_to_all_experts():
    arch = replace(ARCH, experts=4, experts_per_token=4, moe_intermediate_size=500)
    assert np.isfinite(toy(arch=arch).layer_s(decode(np.arange(0.0, 5.0)))).all()


def test_windowed_layers_attend_to_their_window_at_a_higher_cost():
    arch = replace(ARCH, sliding_window_tokens=100, sliding_layers=2)
    parameters = replace(PLAIN, window_bytes_factor=3.0)
    # Half of the layers see 500 tokens, half see 100 at three times the cost: mean 400 of 500.
    kv_s = float(toy(arch=arch, parameters=parameters).layer_s(decode(10.0, 500.0))) - 40.8e-6
    assert kv_s == pytest.approx(5.33333e-6 * 400 / 500, rel=1e-5)


@pytest.mark.parametrize(
    ("role", "expected_s"),
    [
        # Embedding: 10 rows x 1000 x 2 B, read and written at 0.8e12: 0.05 us. Hop: two tensors of
        # 20 kB at 3.1e9: 12.903 us. Head: 1e8 B / 0.8e12 = 125 us
        # and 10 x 1e8 / 0.6e14 = 16.667 us.
        (StageRole.FIRST, 0.05e-6 + 12.9032e-6),
        (StageRole.MIDDLE, 12.9032e-6),
        (StageRole.LAST, 125e-6 + 16.6667e-6),
        (StageRole.ONLY, 0.05e-6 + 125e-6 + 16.6667e-6),
    ],
)
def test_what_a_role_adds(role, expected_s):
    assert float(toy().extra_s(role, decode(10.0))) == pytest.approx(expected_s, rel=1e-4)


def test_fp8_without_fp8_units_saves_reading_and_costs_computing():
    dense, packed = toy(), toy(precision=Precision.FP8)
    assert packed.dense_bytes == dense.dense_bytes / 2
    assert packed.matrix_flops_per_s == pytest.approx(0.85 * dense.matrix_flops_per_s)
    assert packed.head_flops_per_s == dense.head_flops_per_s


def test_a_bf16_model_runs_as_fp16_on_a_gpu_without_bf16():
    old = replace(GPU, flops_per_s={Precision.FP16: 5e13}, compute_capability=(7, 5))
    assert toy(gpu=old).matrix_flops_per_s == pytest.approx(0.6 * 5e13)


def test_a_link_that_the_data_sheet_lacks_counts_as_the_usual_one():
    claimed = step_model(
        ARCH,
        GPU,
        precision=Precision.BF16,
        tensor_parallel=2,
        link=Link.NVLINK,
        parameters=PLAIN,
    )
    assert np.isfinite(claimed.all_reduce_bytes_per_s)


@pytest.mark.parametrize("gpu", ["H100", "A100-80GB", "L40S", "L4", "A10G", "T4", "V100-16GB"])
def test_more_work_never_takes_less_time(gpu):
    steps = step_model(
        model_arch("gpt-oss-20b"), gpu_type(gpu), precision=Precision.BF16, tensor_parallel=2
    )
    seqs = np.arange(1.0, 300.0)
    assert (np.diff(steps.layer_s(decode(seqs, 800.0))) > 0).all()
    contexts = np.arange(100.0, 5000.0, 100.0)
    assert (np.diff(steps.layer_s(decode(8.0, contexts))) > 0).all()
    prompts = StepLoad(8.0, 800.0, np.arange(1.0, 8000.0, 50.0), 400.0, 9.0)
    assert (np.diff(steps.layer_s(prompts)) > 0).all()
