"""Time of one engine step on one pipeline stage, from the shapes of model and GPU.

Formulas with their names: docs/model-performance.md, "Step time".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.domain.hardware import Link, Precision
from coral_solver.performance import memory
from coral_solver.performance.parameters import (
    DEFAULT_PARAMETERS,
    efficiency_of,
    routing_exponent_of,
)
from coral_solver.performance.tables import StageRole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.domain.hardware import GpuType
    from coral_solver.domain.workload import ModelArch
    from coral_solver.performance.evidence import Correction
    from coral_solver.performance.parameters import AllReduceEfficiency, PerformanceParameters

    Array = NDArray[np.float64]

HOPPER_CAPABILITY = (9, 0)
ACTIVATION_BYTES = 2.0
ALL_EXPERTS = 1.0 - 1e-9
"""Largest share of the experts that a token goes to: keeps the logarithm of the rest finite."""


class StepLoad(NamedTuple):
    """What one step works on; numbers or arrays that broadcast together.

    Attributes
    ----------
    decode_seqs
        Sequences that get one token each.
    decode_context_tokens
        Mean number of tokens that they attend to.
    prefill_tokens
        Prompt tokens in the step.
    prefill_context_tokens
        Mean number of tokens that a prompt token attends to.
    sampled_seqs
        Sequences that leave the head with a token: decoding ones and prompts that end.
    """

    decode_seqs: Array | float
    decode_context_tokens: Array | float
    prefill_tokens: Array | float
    prefill_context_tokens: Array | float
    sampled_seqs: Array | float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepModel:
    """Step times of one model in one precision on ``tensor_parallel`` GPUs of one type.

    Build it with ``step_model``. All bytes and FLOPs are per GPU.

    Attributes
    ----------
    attention_bytes, attention_flops_per_token
        Projections of the attention block, per layer.
    dense_bytes, dense_flops_per_token
        Dense feed-forward block, per layer; 0 with experts.
    routing_exponent
        How evenly tokens spread over the experts.
    expert_bytes, expert_flops_per_row
        One expert; 0 without experts.
    matrix_flops_per_s, expert_flops_per_s, head_flops_per_s, attention_flops_per_s
        Reached FLOP rates.
    weights_bytes_per_s, experts_bytes_per_s, kv_bytes_per_s
        Reached bandwidths.
    kv_bytes_per_token
        KV cache of one token in one layer.
    attention_flops_per_pair
        FLOPs of one prompt token attending to one token.
    head_bytes, head_flops_per_seq
        Output head, always in 16 bit.
    all_reduce_latency_s, all_reduce_bytes_per_s
        One all-reduce; 0 and infinity without tensor parallelism.
    """

    arch: ModelArch
    parameters: PerformanceParameters
    attention_bytes: float
    attention_flops_per_token: float
    dense_bytes: float
    dense_flops_per_token: float
    routing_exponent: float
    expert_bytes: float
    expert_flops_per_row: float
    matrix_flops_per_s: float
    expert_flops_per_s: float
    head_flops_per_s: float
    attention_flops_per_s: float
    weights_bytes_per_s: float
    experts_bytes_per_s: float
    kv_bytes_per_s: float
    kv_bytes_per_token: float
    attention_flops_per_pair: float
    head_bytes: float
    head_flops_per_seq: float
    all_reduce_latency_s: float
    all_reduce_bytes_per_s: float

    def layer_s(self, load: StepLoad) -> Array:
        """Return the time of one layer, averaged over windowed and full attention layers.

        Parameters
        ----------
        load
            What the step works on.

        Returns
        -------
        Array
            Seconds, in the broadcast shape of the load.
        """
        arch, parameters = self.arch, self.parameters
        tokens = np.asarray(load.decode_seqs + load.prefill_tokens, dtype=np.float64)
        time = self._matrix_s(
            self.attention_bytes + self.dense_bytes,
            (self.attention_flops_per_token + self.dense_flops_per_token) * tokens,
            self.weights_bytes_per_s,
            self.matrix_flops_per_s,
        )
        if arch.experts:
            time = time + self._experts_s(tokens)
        kv_bytes = load.decode_seqs * self._effective_context(load.decode_context_tokens)
        time = time + kv_bytes * (self.kv_bytes_per_token / self.kv_bytes_per_s)
        pairs = load.prefill_tokens * self._effective_context(load.prefill_context_tokens)
        time = time + pairs * (self.attention_flops_per_pair / self.attention_flops_per_s)
        moved = tokens * (arch.hidden_size * parameters.elementwise_bytes_per_hidden)
        time = time + moved / self.weights_bytes_per_s
        return time + parameters.layer_overhead_s + 2 * self._all_reduce_s(tokens)

    def extra_s(self, role: StageRole, load: StepLoad) -> Array:
        """Return what a stage's role adds to a step: embedding, head and sampling, hop.

        Parameters
        ----------
        role
            First, middle, last or only stage.
        load
            What the step works on.

        Returns
        -------
        Array
            Seconds, in the broadcast shape of the load.
        """
        arch, parameters = self.arch, self.parameters
        tokens = np.asarray(load.decode_seqs + load.prefill_tokens, dtype=np.float64)
        message = tokens * (arch.hidden_size * ACTIVATION_BYTES)
        time = np.zeros_like(tokens)
        if role in (StageRole.FIRST, StageRole.ONLY):
            time = time + 2 * message / self.weights_bytes_per_s + self._all_reduce_s(tokens)
        if role in (StageRole.LAST, StageRole.ONLY):
            sampled = np.asarray(load.sampled_seqs, dtype=np.float64)
            head = self._matrix_s(
                self.head_bytes,
                self.head_flops_per_seq * sampled,
                self.weights_bytes_per_s,
                self.head_flops_per_s,
            )
            gathered = sampled * arch.vocab_size * ACTIVATION_BYTES
            time = time + head + self.all_reduce_latency_s + gathered / self.all_reduce_bytes_per_s
            time = time + sampled * parameters.sequence_overhead_s
        if role in (StageRole.FIRST, StageRole.MIDDLE):
            # vLLM passes on two tensors, the hidden state and the residual.
            time = time + parameters.hop_latency_s + 2 * message / parameters.hop_bytes_per_s
        return time

    def corrected(self, correction: Correction) -> StepModel:
        """Return the same model with longer or shorter times.

        ``compute_time_factor`` is on all that FLOPs take, ``memory_time_factor`` on the rest:
        reading, moving, starting kernels, passing messages.
        """
        compute, rest = correction.compute_time_factor, correction.memory_time_factor
        if compute == 1.0 and rest == 1.0:
            return self
        parameters = self.parameters
        return replace(
            self,
            parameters=replace(
                parameters,
                layer_overhead_s=parameters.layer_overhead_s * rest,
                moe_layer_overhead_s=parameters.moe_layer_overhead_s * rest,
                sequence_overhead_s=parameters.sequence_overhead_s * rest,
                hop_latency_s=parameters.hop_latency_s * rest,
                hop_bytes_per_s=parameters.hop_bytes_per_s / rest,
            ),
            matrix_flops_per_s=self.matrix_flops_per_s / compute,
            expert_flops_per_s=self.expert_flops_per_s / compute,
            head_flops_per_s=self.head_flops_per_s / compute,
            attention_flops_per_s=self.attention_flops_per_s / compute,
            weights_bytes_per_s=self.weights_bytes_per_s / rest,
            experts_bytes_per_s=self.experts_bytes_per_s / rest,
            kv_bytes_per_s=self.kv_bytes_per_s / rest,
            all_reduce_latency_s=self.all_reduce_latency_s * rest,
            all_reduce_bytes_per_s=self.all_reduce_bytes_per_s / rest,
        )

    def _matrix_s(
        self, read_bytes: Array | float, flops: Array, bytes_per_s: float, flops_per_s: float
    ) -> Array:
        q = self.parameters.norm
        read, compute = read_bytes / bytes_per_s, flops / flops_per_s
        if q == 2.0:
            return np.hypot(read, compute)
        return np.asarray((read**q + compute**q) ** (1.0 / q))

    def _experts_s(self, tokens: Array) -> Array:
        arch, parameters = self.arch, self.parameters
        # Every token picks k of E experts. E (1 - (1 - k/E)^n) of them are touched by n
        # independent tokens; popular experts make n tokens count like fewer.
        share = min(arch.experts_per_token / arch.experts, ALL_EXPERTS)
        draws = tokens**self.routing_exponent
        touched = arch.experts * -np.expm1(draws * np.log1p(-share))
        rows = tokens * arch.experts_per_token + parameters.expert_padding_rows * touched
        products = self._matrix_s(
            self.expert_bytes * touched,
            self.expert_flops_per_row * rows,
            self.experts_bytes_per_s,
            self.expert_flops_per_s,
        )
        return products + parameters.moe_layer_overhead_s

    def _effective_context(self, context: Array | float) -> Array:
        context = np.asarray(context, dtype=np.float64)
        share = memory.sliding_share(self.arch)
        if not share:
            return context
        window = np.minimum(context, self.arch.sliding_window_tokens)
        return (1 - share) * context + share * self.parameters.window_bytes_factor * window

    def _all_reduce_s(self, tokens: Array) -> Array:
        message = tokens * (self.arch.hidden_size * ACTIVATION_BYTES)
        return self.all_reduce_latency_s + message / self.all_reduce_bytes_per_s


def step_model(
    arch: ModelArch,
    gpu: GpuType,
    *,
    precision: Precision,
    tensor_parallel: int,
    link: Link | None = None,
    parameters: PerformanceParameters = DEFAULT_PARAMETERS,
    correction: Correction | None = None,
) -> StepModel:
    """Derive the step times of a model on ``tensor_parallel`` GPUs from shapes and data sheet.

    Parameters
    ----------
    arch, gpu, precision
        Model, GPU type and weight format. Whether they fit together is not checked here, see
        ``memory.shape_problem`` and ``memory.precision_problem``.
    tensor_parallel
        GPUs that share every layer.
    link
        Link between them; None: the usual one of the GPU type.
    parameters
        Values of the model.
    correction
        Factors on the times, from measured points; None: 1.
    """
    model = _uncorrected(arch, gpu, precision, tensor_parallel, link or gpu.link, parameters)
    return model if correction is None else model.corrected(correction)


def _uncorrected(
    arch: ModelArch,
    gpu: GpuType,
    precision: Precision,
    tensor_parallel: int,
    link: Link,
    parameters: PerformanceParameters,
) -> StepModel:
    efficiency = efficiency_of(gpu, parameters)
    t, h = tensor_parallel, arch.hidden_size
    half_peak = gpu.flops_per_s.get(Precision.BF16, gpu.flops_per_s[Precision.FP16])
    half_rate = half_peak * efficiency.matrix_flops
    width = memory.expert_width(arch, precision, t) if arch.experts else 0.0
    filled = width / (width + efficiency.expert_half_width) if width else 1.0
    expert_rate = half_peak * efficiency.expert_flops * filled
    matrix_rate = half_rate
    if precision is Precision.FP8:
        if Precision.FP8 in gpu.flops_per_s:
            matrix_rate = gpu.flops_per_s[Precision.FP8] * efficiency.matrix_flops_fp8
            expert_rate *= parameters.expert_fp8_flops_share
        else:
            matrix_rate *= parameters.weight_only_flops_share
            expert_rate *= parameters.weight_only_flops_share
    dense = memory.dense_bytes_per_weight(precision)
    attention = memory.attention_weights(arch, t)
    feed_forward = 0.0 if arch.experts else 3 * h * arch.intermediate_size / t
    expert = 3 * h * width
    weights_bandwidth = gpu.memory_bandwidth_bytes_per_s * efficiency.weights_bandwidth
    latency_s, bytes_per_s = _all_reduce(gpu, link, t, parameters)
    return StepModel(
        arch=arch,
        parameters=parameters,
        attention_bytes=attention * dense,
        attention_flops_per_token=2 * attention,
        dense_bytes=feed_forward * dense,
        dense_flops_per_token=2 * feed_forward,
        routing_exponent=routing_exponent_of(arch, parameters),
        expert_bytes=expert * memory.BYTES_PER_WEIGHT[precision],
        expert_flops_per_row=2 * expert,
        matrix_flops_per_s=matrix_rate,
        expert_flops_per_s=expert_rate,
        head_flops_per_s=half_rate,
        attention_flops_per_s=half_peak * efficiency.attention_flops,
        weights_bytes_per_s=weights_bandwidth,
        experts_bytes_per_s=weights_bandwidth * parameters.expert_bandwidth_share,
        kv_bytes_per_s=gpu.memory_bandwidth_bytes_per_s * efficiency.kv_bandwidth,
        kv_bytes_per_token=memory.kv_bytes_per_token_and_layer(
            arch, t, parameters.kv_bytes_per_value
        ),
        attention_flops_per_pair=4 * arch.attention_heads * arch.head_dim / t,
        head_bytes=arch.vocab_size * h * ACTIVATION_BYTES / t,
        head_flops_per_seq=2 * arch.vocab_size * h / t,
        all_reduce_latency_s=latency_s,
        all_reduce_bytes_per_s=bytes_per_s,
    )


def _all_reduce(
    gpu: GpuType, link: Link, tensor_parallel: int, parameters: PerformanceParameters
) -> tuple[float, float]:
    """Return latency (s) and message bandwidth (bytes/s) of one all-reduce."""
    if tensor_parallel == 1:
        return 0.0, float("inf")
    table: AllReduceEfficiency = parameters.pcie
    if link is Link.NVLINK:
        hopper = gpu.compute_capability >= HOPPER_CAPABILITY
        table = parameters.nvlink_hopper if hopper else parameters.nvlink
    index = 0 if tensor_parallel <= 2 else 1 if tensor_parallel <= 4 else 2
    # A node's label may claim a link that the data sheet does not have.
    link_bytes_per_s = gpu.link_bytes_per_s.get(link, gpu.link_bytes_per_s[gpu.link])
    bandwidth = link_bytes_per_s * table.bandwidth_share[index]
    if table is parameters.pcie:
        bandwidth *= efficiency_of(gpu, parameters).pcie
    return table.latency_s[index], bandwidth
