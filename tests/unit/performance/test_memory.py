"""Weights, KV cache and legal tensor parallel sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.hardware import Precision
from coral_solver.performance import memory
from coral_solver.performance.tables import StageRole


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        # Bytes of the published checkpoints (bf16; gpt-oss: mxfp4 experts, bf16 rest).
        ("phi-4-14b", 29.32),
        ("qwen3-32b", 65.52),
        ("llama-3.1-70b", 141.11),
        ("qwen3-235b-a22b", 470.19),
        ("gpt-oss-20b", 13.75),
        ("gpt-oss-120b", 65.19),
    ],
)
def test_weights_are_those_of_the_published_checkpoints(name, gigabytes):
    arch = model_arch(name)
    counted = memory.weight_bytes(arch, arch.native_precision) / 1e9
    assert counted == pytest.approx(gigabytes, rel=0.003)


def test_fp8_halves_the_layers_and_leaves_embedding_and_head_in_16_bit():
    arch = model_arch("llama-3.1-70b")
    bf16 = memory.weight_bytes(arch, Precision.BF16)
    fp8 = memory.weight_bytes(arch, Precision.FP8)
    tables = memory.role_weight_bytes(arch, StageRole.ONLY, 1)
    # Norms stay in 16 bit too: 80 layers x 2 x 8192 x 2 bytes = 2.6 MB.
    assert fp8 - tables == pytest.approx((bf16 - tables) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "precision", "sizes"),
    [
        ("phi-4-14b", Precision.BF16, {1, 2, 5, 10}),  # 40 heads, 10 KV heads
        ("qwen3-32b", Precision.BF16, {1, 2, 4, 8, 16}),  # 64 heads, 8 KV heads: copied at 16
        ("gpt-oss-120b", Precision.MXFP4, {1, 2, 4, 8, 16}),  # experts are padded
        ("qwen3-235b-a22b", Precision.BF16, {1, 2, 4, 8, 16}),  # 4 KV heads
    ],
)
def test_legal_tensor_parallel_sizes(name, precision, sizes):
    arch = model_arch(name)
    legal = {t for t in range(1, 17) if memory.shape_problem(arch, precision, t) is None}
    assert legal == sizes


def test_tensor_parallelism_must_not_cut_fp8_blocks_of_a_model_published_in_fp8():
    bf16 = model_arch("qwen3-235b-a22b")
    fp8 = replace(bf16, native_precision=Precision.FP8)
    # Expert width 1536: a quarter is 384 = 3 x 128, an eighth is 192, one block and a half.
    assert memory.shape_problem(fp8, Precision.FP8, 4) is None
    assert "blocks of 128" in (memory.shape_problem(fp8, Precision.FP8, 8) or "")
    assert memory.shape_problem(bf16, Precision.FP8, 8) is None


def test_mxfp4_experts_are_padded_to_whole_blocks():
    arch = model_arch("gpt-oss-20b")
    # 2880 is 90 blocks of 32; over 4 GPUs each takes 23 of them, 736 instead of 720.
    assert memory.expert_width(arch, Precision.MXFP4, 4) == 736
    assert memory.expert_width(arch, Precision.BF16, 4) == 720


@pytest.mark.parametrize(
    ("precision", "gpu", "runs"),
    [
        (Precision.FP8, "H100", True),
        (Precision.FP8, "A100-80GB", True),  # weight only
        (Precision.FP8, "T4", False),
        (Precision.MXFP4, "V100-16GB", False),
        (Precision.MXFP4, "L4", True),
        (Precision.BF16, "T4", True),  # as fp16
    ],
)
def test_precisions_a_gpu_can_run(precision, gpu, runs):
    problem = memory.precision_problem(model_arch("gpt-oss-20b"), precision, gpu_type(gpu))
    assert (problem is None) == runs


def test_mxfp4_is_refused_for_a_model_without_experts():
    problem = memory.precision_problem(model_arch("qwen3-32b"), Precision.MXFP4, gpu_type("H100"))
    assert "no experts" in (problem or "")


def test_kv_heads_are_split_and_then_copied():
    arch = model_arch("qwen3-32b")  # 8 KV heads of 128, keys and values, 2 bytes
    assert memory.kv_bytes_per_token_and_layer(arch, 1) == 2 * 8 * 128 * 2
    assert memory.kv_bytes_per_token_and_layer(arch, 8) == 2 * 1 * 128 * 2
    assert memory.kv_bytes_per_token_and_layer(arch, 16) == 2 * 1 * 128 * 2


def test_a_tied_table_is_held_once_by_the_only_stage_and_by_both_ends_of_a_pipeline():
    arch = replace(model_arch("qwen3-32b"), tied_embeddings=True)
    table = arch.vocab_size * arch.hidden_size * 2.0
    held = [memory.role_weight_bytes(arch, role, 1) for role in StageRole]
    assert held == [table, 0.0, table, table]
