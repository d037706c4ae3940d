"""Values of the physical performance model, each with its meaning, unit and source.

Sources, short: **operators** = measured operator times of NVIDIA AIConfigurator 0.12.0
(Apache-2.0) for vLLM on A100, H100, H200; **end-to-end** = its 342 measured vLLM serving points
(Qwen3-32B, gpt-oss-120b, Llama-3.1-70B on H100 and H200); **published** = NVIDIA's published
TensorRT-LLM throughput; **layers** = per-layer vLLM times in the Helix repository (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.hardware import GpuType


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuEfficiency:
    """Reached share of a GPU's data-sheet peaks, by kind of work.

    Attributes
    ----------
    weights_bandwidth
        Memory bandwidth while reading weights in matrix products.
    kv_bandwidth
        Memory bandwidth while reading the KV cache in decode attention.
    matrix_flops
        Matrix products in bf16 or fp16.
    matrix_flops_fp8
        Matrix products in fp8, on GPUs with fp8 units.
    attention_flops
        Prefill attention.
    expert_flops
        Expert matrix products of a mixture of experts, of the bf16 peak.
    source
        What the values rest on.
    """

    weights_bandwidth: float
    kv_bandwidth: float
    matrix_flops: float
    matrix_flops_fp8: float
    attention_flops: float
    expert_flops: float
    source: str


_HOPPER = {
    "kv_bandwidth": 0.80,
    "matrix_flops": 0.64,
    "matrix_flops_fp8": 0.76,
    "attention_flops": 0.72,
    "expert_flops": 0.245,
}

DEFAULT_EFFICIENCY = GpuEfficiency(
    weights_bandwidth=0.80,
    kv_bandwidth=0.75,
    matrix_flops=0.60,
    matrix_flops_fp8=0.60,
    attention_flops=0.40,
    expert_flops=0.25,
    source="default: below the measured GPUs; 0.80 is AIConfigurator's value for all GPUs",
)
"""For a GPU type without measurements of its own."""

_H100 = GpuEfficiency(weights_bandwidth=0.91, source="operators and end-to-end points", **_HOPPER)
_A100 = GpuEfficiency(
    weights_bandwidth=0.83,
    kv_bandwidth=0.72,
    matrix_flops=0.71,
    matrix_flops_fp8=0.71,
    attention_flops=0.48,
    expert_flops=0.31,
    source="operators; kv_bandwidth between operators (0.62) and layers (0.85)",
)

EFFICIENCY_BY_FAMILY: Mapping[str, GpuEfficiency] = MappingProxyType(
    {
        "H100": _H100,
        "H200": GpuEfficiency(
            weights_bandwidth=0.915, source="operators and end-to-end points", **_HOPPER
        ),
        "GH200": replace(_H100, source="as H100, the same chip"),
        "H800": replace(_H100, source="as H100, the same chip"),
        "A100": _A100,
        "A800": replace(_A100, source="as A100, the same chip"),
        "L4": replace(
            DEFAULT_EFFICIENCY,
            matrix_flops=0.43,
            matrix_flops_fp8=0.43,
            attention_flops=0.30,
            expert_flops=0.18,
            source="layers: 72 W hold the clock far below that of the data sheet's peak",
        ),
        "T4": replace(
            DEFAULT_EFFICIENCY,
            matrix_flops=0.42,
            attention_flops=0.30,
            expert_flops=0.18,
            source="layers: 70 W hold the clock far below that of the data sheet's peak",
        ),
        "V100": replace(DEFAULT_EFFICIENCY, matrix_flops=0.70, source="layers"),
    }
)
"""By the first word of the GPU type's name: ``A100-80GB`` belongs to ``A100``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduceEfficiency:
    """All-reduce inside a node, at tensor parallelism 2, 4 and 8 (in between: the next larger).

    Attributes
    ----------
    latency_s
        Time of an empty all-reduce.
    bandwidth_share
        Message bytes per second over the link's bandwidth per GPU and direction.
    source
        What the values rest on.
    """

    latency_s: tuple[float, float, float]
    bandwidth_share: tuple[float, float, float]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceParameters:
    """Everything that is not on a data sheet or in a model's configuration.

    Attributes
    ----------
    norm
        Exponent q that joins memory and compute time of a matrix product,
        ``(m**q + c**q)**(1/q)``: 1 adds them, infinity takes the larger. Source: operators.
    layer_overhead_s
        Kernel starts and small kernels per layer. Source: end-to-end, weakly identified.
    moe_layer_overhead_s
        Routing and permutation per layer with experts. Source: end-to-end.
    sequence_overhead_s
        Sampling and bookkeeping per sequence and step. Source: end-to-end.
    elementwise_bytes_per_hidden
        Bytes moved per token and hidden unit by norms, rotations and residuals: ten passes of two
        bytes and some more. Source: operators, end-to-end.
    expert_bandwidth_share
        Bandwidth while reading experts over that of dense weights. Source: operators.
    routing_exponent
        n tokens touch as many experts as ``n**routing_exponent`` tokens that choose at random
        would: routers prefer some experts. 1 is uniform routing. Source: end-to-end.
    expert_padding_rows
        Rows of padding per expert touched: half a tile of about
        64. Source: operators, end-to-end.
    expert_fp8_flops_share
        FLOP rate of fp8 experts over that of bf16 experts on GPUs with fp8 units. The operator
        tables give 0.17 to 0.28 of the fp8 peak. Source: operators.
    weight_only_flops_share
        FLOP rate where weights are stored in a format the GPU has no units for, over its bf16
        rate: unpacking costs. Source: published statements that fp8 on A100 is slower at
        saturation than bf16; value estimated.
    window_bytes_factor
        Cost of attention over a sliding window over that of its bytes. Source: operators.
    hop_latency_s
        Fixed time to pass activations to the next stage over the network. Estimated.
    hop_bytes_per_s
        Network bandwidth between nodes: 25 Gbit/s. Estimated, usual for cloud nodes with small
        GPUs.
    request_overhead_s
        HTTP, tokenizer and first scheduling of a request. Source: end-to-end.
    memory_utilization
        vLLM's ``--gpu-memory-utilization``.
    runtime_bytes
        CUDA graphs, NCCL and workspace per GPU. Source: end-to-end KV sizes.
    kv_spread_sigmas
        Standard deviations of the KV demand of all running sequences that are kept free, so that
        preemption is rare: 2.33 leaves 1 %. By construction.
    nvlink_hopper, nvlink, pcie
        All-reduce times by link.
    """

    norm: float = 2.0
    layer_overhead_s: float = 56e-6
    moe_layer_overhead_s: float = 9.4e-6
    sequence_overhead_s: float = 7.7e-6
    elementwise_bytes_per_hidden: float = 28.0
    expert_bandwidth_share: float = 0.90
    routing_exponent: float = 0.68
    expert_padding_rows: float = 33.0
    expert_fp8_flops_share: float = 1.0
    weight_only_flops_share: float = 0.85
    window_bytes_factor: float = 2.7
    hop_latency_s: float = 60e-6
    hop_bytes_per_s: float = 3.1e9
    request_overhead_s: float = 0.025
    memory_utilization: float = 0.9
    runtime_bytes: float = 0.7e9
    kv_spread_sigmas: float = 2.33
    nvlink_hopper: AllReduceEfficiency = field(
        default=AllReduceEfficiency(
            latency_s=(6.6e-6, 7.6e-6, 9.3e-6),
            bandwidth_share=(0.42, 0.345, 0.365),  # 189, 155, 164 of 450 GB/s
            source="operators, vLLM custom all-reduce on H100 and H200; end-to-end",
        )
    )
    nvlink: AllReduceEfficiency = field(
        default=AllReduceEfficiency(
            latency_s=(6.5e-6, 7.5e-6, 9.1e-6),
            bandwidth_share=(0.44, 0.303, 0.263),  # 132, 91, 79 of 300 GB/s
            source="operators, vLLM custom all-reduce on A100",
        )
    )
    pcie: AllReduceEfficiency = field(
        default=AllReduceEfficiency(
            latency_s=(15e-6, 25e-6, 40e-6),
            bandwidth_share=(0.30, 0.27, 0.22),
            source="between published L40S throughput (TP4 0.37, TP8 0.28 of 32 GB/s) and layers "
            "(L4 TP2 0.14 of 32 GB/s; T4 TP2 0.34, TP4 0.17 of 16 GB/s); latencies estimated",
        )
    )


DEFAULT_PARAMETERS = PerformanceParameters()


def family_of(gpu: GpuType) -> str:
    """Return the GPU family that efficiencies are kept by: the first word of the name."""
    return gpu.name.split("-", maxsplit=1)[0]


def efficiency_of(gpu: GpuType) -> GpuEfficiency:
    """Return the measured efficiencies of a GPU type, or the default where there are none."""
    return EFFICIENCY_BY_FAMILY.get(family_of(gpu), DEFAULT_EFFICIENCY)
