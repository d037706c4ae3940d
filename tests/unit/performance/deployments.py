"""Support: models with traffic, and a placement at its best operating point, ready to simulate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from event_simulation import Engine, Outcome, arrivals, engine, outcome, simulate

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.hardware import NodeConfig, Precision
from coral_solver.domain.workload import (
    LengthDistribution,
    Phase,
    ServedModel,
    Slo,
    Workload,
)
from coral_solver.performance import memory
from coral_solver.performance.capacity import (
    engine_settings_at,
    joint_capacity,
    joint_tables,
    prediction_at,
)
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.steps import StepModel, step_model
from coral_solver.performance.tables import JointTables, role_of

if TYPE_CHECKING:
    from coral_solver.domain.template import EngineSettings, Prediction


def served(
    name: str,
    *,
    ttft_s: float,
    tpot_s: float,
    input_tokens: float,
    output_tokens: float,
    precision: Precision | None = None,
    burstiness: float = 1.0,
    cv: float = 1.0,
    attainment: float = 0.95,
    max_model_len_tokens: int | None = None,
) -> ServedModel:
    arch = model_arch(name)
    return ServedModel(
        id=f"test/{name}",
        arch=arch,
        precision=precision or arch.native_precision,
        slo=Slo(ttft_s=ttft_s, tpot_s=tpot_s, attainment=attainment),
        workload=Workload(
            input_tokens=LengthDistribution.from_mean(input_tokens, cv=cv),
            output_tokens=LengthDistribution.from_mean(output_tokens, cv=cv),
            burstiness=burstiness,
        ),
        demand_req_per_s=1.0,
        max_model_len_tokens=max_model_len_tokens,
    )


def config(gpu: str, gpu_count: int) -> NodeConfig:
    return NodeConfig(gpu, gpu_count, gpu_type(gpu).link)


@dataclass(frozen=True)
class Deployment:
    """A placement at its best point."""

    model: ServedModel
    phase: Phase
    tables: JointTables
    point: int
    stages: int
    tau_s: float
    stretch: float
    capacity_req_per_s: float
    settings: EngineSettings
    prediction: Prediction
    engine: Engine

    def simulated(
        self, load: float, *, requests: int = 2500, seeds: tuple[int, ...] = (1, 2)
    ) -> Outcome:
        """Run the event simulation at a multiple of the capacity; mean outcome over seeds."""
        rate = load * self.capacity_req_per_s
        return simulated(self.model, self.engine, rate, requests=requests, seeds=seeds)


def simulated(
    model: ServedModel, setup: Engine, rate: float, *, requests: int, seeds: tuple[int, ...]
) -> Outcome:
    results = []
    for seed in seeds:
        drawn = arrivals(
            rate,
            requests,
            input_points=model.workload.input_tokens.points_tokens,
            output_points=model.workload.output_tokens.points_tokens,
            burstiness=model.workload.burstiness,
            seed=seed,
        )
        simulate(setup, drawn)
        results.append(
            outcome(
                drawn,
                ttft_s=model.slo.ttft_s - DEFAULT_PARAMETERS.request_overhead_s,
                tpot_s=model.slo.tpot_s,
                phase=setup.phase,
            )
        )
    return Outcome(*np.mean([list(vars_of(r)) for r in results], axis=0).tolist())


def vars_of(result: Outcome) -> tuple[float, ...]:
    return tuple(getattr(result, name) for name in result.__slots__)


def kv_limit_tokens(
    model: ServedModel,
    models: list[StepModel],
    gpus: list[str],
    layers: list[int],
    *,
    tensor_parallel: int,
    budget_tokens: int,
    max_num_seqs: int,
) -> float:
    """KV cache of the fullest stage in tokens, from the memory formulas alone."""
    limits = []
    for s, (steps, gpu, j) in enumerate(zip(models, gpus, layers, strict=True)):
        role = role_of(s, len(layers))
        free = 0.9 * gpu_type(gpu).memory_gib * 2**30 - DEFAULT_PARAMETERS.runtime_bytes
        free -= budget_tokens * memory.activation_bytes_per_token(model.arch, tensor_parallel)
        free -= memory.role_weight_bytes(model.arch, role, tensor_parallel)
        free -= j * memory.layer_weight_bytes(model.arch, model.precision, tensor_parallel)
        free -= max_num_seqs * model.arch.vocab_size * 4
        growing = 1 - memory.sliding_share(model.arch)
        limits.append(free / (j * steps.kv_bytes_per_token * growing))
    return min(limits)


def deploy(
    model: ServedModel,
    phase: Phase,
    gpus: list[str],
    tensor_parallel: int,
    layers: list[int] | None = None,
    *,
    others: tuple[str, ...] = (),
) -> Deployment | None:
    """Place a model on one stage per GPU name; None if no point carries anything.

    ``others`` are further GPU types that the tables are built with and the placement ignores.
    """
    stages = len(gpus)
    arch = model.arch
    layers = layers or [arch.layers // stages + (s < arch.layers % stages) for s in range(stages)]
    names = sorted({*gpus, *others})
    tables = joint_tables(model, phase, [config(g, tensor_parallel) for g in names], stages)
    best = (0.0, -1, 0.0, 0.0)
    index = [names.index(g) for g in gpus]
    roles = [role_of(s, stages) for s in range(stages)]
    at = stages - 1
    for p in range(len(tables.point_params)):
        placed = list(zip(layers, roles, index, strict=True))
        if any(j > tables.max_layers[at, p, r, c] for j, r, c in placed):
            continue
        tau_s = max(
            j * tables.layer_s[at, p, c] + tables.extra_s[at, p, r, c] for j, r, c in placed
        )
        stretch = max(tables.stretch[at, p, r, c] for _, r, c in placed)
        row = tables.point_params[p]
        rate = joint_capacity(stages, row, tables.request_params, tau_s, stretch)
        best = max(best, (rate, p, tau_s, stretch))
    rate, point, tau_s, stretch = best
    if point < 0:
        return None
    settings = engine_settings_at(model, phase, tables, point, layers)
    models = [
        step_model(arch, gpu_type(g), precision=model.precision, tensor_parallel=tensor_parallel)
        for g in gpus
    ]
    limit = kv_limit_tokens(
        model,
        models,
        gpus,
        layers,
        tensor_parallel=tensor_parallel,
        budget_tokens=settings.max_num_batched_tokens,
        max_num_seqs=settings.max_num_seqs,
    )
    return Deployment(
        model=model,
        phase=phase,
        tables=tables,
        point=point,
        stages=stages,
        tau_s=tau_s,
        stretch=stretch,
        capacity_req_per_s=rate,
        settings=settings,
        prediction=prediction_at(tables, point, stages, tau_s, stretch),
        engine=engine(
            models,
            layers,
            max_num_seqs=settings.max_num_seqs,
            budget_tokens=settings.max_num_batched_tokens,
            kv_limit_tokens=limit,
            phase=phase,
        ),
    )
