"""Measured points that a plan can be made with: those of deployments that could have run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coral_solver.catalog import gpu_type
from coral_solver.performance.closed_loop import OK, predict_closed_loop

if TYPE_CHECKING:
    from coral_solver.domain.plan import PlanningProblem


def without_unusable_points(
    problem: PlanningProblem,
) -> tuple[PlanningProblem, tuple[str, ...]]:
    """Leave out the points that the performance model cannot say anything about.

    Parameters
    ----------
    problem
        A valid problem.

    Returns
    -------
    tuple of problem and texts
        The problem with the points of its models that can be used, and a sentence for each
        deployment and pair of lengths that was left out: one such must not stop a plan.

    Raises
    ------
    CatalogError
        If a point's GPU type has no data sheet.
    """
    archs = {(model.arch.name, model.precision): model.arch for model in problem.models}
    problems: dict[object, str | None] = {}
    used = []
    for point in problem.profiles:
        arch = archs.get((point.model, point.precision))
        if arch is None:
            continue
        key = (point.deployment, point.input_tokens, point.output_tokens)
        if key not in problems:
            found = predict_closed_loop(
                arch,
                gpu_type(point.gpu),
                tensor_parallel=point.tensor_parallel,
                pipeline_parallel=point.pipeline_parallel,
                precision=point.precision,
                input_tokens=point.input_tokens,
                output_tokens=point.output_tokens,
                concurrency=1,
            )
            problems[key] = None
            if found.status != OK:
                problems[key] = (
                    f"measured points of {point.deployment} are not used: by the performance model"
                    f" it cannot run ({found.message})"
                )
        if problems[key] is None:
            used.append(point)
    texts = tuple(text for text in problems.values() if text is not None)
    return replace(problem, profiles=tuple(used)), texts
