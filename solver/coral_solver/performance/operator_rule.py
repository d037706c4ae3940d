"""The ``operator`` capacity rule: step times and memory limits at joint operating points.

Formulas with their names: docs/model-performance.md, "Operator rule".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.workload import LENGTH_POINTS, Phase
from coral_solver.performance import kernels, memory
from coral_solver.performance.anchors import measured_corrections
from coral_solver.performance.engine import PREFILL_NUM_SEQS, max_model_len_tokens
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.points import operating_points, point_loads
from coral_solver.performance.sheets import gpu_of
from coral_solver.performance.steps import StepLoad, StepModel, step_model
from coral_solver.performance.tables import JointTables, StageRole
from coral_solver.performance.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from coral_solver.domain.hardware import GpuType, NodeConfig
    from coral_solver.domain.workload import ServedModel
    from coral_solver.performance.evidence import Correction
    from coral_solver.performance.parameters import PerformanceParameters
    from coral_solver.performance.points import PointLoads, Points

    Array = NDArray[np.float64]

PHASE_NUMBERS = {
    Phase.PREFILL: kernels.PHASE_PREFILL,
    Phase.DECODE: kernels.PHASE_DECODE,
    Phase.WHOLE: kernels.PHASE_WHOLE,
}
ROLES = tuple(StageRole)


def joint_tables(
    model: ServedModel,
    phase: Phase,
    configs: Sequence[NodeConfig],
    max_stages: int,
    *,
    gpu_types: Mapping[str, GpuType] | None = None,
    parameters: PerformanceParameters = DEFAULT_PARAMETERS,
) -> JointTables:
    """Tabulate step times and memory limits of pipelines with one tensor parallel size.

    Parameters
    ----------
    model, phase
        What is served; the points that the model carries correct the times, its ``robustness``
        makes them longer.
    configs
        Node configurations, all with the same ``gpu_count``: the tensor parallel size.
    max_stages
        Longest pipeline, S.
    gpu_types
        Data sheets by name; None: the catalogue's.
    parameters
        Values of the performance model.

    Returns
    -------
    JointTables
        P is 0 where no point can meet the SLO on any configuration; ``max_layers`` is 0 where a
        configuration cannot run the model.

    Raises
    ------
    InvalidInputError
        If the configurations differ in ``gpu_count``.
    """
    sizes = {config.gpu_count for config in configs}
    if len(sizes) != 1:
        raise InvalidInputError(
            [f"joint tables need one GPU count per stage, got {sorted(sizes)}"],
            reason="MixedTensorParallel",
        )
    tensor_parallel = sizes.pop()
    gpus = [gpu_of(config, gpu_types) for config in configs]
    traffic = Traffic.of(model)
    points = operating_points(phase, traffic)
    stage_counts = np.arange(1, max_stages + 1, dtype=np.float64)[:, None]
    loads = point_loads(phase, points, stage_counts, traffic)
    measured = measured_corrections(model, gpu_types)
    shape = (max_stages, len(points.seqs), len(configs))
    layer = np.empty(shape)
    extra = np.empty((*shape[:2], len(ROLES), shape[2]))
    stretch = np.empty_like(extra)
    for c, (config, gpu) in enumerate(zip(configs, gpus, strict=True)):
        steps = step_model(
            model.arch,
            gpu,
            precision=model.precision,
            tensor_parallel=tensor_parallel,
            link=config.link,
            parameters=parameters,
        )
        by_stages = [measured.of(gpu, tensor_parallel, s) for s in range(1, max_stages + 1)]
        layer[:, :, c], extra[:, :, :, c], stretch[:, :, :, c] = _corrected_times(
            steps, loads, stage_counts, by_stages, model.robustness
        )
    max_layers = np.zeros(extra.shape, dtype=np.int64)
    for c, gpu in enumerate(gpus):
        if memory.precision_problem(model.arch, model.precision, gpu) is None:
            max_layers[:, :, :, c] = _max_layers(
                model, phase, gpu, tensor_parallel, points, stage_counts, traffic, parameters
            )
    if memory.shape_problem(model.arch, model.precision, tensor_parallel) is not None:
        max_layers[:] = 0
    keep = max_layers.any(axis=(0, 2, 3))
    if phase is not Phase.PREFILL:
        # Even with every layer on the fastest configuration the point must meet the TPOT.
        keep &= (model.arch.layers * layer.min(axis=(0, 2))) <= model.slo.tpot_s
    rows = np.stack(points[:3], axis=1)
    return JointTables(
        configs=tuple(configs),
        memory_gib=np.array([tensor_parallel * gpu.memory_gib for gpu in gpus]),
        weight_gib=memory.weight_bytes(model.arch, model.precision) / memory.GIB,
        layer_s=np.ascontiguousarray(layer[:, keep]),
        extra_s=np.ascontiguousarray(extra[:, keep]),
        stretch=np.ascontiguousarray(stretch[:, keep]),
        max_layers=np.ascontiguousarray(max_layers[:, keep]),
        point_params=np.ascontiguousarray(rows[keep]),
        request_params=_request_params(model, phase, traffic, parameters),
    )


def _corrected_times(
    steps: StepModel,
    loads: PointLoads,
    stage_counts: Array,
    by_stages: Sequence[Correction],
    robustness: float,
) -> tuple[Array, Array, Array]:
    """Return ``_times`` with the correction of each number of stages and a margin on the times.

    The margin is on times and not on rates: the latency targets hold at the lower end as well.
    """
    found: dict[tuple[float, float], tuple[Array, Array, Array]] = {}
    rows = []
    for s, correction in enumerate(by_stages):
        key = (correction.compute_time_factor, correction.memory_time_factor)
        if key not in found:
            found[key] = _times(steps.corrected(correction), loads, stage_counts)
        layer, extra, stretch = (times[s] for times in found[key])
        slower = 1.0 + robustness * correction.error_share
        rows.append((layer * slower, extra * slower, stretch))
    layers, extras, stretches = zip(*rows, strict=True)
    return np.stack(layers), np.stack(extras), np.stack(stretches)


def _times(steps: StepModel, loads: PointLoads, stage_counts: Array) -> tuple[Array, Array, Array]:
    """Return layer_s (S, P), extra_s (S, P, 4) and stretch (S, P, 4) of one configuration."""
    shape = np.broadcast_shapes(stage_counts.shape, loads.loaded_share.shape)

    def times(load: StepLoad) -> tuple[Array, Array]:
        extras = [np.broadcast_to(steps.extra_s(role, load), shape) for role in ROLES]
        return np.broadcast_to(steps.layer_s(load), shape), np.stack(extras, axis=-1)

    (layer_idle, extra_idle), (layer_loaded, extra_loaded) = times(loads.idle), times(loads.loaded)
    layer = layer_idle + loads.loaded_share * (layer_loaded - layer_idle)
    extra = extra_idle + loads.loaded_share[..., None] * (extra_loaded - extra_idle)
    layer_other, extra_other = times(loads.stretched)
    # A ratio of two affine functions of the layers is largest at either end. Stages with less than
    # half of the mean number of layers are left out: they are not the slowest ones.
    fewest = (steps.arch.layers / (2.0 * stage_counts))[..., None]
    at_fewest = (fewest * layer_other[..., None] + extra_other) / (
        fewest * layer[..., None] + extra
    )
    return layer, extra, np.maximum(at_fewest, (layer_other / layer)[..., None])


def _max_layers(
    model: ServedModel,
    phase: Phase,
    gpu: GpuType,
    tensor_parallel: int,
    points: Points,
    stage_counts: Array,
    traffic: Traffic,
    parameters: PerformanceParameters,
) -> NDArray[np.int64]:
    """Return the layers that fit beside the KV cache of all micro-batches: shape (S, P, 4)."""
    arch = model.arch
    longest = max_model_len_tokens(model)
    seqs = stage_counts * points.seqs
    if phase is Phase.PREFILL:
        seqs = stage_counts * np.full_like(points.seqs, PREFILL_NUM_SEQS)
        tokens = stage_counts * points.budget_tokens + longest
    else:
        tokens = seqs * traffic.context_tokens
        tokens = tokens + parameters.kv_spread_sigmas * traffic.context_sigma_tokens * np.sqrt(seqs)
    # vLLM does not start unless one request of the longest length fits.
    tokens = np.maximum(tokens, longest)
    share = memory.sliding_share(arch)
    windows = np.minimum(tokens, seqs * arch.sliding_window_tokens + points.budget_tokens)
    weights = memory.layer_weight_bytes(arch, model.precision, tensor_parallel)
    kv_tokens = (1 - share) * tokens + share * windows
    kv_bytes = memory.kv_bytes_per_token_and_layer(
        arch, tensor_parallel, parameters.kv_bytes_per_value
    )
    per_layer = weights + kv_tokens * kv_bytes
    working = memory.activation_bytes_per_token(arch, tensor_parallel) * points.budget_tokens
    budget = gpu.memory_gib * memory.GIB * parameters.memory_utilization
    free = budget - parameters.runtime_bytes - working
    layers = []
    for role in ROLES:
        rest = free - memory.role_weight_bytes(arch, role, tensor_parallel)
        if role in (StageRole.LAST, StageRole.ONLY):
            rest = rest - seqs * (arch.vocab_size * memory.LOGIT_BYTES)
        layers.append(np.floor(rest / per_layer))
    result = np.clip(np.stack(np.broadcast_arrays(*layers), axis=-1), 0, arch.layers)
    if phase is Phase.DECODE:
        # vLLM takes a KV cache from a prefill instance on a pipeline of one stage only.
        result[1:] = 0
    # vLLM refuses a token budget below the number of sequences.
    result[np.broadcast_to(points.budget_tokens < seqs, result.shape[:2])] = 0
    return np.asarray(result, dtype=np.int64)


def _request_params(
    model: ServedModel, phase: Phase, traffic: Traffic, parameters: PerformanceParameters
) -> Array:
    """Return what the kernels need to know of SLO and workload."""
    workload, slo = model.workload, model.slo
    head = np.zeros(kernels.REQUEST_POINTS)
    head[kernels.REQUEST_PHASE] = PHASE_NUMBERS[phase]
    head[kernels.REQUEST_TTFT] = slo.ttft_s - parameters.request_overhead_s
    head[kernels.REQUEST_TPOT] = slo.tpot_s
    head[kernels.REQUEST_ATTAINMENT] = slo.attainment
    head[kernels.REQUEST_BURSTINESS] = workload.burstiness
    head[kernels.REQUEST_INPUT] = workload.input_tokens.mean_tokens
    head[kernels.REQUEST_INPUT_CV2] = traffic.work_cv2
    head[kernels.REQUEST_OUTPUT] = workload.output_tokens.mean_tokens
    head[kernels.REQUEST_OUTPUT_CV2] = workload.output_tokens.cv2
    head[kernels.REQUEST_NUM_POINTS] = LENGTH_POINTS
    head[kernels.REQUEST_OVERHEAD] = parameters.request_overhead_s
    points = (traffic.work_points_tokens, workload.output_tokens.points_tokens)
    return np.concatenate([head, *points])
