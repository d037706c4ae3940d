"""The ``paper`` capacity rule: every stage alone, mean lengths, full utilisation.

Source: arXiv 2605.04357, the profiled throughput of a node that holds j layers under a share
1/S of the SLO. Formulas with their names: docs/model-performance.md, "Paper rule".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.domain.hardware import power_of_two_sizes
from coral_solver.domain.workload import Phase
from coral_solver.performance import memory
from coral_solver.performance.anchors import measured_corrections
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.sheets import gpu_of
from coral_solver.performance.steps import StepLoad, StepModel, step_model
from coral_solver.performance.tables import SeparableTables, StageRole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from coral_solver.domain.hardware import GpuType, Link, NodeConfig
    from coral_solver.domain.workload import ServedModel
    from coral_solver.performance.parameters import PerformanceParameters

    Array = NDArray[np.float64]

BATCH_GRID = tuple(sorted({round(2 ** (i / 8)) for i in range(81)}))
"""Batches of decoding sequences, 1 to 1024, about 9 % apart."""
PROMPT_GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
BUDGET_TOKENS = 8192.0
"""Token budget that the working memory is sized for; longer prompts come in chunks."""
ROLES = tuple(StageRole)


def separable_tables(
    model: ServedModel,
    phase: Phase,
    configs: Sequence[NodeConfig],
    max_stages: int,
    *,
    gpu_types: Mapping[str, GpuType] | None = None,
    parameters: PerformanceParameters = DEFAULT_PARAMETERS,
) -> SeparableTables:
    """Tabulate what every node configuration can do as (part of) one stage.

    Inside a node the best split of its GPUs into tensor parallel groups is taken; the groups work
    in data parallel.

    Parameters
    ----------
    model, phase
        What is served; the points that the model carries correct the times, its ``robustness``
        makes them longer.
    configs
        Node configurations, of any GPU counts.
    max_stages
        Longest pipeline, S.
    gpu_types
        Data sheets by name; None: the catalogue's.
    parameters
        Values of the performance model.
    """
    gpus = [gpu_of(config, gpu_types) for config in configs]
    rates = np.zeros((max_stages, len(ROLES), len(configs), model.arch.layers + 1))
    by_group: dict[tuple[str, Link, int], Array] = {}
    for c, (config, gpu) in enumerate(zip(configs, gpus, strict=True)):
        for size in power_of_two_sizes(config.gpu_count):
            key = (config.gpu, config.link, size)
            if key not in by_group:
                by_group[key] = _group_rates(
                    model, phase, gpu, config.link, size, max_stages, parameters, gpu_types
                )
            groups = config.gpu_count // size
            rates[:, :, c] = np.maximum(rates[:, :, c], groups * by_group[key])
    return SeparableTables(
        configs=tuple(configs),
        memory_gib=np.array(
            [c.gpu_count * gpu.memory_gib for c, gpu in zip(configs, gpus, strict=True)]
        ),
        weight_gib=memory.weight_bytes(model.arch, model.precision) / memory.GIB,
        rate_req_per_s=rates,
    )


def _group_rates(
    model: ServedModel,
    phase: Phase,
    gpu: GpuType,
    link: Link,
    tensor_parallel: int,
    max_stages: int,
    parameters: PerformanceParameters,
    gpu_types: Mapping[str, GpuType] | None,
) -> Array:
    """Return the rates of one tensor parallel group: shape (S, 4, L + 1)."""
    arch = model.arch
    rates = np.zeros((max_stages, len(ROLES), arch.layers + 1))
    if (
        memory.shape_problem(arch, model.precision, tensor_parallel) is not None
        or memory.precision_problem(arch, model.precision, gpu) is not None
    ):
        return rates
    measured = measured_corrections(model, gpu_types)
    steps = step_model(
        arch,
        gpu,
        precision=model.precision,
        tensor_parallel=tensor_parallel,
        link=link,
        parameters=parameters,
        correction=measured.of(gpu, tensor_parallel),
    )
    bars = [measured.of(gpu, tensor_parallel, s).error_share for s in range(1, max_stages + 1)]
    # Times are longer by the margin; shape (S, 1, 1).
    slower = 1.0 + model.robustness * np.array(bars)[:, None, None]
    batch = np.array(PROMPT_GRID if phase is Phase.PREFILL else BATCH_GRID, dtype=np.float64)
    mean_load, prompt_load, share, completed = _loads(model, phase, batch)
    layers = np.arange(arch.layers + 1, dtype=np.float64)
    stages = np.arange(1.0, max_stages + 1.0)[:, None, None]
    for r, role in enumerate(ROLES):
        # Shape (B, L + 1).
        typical_s = _time_s(steps, role, mean_load, layers)
        prompt_s = _time_s(steps, role, prompt_load, layers)
        mean_s = typical_s + share[:, None] * (prompt_s - typical_s)
        good = np.ones((max_stages, len(batch), arch.layers + 1), dtype=bool)
        if phase is not Phase.PREFILL:
            good &= mean_s[None] * slower * stages <= model.slo.tpot_s
        if phase is not Phase.DECODE:
            limit_s = model.slo.ttft_s - parameters.request_overhead_s
            good &= prompt_s[None] * slower * stages <= limit_s
        good &= _fits(model, phase, gpu, tensor_parallel, role, batch, stages, layers, parameters)
        rate = np.where(good, (completed[:, None] / mean_s)[None] / slower, 0.0)
        rates[:, r] = rate.max(axis=1)
    rates[:, :, 0] = 0.0
    return rates


def _loads(
    model: ServedModel, phase: Phase, batch: Array
) -> tuple[StepLoad, StepLoad, Array, Array]:
    """Return the step without and with prompts, the share of the latter, requests per step."""
    inputs = model.workload.input_tokens.mean_tokens
    outputs = model.workload.output_tokens.mean_tokens
    if phase is Phase.PREFILL:
        load = StepLoad(0.0, 0.0, batch * inputs, inputs / 2, batch)
        return load, load, np.zeros_like(batch), batch
    idle = StepLoad(batch, inputs + outputs / 2, 0.0, 0.0, batch)
    completed = batch / outputs
    if phase is Phase.DECODE:
        return idle, idle, np.zeros_like(batch), completed
    # Prompts come whole; more than one in a step when more than one request ends per step.
    prompts = np.maximum(1.0, completed)
    loaded = idle._replace(
        prefill_tokens=prompts * inputs,
        prefill_context_tokens=inputs / 2,
        sampled_seqs=batch + prompts,
    )
    return idle, loaded, completed / prompts, completed


def _time_s(steps: StepModel, role: StageRole, load: StepLoad, layers: Array) -> Array:
    """Return step times for every batch and number of layers: shape (B, L + 1)."""
    return np.outer(steps.layer_s(load), layers) + steps.extra_s(role, load)[:, None]


def _fits(
    model: ServedModel,
    phase: Phase,
    gpu: GpuType,
    tensor_parallel: int,
    role: StageRole,
    batch: Array,
    stages: Array,
    layers: Array,
    parameters: PerformanceParameters,
) -> NDArray[np.bool_]:
    """Return whether weights and KV cache of S micro-batches fit: shape (S, B, L + 1)."""
    arch, workload = model.arch, model.workload
    inputs, outputs = workload.input_tokens.mean_tokens, workload.output_tokens.mean_tokens
    context = inputs if phase is Phase.PREFILL else inputs + outputs / 2
    share = memory.sliding_share(arch)
    held = (1 - share) * context + share * min(context, arch.sliding_window_tokens)
    kv = memory.kv_bytes_per_token_and_layer(arch, tensor_parallel, parameters.kv_bytes_per_value)
    kv_bytes = stages * batch[None, :, None] * (held * kv)
    weights = memory.layer_weight_bytes(arch, model.precision, tensor_parallel)
    budget = gpu.memory_gib * memory.GIB * parameters.memory_utilization
    working = memory.activation_bytes_per_token(arch, tensor_parallel) * BUDGET_TOKENS
    fixed = memory.role_weight_bytes(arch, role, tensor_parallel)
    free = budget - parameters.runtime_bytes - working - fixed
    return layers * (weights + kv_bytes) <= free
