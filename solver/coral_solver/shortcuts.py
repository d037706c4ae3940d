"""One call for what most programs want: a plan, or a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.plan import PlanningProblem, Policy
from coral_solver.performance.closed_loop import predict_closed_loop
from coral_solver.planning.planner import Planner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coral_solver.domain.hardware import GpuPool, GpuType, Precision
    from coral_solver.domain.plan import ServingInstance
    from coral_solver.domain.workload import ModelArch, ServedModel
    from coral_solver.performance.closed_loop import ClosedLoopPrediction
    from coral_solver.planning.planner import PlanningOptions, PlanningResult


def plan(
    models: Iterable[ServedModel],
    pools: Iterable[GpuPool],
    *,
    policy: Policy | None = None,
    in_force: Iterable[ServingInstance] = (),
    options: PlanningOptions | None = None,
) -> PlanningResult:
    """Decide what runs where, for all models together.

    Keep a ``Planner`` instead where several problems are planned one after the other: it remembers
    the templates.

    Parameters
    ----------
    models
        What to serve, in any order.
    pools
        The GPUs, in any order.
    policy
        What concerns all models together; its defaults if None.
    in_force
        Instances that run now: keeping one costs nothing, starting another one is charged.
    options
        How to plan; the operator's defaults if None.

    Returns
    -------
    PlanningResult
        There is always a plan: what cannot be served is stated in its outcomes.

    Raises
    ------
    InvalidInputError
        If a number or an id cannot mean anything; every problem found is named.
    """
    problem = PlanningProblem(
        models=tuple(sorted(models, key=lambda model: model.id)),
        pools=tuple(sorted(pools, key=lambda pool: pool.key)),
        policy=policy or Policy(),
        in_force=tuple(in_force),
    )
    return Planner(options).plan(problem)


def predict(
    model: str | ModelArch,
    gpu: str | GpuType,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    precision: Precision | None = None,
    input_tokens: float = 1024,
    output_tokens: float = 128,
    concurrency: float = 16,
) -> ClosedLoopPrediction:
    """Predict what a benchmark of one vLLM deployment would show.

    Parameters
    ----------
    model, gpu
        By name, as ``model_arch`` and ``gpu_type`` know them, or as they return them.
    tensor_parallel, pipeline_parallel
        Sizes of the two kinds of parallelism.
    precision
        Format of the weights; the published one if None.
    input_tokens, output_tokens
        Mean lengths of a request.
    concurrency
        Requests in flight; infinity: 1,000 requests sent at once.

    Returns
    -------
    ClosedLoopPrediction
        With a reason in ``status`` instead of figures where vLLM would not start.

    Raises
    ------
    CatalogError
        If a name is not known; says which names are near.
    """
    arch = model_arch(model) if isinstance(model, str) else model
    return predict_closed_loop(
        arch,
        gpu_type(gpu) if isinstance(gpu, str) else gpu,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        precision=precision or arch.native_precision,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        concurrency=concurrency,
    )
