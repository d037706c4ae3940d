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
    from coral_solver.domain.workload import ModelArch


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
        Expert matrix products of a mixture of experts, of the bf16 peak, for wide experts.
    source
        What the values rest on.
    expert_half_width
        Width of an expert on one GPU at which it reaches half of ``expert_flops``: narrow ones
        fill the tiles of the kernels badly, ``w / (w + expert_half_width)``.
    pcie
        Bandwidth of an all-reduce over PCIe relative to GPUs that reach each other's memory.
    """

    weights_bandwidth: float
    kv_bandwidth: float
    matrix_flops: float
    matrix_flops_fp8: float
    attention_flops: float
    expert_flops: float
    source: str
    expert_half_width: float = 115.0
    pcie: float = 0.8


_HOPPER = {
    "kv_bandwidth": 0.81,
    "matrix_flops": 0.60,
    "matrix_flops_fp8": 0.70,
    "attention_flops": 0.61,
    "expert_flops": 0.27,
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
    weights_bandwidth=0.81,
    kv_bandwidth=0.77,
    matrix_flops=0.71,
    matrix_flops_fp8=0.71,
    attention_flops=0.53,
    expert_flops=0.31,
    expert_half_width=0.0,
    source="operators of large matrices and batches (0.76, 0.75, 0.87, 0.55), moved towards what "
    "end-to-end points make of H100's (0.89, 0.91, 0.80) and published A100 throughput",
)

EFFICIENCY_BY_FAMILY: Mapping[str, GpuEfficiency] = MappingProxyType(
    {
        "H100": _H100,
        "H200": GpuEfficiency(
            weights_bandwidth=0.91, source="operators and end-to-end points", **_HOPPER
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
            pcie=0.4,
            source="layers: 72 W hold the clock far below that of the data sheet's peak",
        ),
        "T4": replace(
            DEFAULT_EFFICIENCY,
            matrix_flops=0.42,
            attention_flops=0.30,
            expert_flops=0.18,
            pcie=0.6,
            source="layers: 70 W hold the clock far below that of the data sheet's peak",
        ),
        "L40S": replace(
            DEFAULT_EFFICIENCY,
            weights_bandwidth=0.82,
            matrix_flops=0.52,
            pcie=1.0,
            source="operators (0.83 weights, 0.85 KV cache, 0.62 products), lowered as on H100; "
            "fp8 and all-reduce from published throughput",
        ),
        "A10G": replace(
            DEFAULT_EFFICIENCY, pcie=0.4, source="default; all-reduce as L4, no peer access"
        ),
        "V100": replace(DEFAULT_EFFICIENCY, matrix_flops=0.70, source="layers"),
    }
)
"""By the first word of the GPU type's name: ``A100-80GB`` belongs to ``A100``."""


MEASURED_ROUTING: Mapping[str, float] = MappingProxyType({"gpt-oss": 0.66})


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
        would: routers prefer some experts. 1 is uniform routing. For models whose routing was
        not measured; between those that were. Source: operators, end-to-end.
    measured_routing
        The same of models whose routing was measured, by the first words of their names: how
        even a router is comes from its training. Source: end-to-end.
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
    kv_bytes_per_value
        Bytes of one value in the KV cache: 2, or 1 for an engine run with
        ``--kv-cache-dtype fp8``.
    kv_spread_sigmas
        Standard deviations of the KV demand of all running sequences that are kept free, so that
        preemption is rare: 2.33 leaves 1 %. By construction.
    nvlink_hopper, nvlink, pcie
        All-reduce times by link.
    gpu_efficiency
        Reached shares of the peaks by GPU family; ``DEFAULT_EFFICIENCY`` for the others.
    """

    norm: float = 2.0
    layer_overhead_s: float = 57e-6
    moe_layer_overhead_s: float = 9.6e-6
    sequence_overhead_s: float = 9.7e-6
    elementwise_bytes_per_hidden: float = 21.0
    expert_bandwidth_share: float = 0.89
    routing_exponent: float = 0.83
    measured_routing: Mapping[str, float] = field(default_factory=lambda: MEASURED_ROUTING)
    expert_padding_rows: float = 35.0
    expert_fp8_flops_share: float = 1.0
    weight_only_flops_share: float = 0.85
    window_bytes_factor: float = 3.0
    hop_latency_s: float = 60e-6
    hop_bytes_per_s: float = 3.1e9
    request_overhead_s: float = 0.025
    memory_utilization: float = 0.9
    runtime_bytes: float = 0.7e9
    kv_bytes_per_value: float = 2.0
    kv_spread_sigmas: float = 2.33
    nvlink_hopper: AllReduceEfficiency = field(
        default=AllReduceEfficiency(
            latency_s=(6.3e-6, 7.2e-6, 8.8e-6),
            bandwidth_share=(0.49, 0.40, 0.42),  # 220, 179, 189 of 450 GB/s
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
            bandwidth_share=(0.40, 0.37, 0.28),
            source="published L40S throughput (TP4 0.37, TP8 0.28 of 32 GB/s); TP2 and latencies "
            "estimated; slower cards: GpuEfficiency.pcie",
        )
    )
    gpu_efficiency: Mapping[str, GpuEfficiency] = field(
        default_factory=lambda: EFFICIENCY_BY_FAMILY
    )


DEFAULT_PARAMETERS = PerformanceParameters()


def family_of(gpu: GpuType) -> str:
    """Return the GPU family that efficiencies are kept by: the first word of the name."""
    return gpu.name.split("-", maxsplit=1)[0]


def efficiency_of(
    gpu: GpuType, parameters: PerformanceParameters = DEFAULT_PARAMETERS
) -> GpuEfficiency:
    """Return the measured efficiencies of a GPU type, or the default where there are none."""
    return parameters.gpu_efficiency.get(family_of(gpu), DEFAULT_EFFICIENCY)


def routing_exponent_of(arch: ModelArch, parameters: PerformanceParameters) -> float:
    """Return how evenly a model's router spreads tokens over its experts."""
    for name, exponent in parameters.measured_routing.items():
        if arch.name.startswith(name):
            return exponent
    return parameters.routing_exponent
