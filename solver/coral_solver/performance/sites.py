"""How fast a site's GPUs are beside the prediction."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.catalog import model_arch
from coral_solver.performance.evidence import error_share, uncertainty
from coral_solver.performance.measured import MeasuredCase, check_points
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.sheets import sheet_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coral_solver.domain.hardware import GpuType
    from coral_solver.domain.profile import MeasuredPoint
    from coral_solver.domain.workload import ModelArch

SITE_WIDTH = 0.25
"""80 % half width of log site factor before any measurement: clocks and power limits alone shift
compute by a third."""


class SiteFactor(NamedTuple):
    """Speed of a site, from measured points.

    Attributes
    ----------
    factor
        Measured over predicted speed.
    error_share
        Half width of its 80 % bar as a share of it.
    num_points
        Points that it rests on.
    """

    factor: float
    error_share: float
    num_points: int


def site_factor(
    points: Sequence[MeasuredPoint],
    gpu: str,
    *,
    archs: Mapping[str, ModelArch] | None = None,
    gpu_types: Mapping[str, GpuType] | None = None,
) -> SiteFactor:
    """Estimate how fast a site's GPUs are beside the prediction, from points of any models.

    The median over deployments, so that one odd model does not decide, drawn towards 1 by the
    error that the predictions have anyway.

    Parameters
    ----------
    points
        Measured points; those on ``gpu`` are used.
    gpu
        Name of the GPU type.
    archs
        Architectures by name, for models that the catalogue does not know.
    gpu_types
        Data sheets by name; None: the catalogue's.

    Raises
    ------
    InvalidInputError
        As ``corrections``.
    """
    here = [p for p in points if p.gpu == gpu]
    check_points(here)
    sheet = sheet_of(gpu, gpu_types)
    by_deployment: dict[object, list[float]] = {}
    widths: dict[object, float] = {}
    for point in here:
        arch = (archs or {}).get(point.model) or model_arch(point.model)
        deployment = point.deployment
        case = MeasuredCase(point, arch, sheet, DEFAULT_PARAMETERS)
        logs = case.residuals(0.0, 0.0)
        # Speed is what TPOT or throughput show; TTFT alone only where there is nothing else.
        log, _ = min(zip(logs, case.noises(), strict=True), key=lambda pair: pair[1])
        by_deployment.setdefault(deployment, []).append(log)
        widths[deployment] = uncertainty(
            arch, point.precision, sheet, point.tensor_parallel, point.pipeline_parallel
        ).width
    if not by_deployment:
        return SiteFactor(1.0, error_share(SITE_WIDTH), 0)
    log = median(median(logs) for logs in by_deployment.values())
    noise = median(widths.values()) / math.sqrt(len(by_deployment))
    weight = SITE_WIDTH**2 / (SITE_WIDTH**2 + noise**2)
    return SiteFactor(
        math.exp(weight * log), error_share(SITE_WIDTH * math.sqrt(1 - weight)), len(here)
    )
