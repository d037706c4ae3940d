"""What a stage keeps in GPU memory, and which tensor parallel sizes are legal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.domain.hardware import Precision
from coral_solver.performance.tables import StageRole

if TYPE_CHECKING:
    from coral_solver.domain.hardware import GpuType
    from coral_solver.domain.workload import ModelArch

BYTES_PER_WEIGHT = {
    Precision.BF16: 2.0,
    Precision.FP16: 2.0,
    Precision.FP8: 1.0,
    # 4 bits and one shared 8-bit scale per block of 32 (Open Compute Project, MX formats 1.0).
    Precision.MXFP4: 4.25 / 8.0,
}
MXFP4_BLOCK = 32
FP8_BLOCK = 128
LOGIT_BYTES = 4.0
WEIGHT_ONLY_CAPABILITY = (8, 0)
GIB = float(2**30)


def shape_problem(arch: ModelArch, precision: Precision, tensor_parallel: int) -> str | None:
    """Return why a model cannot be split over ``tensor_parallel`` GPUs, or None if it can.

    vLLM splits attention by heads; KV heads are split too, or copied when there are fewer of them
    than GPUs. Models published in fp8 have one scale per block of 128 x 128 weights, which cannot
    be cut (a bf16 model that vLLM itself turns into fp8 has no blocks); mxfp4 experts are padded
    to whole blocks instead.

    Returns
    -------
    str or None
        One sentence for people.
    """
    heads, kv_heads = arch.attention_heads, arch.kv_heads
    if tensor_parallel < 1 or heads % tensor_parallel:
        return f"tensor parallel size {tensor_parallel} does not divide {heads} attention heads"
    if kv_heads % tensor_parallel and tensor_parallel % kv_heads:
        return (
            f"tensor parallel size {tensor_parallel} and {kv_heads} KV heads: "
            "neither divides the other"
        )
    width = arch.moe_intermediate_size if arch.experts else arch.intermediate_size
    if precision is not Precision.MXFP4 and width % tensor_parallel:
        return f"tensor parallel size {tensor_parallel} does not divide the inner width {width}"
    in_blocks = precision is Precision.FP8 and arch.native_precision is Precision.FP8
    if in_blocks and (width // tensor_parallel) % FP8_BLOCK:
        return (
            f"tensor parallel size {tensor_parallel} cuts the fp8 blocks of {FP8_BLOCK} "
            f"of the inner width {width}"
        )
    return None


def precision_problem(arch: ModelArch, precision: Precision, gpu: GpuType) -> str | None:
    """Return why a GPU type cannot run a model in a precision, or None if it can.

    A precision without units on the GPU is unpacked before each product ("weight only"), which
    vLLM's kernels do from compute capability 8.0 on; bf16 runs as fp16 on older GPUs.
    """
    if precision is Precision.MXFP4 and not arch.experts:
        return f"mxfp4 is a format of expert weights and {arch.name} has no experts"
    packed = precision in (Precision.FP8, Precision.MXFP4)
    if (
        packed
        and precision not in gpu.flops_per_s
        and gpu.compute_capability < WEIGHT_ONLY_CAPABILITY
    ):
        major, minor = gpu.compute_capability
        return (
            f"{precision.value} weights need compute capability 8.0, {gpu.name} has {major}.{minor}"
        )
    return None


def attention_weights(arch: ModelArch, tensor_parallel: int) -> float:
    """Return the attention weights of one layer on one GPU (count, not bytes)."""
    h, d = arch.hidden_size, arch.head_dim
    query_and_output = 2 * h * arch.attention_heads * d / tensor_parallel
    return query_and_output + 2 * h * kv_heads_per_gpu(arch, tensor_parallel) * d


def expert_width(arch: ModelArch, precision: Precision, tensor_parallel: int) -> float:
    """Return the inner width of one expert on one GPU, padded to whole mxfp4 blocks."""
    if precision is not Precision.MXFP4:
        return arch.moe_intermediate_size / tensor_parallel
    blocks = -(-arch.moe_intermediate_size // MXFP4_BLOCK)
    return -(-blocks // tensor_parallel) * MXFP4_BLOCK


def dense_bytes_per_weight(precision: Precision) -> float:
    """Return bytes per weight outside the experts: mxfp4 models keep those in bf16."""
    return 2.0 if precision is Precision.MXFP4 else BYTES_PER_WEIGHT[precision]


def layer_weight_bytes(arch: ModelArch, precision: Precision, tensor_parallel: int) -> float:
    """Return the bytes of one layer's weights on one GPU."""
    h = arch.hidden_size
    dense = dense_bytes_per_weight(precision)
    total = attention_weights(arch, tensor_parallel) * dense
    total += 2 * h * 2.0  # two norms
    if arch.attention_bias:
        d = arch.head_dim
        kv = 2 * kv_heads_per_gpu(arch, tensor_parallel)
        total += ((arch.attention_heads / tensor_parallel + kv) * d + h) * 2.0
    if arch.experts:
        per_expert = 3 * h * expert_width(arch, precision, tensor_parallel)
        total += arch.experts * per_expert * BYTES_PER_WEIGHT[precision]
        total += arch.experts * h * 2.0  # the router is copied to every GPU, in bf16
    else:
        total += 3 * h * arch.intermediate_size / tensor_parallel * dense
    return total


def role_weight_bytes(arch: ModelArch, role: StageRole, tensor_parallel: int) -> float:
    """Return the bytes of embedding and head that a stage's role adds, per GPU, in bf16."""
    table = arch.vocab_size * arch.hidden_size * 2.0 / tensor_parallel
    if role is StageRole.MIDDLE:
        return 0.0
    if role is StageRole.ONLY and not arch.tied_embeddings:
        return 2 * table
    return table


def weight_bytes(arch: ModelArch, precision: Precision) -> float:
    """Return the bytes of all weights of the model, unsplit."""
    layers = arch.layers * layer_weight_bytes(arch, precision, 1)
    return layers + role_weight_bytes(arch, StageRole.ONLY, 1)


def kv_heads_per_gpu(arch: ModelArch, tensor_parallel: int) -> int:
    """Return the KV heads on one GPU; they are copied when there are fewer than GPUs."""
    return max(1, arch.kv_heads // tensor_parallel)


def kv_bytes_per_token_and_layer(
    arch: ModelArch, tensor_parallel: int, bytes_per_value: float = 2.0
) -> float:
    """Return the KV cache of one token in one layer on one GPU, in bytes."""
    return 2 * kv_heads_per_gpu(arch, tensor_parallel) * arch.head_dim * bytes_per_value


def sliding_share(arch: ModelArch) -> float:
    """Return the share of layers whose attention sees a window only."""
    return arch.sliding_layers / arch.layers


def activation_bytes_per_token(arch: ModelArch, tensor_parallel: int) -> float:
    """Return the peak working memory of one token of a step on one GPU, in bytes.

    Four hidden-sized and three inner-sized 16-bit buffers: ``8 h + 6 f / t``; for experts the
    inner width is that of all experts a token goes to.
    """
    inner = (
        arch.experts_per_token * arch.moe_intermediate_size
        if arch.experts
        else arch.intermediate_size
    )
    return 8.0 * arch.hidden_size + 6.0 * inner / tensor_parallel
