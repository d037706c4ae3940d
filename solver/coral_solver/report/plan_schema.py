"""What a plan document must have to be read back (docs/reference/plan-json.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
)

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import SolveStatus
from coral_solver.report.document import DOCUMENT_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_FAULTS = 5
"""Faults of a file that are named; a foreign file would have dozens."""


def _none_unless_finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Amount = Annotated[FiniteFloat, Field(ge=0)]
"""A rate, a time or money."""

Proven = Annotated[FiniteFloat | None, BeforeValidator(_none_unless_finite)]
"""A bound or a gap; None where nothing is proven."""


class _Record(BaseModel):
    """Keys may be added within a version: what is not known is left alone.

    A key with a default came later than version 1, or an instance can be compared without it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=False)


class LevelRecord(_Record):
    """A level of the objective."""

    level: str
    sense: Literal["min", "max"]
    value: FiniteFloat
    bound: Proven = None
    gap: Proven = None


class SliceRecord(_Record):
    """GPUs of one node."""

    pool: str
    node: str | None
    gpu: str
    gpus: int = Field(ge=1)


class EngineRecord(_Record):
    """Settings that a prediction assumes."""

    max_model_len_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization: float


class InstanceRecord(_Record):
    """An instance of a plan."""

    name: str
    model: str
    phase: str
    template: str
    pool: str
    nodes: tuple[str | None, ...]
    gpu: str
    gpus: int = Field(ge=1)
    capacity_req_per_s: Amount
    usd_per_hour: Amount
    region: str = ""
    slices: tuple[SliceRecord, ...] = ()
    tensor_parallel: int | None = None
    pipeline_parallel: int = 1
    layers_per_stage: tuple[int, ...] = ()
    engine: EngineRecord | None = None
    ttft_s: Amount = 0.0
    tpot_s: Amount = 0.0
    ttft_margin: FiniteFloat | None = None
    tpot_margin: FiniteFloat | None = None
    prediction_source: str = ""
    error_share: Amount | None = None


class ModelRecord(_Record):
    """What a model gets."""

    model: str
    demand_req_per_s: Amount
    capacity_req_per_s: Amount
    unmet_req_per_s: Amount
    usd_per_hour: Amount
    reason: str
    message: str


class PeerRecord(_Record):
    """Another way to plan."""

    status: SolveStatus
    cost_usd_per_hour: Amount
    unmet_req_per_s: dict[str, Amount]
    rent_usd_per_hour: Amount | None = None


class PlanRecord(_Record):
    """A plan."""

    version: int
    status: SolveStatus
    cost_usd_per_hour: Amount
    rent_usd_per_hour: Amount
    switching_usd_per_hour: Amount
    objective: tuple[LevelRecord, ...]
    bound_scope: str = ""
    solve_s: Amount
    templates_s: Amount
    instances: tuple[InstanceRecord, ...]
    models: tuple[ModelRecord, ...]
    unmet_req_per_s: dict[str, Amount]
    opened_nodes: dict[str, int] = Field(default_factory=dict)
    robustness: Amount = 0.0
    without_margin: PeerRecord | None = None
    baselines: dict[str, PeerRecord]


def version_faults(document: Mapping[str, Any], where: str) -> list[str]:
    """Return what is wrong with the version of a plan document, in words; mostly nothing.

    Parameters
    ----------
    document
        As it was read from JSON or YAML.
    where
        What to call it in a message, for example its path.

    Raises
    ------
    InvalidInputError
        If it is no plan document at all.
    """
    version = document.get("version")
    if version is None or "instances" not in document:
        raise InvalidInputError(
            [f"{where}: this is no plan: `coral plan ... -o json` writes one, as does the operator"]
        )
    if version == DOCUMENT_VERSION:
        return []
    return [
        f"{where}: a plan of version {version!r}, and this Coral reads version "
        f"{DOCUMENT_VERSION}: make it again with `coral plan -o json`"
    ]


def plan_record(document: Mapping[str, Any], where: str) -> PlanRecord:
    """Return a plan document, checked; its version is ``version_faults``' to check.

    Raises
    ------
    InvalidInputError
        If it lacks what a plan has, or a number cannot be.
    """
    try:
        return PlanRecord.model_validate(document)
    except ValidationError as error:
        faults = [
            f"{where}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise InvalidInputError(first_faults(faults, where)) from error


def first_faults(faults: list[str], where: str) -> list[str]:
    """Return the first faults, and how many more there are."""
    more = len(faults) - MOST_FAULTS
    return [*faults[:MOST_FAULTS], *([f"{where}: {more} more faults"] if more > 0 else [])]
