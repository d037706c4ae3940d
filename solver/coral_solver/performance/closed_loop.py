"""Prediction of one vLLM deployment under a closed-loop benchmark, for people and for checks.

Formulas with their names: docs/model-performance.md, "Closed loop".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from coral_solver.performance import memory
from coral_solver.performance.evidence import evidence
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.scheduler import simulate_clients
from coral_solver.performance.steps import StepLoad, step_model
from coral_solver.performance.tables import role_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.domain.hardware import GpuType, Link, Precision
    from coral_solver.domain.workload import ModelArch
    from coral_solver.performance.evidence import Correction
    from coral_solver.performance.parameters import PerformanceParameters
    from coral_solver.performance.steps import StepModel

    Array = NDArray[np.float64]

BURST_REQUESTS = 1000
"""Requests of a burst, which an infinite concurrency stands for."""
ROUNDS = 10
"""Requests per client: the habit of published vLLM benchmarks."""
LENGTH_SPREAD = 0.02
"""Lengths are spread evenly within this share around the mean."""
SMALLEST_LARGE_GPU_GIB = 70.0
GPUS_PER_NODE = 8
SEED = 20230501
OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoopPrediction:
    """What a benchmark of a deployment would show.

    Attributes
    ----------
    ttft_ms, tpot_ms
        Mean time to the first token, and per output token after it.
    output_tokens_per_s, requests_per_s
        Throughput of the whole deployment.
    running_share
        Share of the clients whose requests fit into the KV cache and the engine's limits together.
    error_share
        Half width of the 80 % error bar of TPOT and throughput, as a share.
    rests_on
        Nearest evidence that the bar is for.
    status
        ``ok``, or a CamelCase word for why there is no prediction; the figures are then NaN.
    message
        One sentence for people; empty if ``ok``.
    """

    ttft_ms: float
    tpot_ms: float
    output_tokens_per_s: float
    requests_per_s: float
    running_share: float
    error_share: float
    rests_on: str
    status: str
    message: str = ""


def predict_closed_loop(
    arch: ModelArch,
    gpu: GpuType,
    *,
    tensor_parallel: int,
    pipeline_parallel: int = 1,
    precision: Precision,
    input_tokens: float,
    output_tokens: float,
    concurrency: float,
    link: Link | None = None,
    max_num_seqs: int | None = None,
    max_num_batched_tokens: int | None = None,
    num_requests: int | None = None,
    parameters: PerformanceParameters = DEFAULT_PARAMETERS,
    correction: Correction | None = None,
) -> ClosedLoopPrediction:
    """Predict latencies and throughput of aggregated vLLM serving with vLLM's defaults.

    Parameters
    ----------
    arch, gpu, precision
        Model, GPU type, format of the weights.
    tensor_parallel, pipeline_parallel
        Sizes of the two kinds of parallelism; the layers are split evenly.
    input_tokens, output_tokens
        Mean lengths.
    concurrency
        Clients that each send the next request when the last one is answered; infinity means that
        all requests are sent at once.
    link
        Link between the GPUs; None: the usual one of the GPU type.
    max_num_seqs, max_num_batched_tokens
        Engine settings; None: vLLM's default on this GPU.
    num_requests
        Requests of the whole benchmark; None: ten for each client, 1,000 in a burst.
    parameters
        Values of the performance model.
    correction
        What measured points say of this deployment (``anchors.Corrections.of``); None: the error
        bar of the model as it is.

    Returns
    -------
    ClosedLoopPrediction
        With a reason in ``status`` instead of figures where vLLM would not start.
    """
    budget, seqs = default_engine_limits(gpu)
    budget = max_num_batched_tokens or budget
    seqs = max_num_seqs or seqs
    problem = _problem(
        arch, gpu, precision, tensor_parallel, pipeline_parallel, input_tokens, output_tokens
    )
    if problem is None and not concurrency > 0:
        problem = ("InvalidConcurrency", f"concurrency must be positive, got {concurrency}")
    if problem is not None:
        return _refused(*problem)
    if correction is None:
        correction = evidence(arch, precision, gpu, tensor_parallel, pipeline_parallel)
    if tensor_parallel * pipeline_parallel <= GPUS_PER_NODE:
        parameters = replace(
            parameters, hop_bytes_per_s=gpu.link_bytes_per_s.get(link or gpu.link, 32e9)
        )
    steps = step_model(
        arch,
        gpu,
        precision=precision,
        tensor_parallel=tensor_parallel,
        link=link,
        parameters=parameters,
        correction=correction,
    )
    layers = default_partition(arch.layers, pipeline_parallel)
    kv_tokens = min(
        _kv_tokens(steps, gpu, precision, tensor_parallel, s, layers, budget, seqs)
        for s in range(pipeline_parallel)
    )
    longest = (1 + LENGTH_SPREAD) * (input_tokens + output_tokens)
    if kv_tokens < longest:
        return _refused(
            "DoesNotFit",
            f"{arch.name} in {precision.value} leaves room for {max(kv_tokens, 0):.0f} tokens of "
            f"KV cache on {tensor_parallel * pipeline_parallel} x {gpu.name}; a request needs "
            f"{longest:.0f}",
        )
    if math.isinf(concurrency):
        count = num_requests or BURST_REQUESTS
        clients = count
    else:
        clients = max(1, round(concurrency))
        count = num_requests or clients * ROUNDS
    inputs, outputs = _lengths(count, input_tokens, output_tokens)
    by_tokens, by_sampled, decode_s, prompt_s = _tables(steps, layers, budget, seqs)
    ttft_s, tpot_s, duration_s = simulate_clients(
        by_tokens,
        by_sampled,
        decode_s,
        prompt_s,
        float(arch.sliding_window_tokens),
        memory.sliding_share(arch),
        parameters.window_bytes_factor,
        clients,
        inputs,
        outputs,
        seqs,
        budget,
        kv_tokens,
    )
    waves = count / clients
    mean_held = input_tokens + output_tokens / 2
    duration_s += parameters.request_overhead_s * waves
    return ClosedLoopPrediction(
        ttft_ms=(ttft_s + parameters.request_overhead_s) * 1e3,
        tpot_ms=tpot_s * 1e3,
        output_tokens_per_s=float(outputs.sum()) / duration_s,
        requests_per_s=count / duration_s,
        running_share=min(1.0, min(seqs, kv_tokens / mean_held) / clients),
        error_share=correction.error_share,
        rests_on=correction.rests_on,
        status=OK,
    )


def default_engine_limits(gpu: GpuType) -> tuple[int, int]:
    """Return vLLM's default token budget and most sequences of an API server on a GPU.

    vLLM 0.32 takes the larger values on GPUs with at least 70 GiB other than the A100.
    """
    large = gpu.memory_gib >= SMALLEST_LARGE_GPU_GIB and not gpu.name.startswith("A100")
    return (8192, 1024) if large else (2048, 256)


def default_partition(layers: int, stages: int) -> list[int]:
    """Return vLLM's default layers per stage: what is left goes to late stages, not the last."""
    partition = [layers // stages] * stages
    for i in range(2, layers % stages + 2):
        partition[-i] += 1
    return partition


def _problem(
    arch: ModelArch,
    gpu: GpuType,
    precision: Precision,
    tensor_parallel: int,
    pipeline_parallel: int,
    input_tokens: float,
    output_tokens: float,
) -> tuple[str, str] | None:
    """Return reason and message of why vLLM would refuse the case, or None."""
    if not (input_tokens >= 1 and output_tokens >= 1):
        return "InvalidLengths", "input_tokens and output_tokens must be at least 1"
    if input_tokens + output_tokens > arch.max_context_tokens:
        return (
            "ContextTooLong",
            f"{input_tokens:.0f} + {output_tokens:.0f} tokens exceed the context of {arch.name}, "
            f"{arch.max_context_tokens} tokens",
        )
    shape = memory.shape_problem(arch, precision, tensor_parallel)
    if shape is not None:
        return "IllegalTensorParallel", shape
    if not 1 <= pipeline_parallel <= arch.layers:
        return (
            "IllegalPipelineParallel",
            f"pipeline parallel size {pipeline_parallel} is not within 1 and {arch.layers} layers",
        )
    unsupported = memory.precision_problem(arch, precision, gpu)
    if unsupported is not None:
        return "UnsupportedPrecision", unsupported
    return None


def _refused(reason: str, message: str) -> ClosedLoopPrediction:
    return ClosedLoopPrediction(
        ttft_ms=math.nan,
        tpot_ms=math.nan,
        output_tokens_per_s=math.nan,
        requests_per_s=math.nan,
        running_share=math.nan,
        error_share=math.nan,
        rests_on="",
        status=reason,
        message=message,
    )


def _kv_tokens(
    steps: StepModel,
    gpu: GpuType,
    precision: Precision,
    tensor_parallel: int,
    stage: int,
    layers: list[int],
    budget: int,
    seqs: int,
) -> float:
    """Return the tokens that the KV cache of a stage holds; negative if the weights do not fit."""
    arch, parameters = steps.arch, steps.parameters
    role = role_of(stage, len(layers))
    free = gpu.memory_gib * memory.GIB * parameters.memory_utilization
    free -= parameters.runtime_bytes
    free -= budget * memory.activation_bytes_per_token(arch, tensor_parallel)
    free -= memory.role_weight_bytes(arch, role, tensor_parallel)
    free -= layers[stage] * memory.layer_weight_bytes(arch, precision, tensor_parallel)
    growing = layers[stage] * max(1.0 - memory.sliding_share(arch), 1.0 / arch.layers)
    return free / (growing * steps.kv_bytes_per_token)


def _lengths(
    count: int, input_tokens: float, output_tokens: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lengths of the requests, spread around their means; always the same ones."""
    rng = np.random.default_rng(SEED)
    spread = rng.uniform(1 - LENGTH_SPREAD, 1 + LENGTH_SPREAD, (2, count))
    lengths = np.maximum(1, np.rint(spread * [[input_tokens], [output_tokens]])).astype(np.int64)
    return lengths[0].copy(), lengths[1].copy()


def _tables(
    steps: StepModel, layers: list[int], budget: int, seqs: int
) -> tuple[Array, Array, Array, Array]:
    """Return step times of the stages as ``simulate_clients`` takes them."""
    tokens = np.arange(max(budget, seqs) + 1, dtype=np.float64)
    sampled = np.arange(2 * seqs + 1, dtype=np.float64)
    plain = StepLoad(tokens, 0.0, 0.0, 0.0, 0.0)
    empty = StepLoad(np.ones_like(sampled), 0.0, 0.0, 0.0, sampled)
    layer = steps.layer_s(plain)
    by_tokens, by_sampled = [], []
    for s, j in enumerate(layers):
        role = role_of(s, len(layers))
        moved = steps.extra_s(role, plain)
        with_head = steps.extra_s(role, empty)
        by_tokens.append(j * layer + moved)
        by_sampled.append(with_head - with_head[0])
    counts = np.array(layers, dtype=np.float64)
    decode_s = counts * (steps.kv_bytes_per_token / steps.kv_bytes_per_s)
    prompt_s = counts * (steps.attention_flops_per_pair / steps.attention_flops_per_s)
    return np.stack(by_tokens), np.stack(by_sampled), decode_s, prompt_s
