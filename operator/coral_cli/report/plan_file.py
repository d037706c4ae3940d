"""Plan documents from a file, as far as a report reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeFloat, ValidationError

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import SolveStatus
from coral_solver.report.document import DOCUMENT_VERSION

if TYPE_CHECKING:
    from coral_solver.domain.plan import PlanningProblem


class _Part(BaseModel):
    """Keys are only ever added to a plan document: those that a report does not know stay."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Level(_Part):
    level: str
    sense: Literal["min", "max"]
    value: FiniteFloat
    bound: FiniteFloat | None
    gap: NonNegativeFloat | None


class _Slice(_Part):
    pool: str
    node: str | None
    gpu: str
    gpus: int


class _Instance(_Part):
    model: str
    phase: Literal["WHOLE", "PREFILL", "DECODE"]
    template: str
    pool: str
    nodes: list[str | None]
    slices: list[_Slice]
    gpus: int
    tensor_parallel: int | None
    pipeline_parallel: int
    layers_per_stage: list[int]
    capacity_req_per_s: NonNegativeFloat
    error_share: NonNegativeFloat | None
    usd_per_hour: NonNegativeFloat
    ttft_s: NonNegativeFloat
    tpot_s: NonNegativeFloat
    ttft_margin: FiniteFloat | None
    tpot_margin: FiniteFloat | None
    prediction_source: str


class _Model(_Part):
    model: str
    demand_req_per_s: NonNegativeFloat
    capacity_req_per_s: NonNegativeFloat
    unmet_req_per_s: NonNegativeFloat
    usd_per_hour: NonNegativeFloat
    reason: str
    message: str


class _Peer(_Part):
    status: SolveStatus
    cost_usd_per_hour: NonNegativeFloat
    rent_usd_per_hour: NonNegativeFloat
    unmet_req_per_s: dict[str, NonNegativeFloat]


class _Document(_Part):
    version: int
    status: SolveStatus
    cost_usd_per_hour: NonNegativeFloat
    rent_usd_per_hour: NonNegativeFloat
    switching_usd_per_hour: NonNegativeFloat
    objective: list[_Level]
    bound_scope: str
    solve_s: NonNegativeFloat
    templates_s: NonNegativeFloat
    instances: list[_Instance]
    models: list[_Model]
    unmet_req_per_s: dict[str, NonNegativeFloat]
    opened_nodes: dict[str, int]
    baselines: dict[str, _Peer]
    robustness: NonNegativeFloat = 0.0
    without_margin: _Peer | None = None


def read_plan_document(path: Path, problem: PlanningProblem) -> dict[str, Any]:
    """Read what ``coral plan -o json`` wrote for a problem.

    Parameters
    ----------
    path
        The file.
    problem
        What it should be a plan for.

    Returns
    -------
    dict
        As ``plan_document`` makes it.

    Raises
    ------
    InvalidInputError
        If the file is no plan document, or one for other models or pools; with every problem.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise InvalidInputError([f"{path}: is no plan: {fault}"]) from fault
    try:
        document = _Document.model_validate(raw)
    except ValidationError as fault:
        raise InvalidInputError(
            [
                f"{path}: {'.'.join(map(str, error['loc'])) or 'plan'}: {error['msg']}; "
                "write it with `coral plan -o json` of this version"
                for error in fault.errors()
            ]
        ) from fault
    problems = []
    if document.version != DOCUMENT_VERSION:
        problems.append(f"its version is {document.version}, this is for {DOCUMENT_VERSION}")
    planned = {model.model for model in document.models}
    wanted = {model.id for model in problem.models}
    runs = {instance.model for instance in document.instances}
    used = {piece.pool for instance in document.instances for piece in instance.slices}
    problems += [f"it has no model {name!r}" for name in sorted(wanted - planned)]
    problems += [f"the files have no model {name!r}" for name in sorted((planned | runs) - wanted)]
    pools = {pool.name for pool in problem.pools}
    problems += [f"there is no pool {name!r}" for name in sorted(used - pools)]
    if problems:
        raise InvalidInputError(
            [f"{path}: is not a plan for these files: {problem}" for problem in problems]
        )
    return document.model_dump(mode="json")
