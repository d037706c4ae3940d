"""Anchors: measured points of a deployment correct the predictions for it and for its neighbours.

The logarithms of a deployment's two time factors (``Correction``) are Gaussian with mean 0. Two
deployments of a model share part of their variance, as ``evidence.Uncertainty`` splits it: the
model's part always, the GPU's part on the same GPU type, their own part never. Measured points
are linear in the logarithms near the estimate; what follows is the posterior (Gauss-Newton).
Formulas with their names: docs/model-performance.md, "Anchors".
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.performance.evidence import SIGMAS, Correction, error_share, uncertainty
from coral_solver.performance.measured import MeasuredCase, check_points
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.sheets import sheet_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from coral_solver.domain.hardware import GpuType, Precision
    from coral_solver.domain.profile import MeasuredPoint
    from coral_solver.domain.template import StagePlacement
    from coral_solver.domain.workload import ModelArch, ServedModel
    from coral_solver.performance.evidence import Uncertainty
    from coral_solver.performance.parameters import PerformanceParameters

    Array = NDArray[np.float64]

FACTOR_CORRELATION = 0.5
"""Between the logarithms of a deployment's two factors."""
TPOT_SHARES = np.array([0.35, 0.65])
"""Shares of compute and of all else in a time per token: the mix that an error bar is for."""
INDEPENDENT_POINTS = 4.0
"""Points of one deployment count together as at most about this many: their errors are alike."""
ITERATIONS = 4
STEP = 0.02
LARGEST_LOG = 1.5
"""Largest logarithm of a factor that is tried: 4.5 times."""


class Knot(NamedTuple):
    """A measured deployment."""

    gpu: str
    tensor_parallel: int
    stages: int
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """What measured points say about every deployment of one model in one precision.

    Build it with ``corrections``.

    Attributes
    ----------
    arch, precision
        The model.
    knots
        Measured deployments.
    digest
        Short digest of the points; empty if none concerns the model.
    """

    arch: ModelArch
    precision: Precision
    knots: tuple[Knot, ...] = ()
    digest: str = ""
    _pull: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    _explained: tuple[tuple[float, ...], ...] = field(default=(), repr=False)

    def of(self, gpu: GpuType, tensor_parallel: int, stages: int = 1) -> Correction:
        """Return the correction of one deployment.

        Parameters
        ----------
        gpu, tensor_parallel, stages
            The deployment. The factors hardly depend on ``stages``, the error bar does.
        """
        found = uncertainty(self.arch, self.precision, gpu, tensor_parallel, stages)
        knot = Knot(gpu.name, tensor_parallel, stages, 0)
        if not self.knots:
            return Correction(error_share=error_share(found.width), rests_on=found.rests_on)
        shared = np.array([_shared(found, knot, other) for other in self.knots])
        mean = shared @ np.array(self._pull)
        explained = float(shared @ np.array(self._explained) @ shared)
        own = _variance(found)
        left = math.sqrt(max(0.0, 1.0 - explained / own))
        width = math.hypot(
            found.within, left * found.model, left * found.gpu, left * found.deployment
        )
        return Correction(
            compute_time_factor=math.exp(mean[0]),
            memory_time_factor=math.exp(mean[1]),
            error_share=error_share(width),
            rests_on=_words(self.knots, knot, found),
        )


def corrections(
    points: Iterable[MeasuredPoint],
    arch: ModelArch,
    precision: Precision,
    *,
    gpu_types: Mapping[str, GpuType] | None = None,
    parameters: PerformanceParameters = DEFAULT_PARAMETERS,
) -> Corrections:
    """Derive the corrections of a model from measured points.

    Parameters
    ----------
    points
        Measured points of any models; those of ``arch`` in ``precision`` are used.
    arch, precision
        The model.
    gpu_types
        Data sheets by name; None: the catalogue's.
    parameters
        Values of the performance model.

    Raises
    ------
    InvalidInputError
        If a point cannot be true (``InvalidProfile``), if points contradict each other
        (``ContradictoryProfile``), or if the deployment of a point could not have run
        (``InvalidProfile``); with every fault.
    CatalogError
        If the catalogue does not know a point's GPU type.
    """
    used = tuple(p for p in points if p.model == arch.name and p.precision is precision)
    if gpu_types is None and parameters is DEFAULT_PARAMETERS:
        return _of_catalogue(used, arch, precision)
    return _derived(used, arch, precision, gpu_types, parameters)


def measured_corrections(
    model: ServedModel, gpu_types: Mapping[str, GpuType] | None = None
) -> Corrections:
    """Return the corrections from the points that a served model carries."""
    return corrections(model.measured, model.arch, model.precision, gpu_types=gpu_types)


def template_evidence(
    model: ServedModel,
    stages: Sequence[StagePlacement],
    gpu_types: Mapping[str, GpuType] | None = None,
) -> Correction:
    """Return the widest error bar among the node configurations of a template, with its words.

    Parameters
    ----------
    model
        What is served, with the points that it carries.
    stages
        The placement; a configuration's GPUs count as one tensor parallel group.
    gpu_types
        Data sheets by name; None: the catalogue's.
    """
    found = measured_corrections(model, gpu_types)
    configs = {config for stage in stages for config in stage.configs}
    bars = [
        found.of(sheet_of(config.gpu, gpu_types), config.gpu_count, len(stages))
        for config in sorted(configs)
    ]
    return max(bars, key=lambda bar: bar.error_share)


@lru_cache(maxsize=256)
def _of_catalogue(
    points: tuple[MeasuredPoint, ...], arch: ModelArch, precision: Precision
) -> Corrections:
    return _derived(points, arch, precision, None, DEFAULT_PARAMETERS)


def _derived(
    points: tuple[MeasuredPoint, ...],
    arch: ModelArch,
    precision: Precision,
    gpu_types: Mapping[str, GpuType] | None,
    parameters: PerformanceParameters,
) -> Corrections:
    if not points:
        return Corrections(arch=arch, precision=precision)
    check_points(points)
    counts = Counter((p.gpu, p.tensor_parallel, p.pipeline_parallel) for p in points)
    knots = tuple(Knot(*key, count) for key, count in sorted(counts.items()))
    index = {knot[:3]: i for i, knot in enumerate(knots)}
    sheets = {knot.gpu: sheet_of(knot.gpu, gpu_types) for knot in knots}
    parts = [
        uncertainty(arch, precision, sheets[k.gpu], k.tensor_parallel, k.stages) for k in knots
    ]
    one = np.array(
        [[_shared(parts[i], knot, other) for other in knots] for i, knot in enumerate(knots)]
    )
    # Covariance of the two factors where their mix has variance 1.
    both = np.array([[1.0, FACTOR_CORRELATION], [FACTOR_CORRELATION, 1.0]])
    both /= TPOT_SHARES @ both @ TPOT_SHARES
    prior = np.kron(one, both)
    cases = [
        (
            2 * index[p.gpu, p.tensor_parallel, p.pipeline_parallel],
            MeasuredCase(p, arch, sheets[p.gpu], parameters),
        )
        for p in points
    ]
    crowd = [max(1.0, counts[knots[at // 2][:3]] / INDEPENDENT_POINTS) for at, _ in cases]
    logs, precision_matrix = _posterior(cases, crowd, np.linalg.inv(prior))
    # k* K^-1 (K - S) K^-1 k* is what a neighbour's variance loses.
    inverse = np.linalg.inv(prior)
    gain = inverse - inverse @ np.linalg.inv(precision_matrix) @ inverse
    pull = inverse @ logs
    n = len(knots)
    # The covariance of both factors with a knot is _shared times ``both``.
    pulled = pull.reshape(n, 2) @ both
    mix = both @ TPOT_SHARES
    explained = np.einsum("iajb,a,b->ij", gain.reshape(n, 2, n, 2), mix, mix)
    digest = hashlib.sha256(repr(points).encode()).hexdigest()[:16]
    return Corrections(
        arch=arch,
        precision=precision,
        knots=knots,
        digest=digest,
        _pull=tuple((float(a), float(b)) for a, b in pulled),
        _explained=tuple(tuple(row) for row in explained.tolist()),
    )


def _posterior(
    cases: Sequence[tuple[int, MeasuredCase]], crowd: Sequence[float], prior_precision: Array
) -> tuple[Array, Array]:
    """Return the most likely log factors and the precision of their distribution there."""
    x = np.zeros(len(prior_precision))
    hessian = prior_precision
    for _ in range(ITERATIONS):
        hessian, gradient = prior_precision.copy(), prior_precision @ x
        for (at, case), many in zip(cases, crowd, strict=True):
            now = np.array(case.residuals(x[at], x[at + 1]))
            slopes = np.stack(
                [
                    (np.array(case.residuals(x[at] + STEP, x[at + 1])) - now) / STEP,
                    (np.array(case.residuals(x[at], x[at + 1] + STEP)) - now) / STEP,
                ],
                axis=1,
            )
            weights = 1.0 / (np.array(case.noises()) ** 2 * many)
            block = slice(at, at + 2)
            gradient[block] += slopes.T @ (weights * now)
            hessian[block, block] += (slopes * weights[:, None]).T @ slopes
        x = np.clip(x - np.linalg.solve(hessian, gradient), -LARGEST_LOG, LARGEST_LOG)
    return x, hessian


def _shared(parts: Uncertainty, knot: Knot, other: Knot) -> float:
    """Return the covariance of one log factor between a deployment and another of the model."""
    shared = max(parts.model, LEAST_MODEL) ** 2
    if knot.gpu == other.gpu:
        shared += max(parts.gpu, LEAST_GPU) ** 2
        if knot[:3] == other[:3]:
            shared += max(parts.deployment, LEAST_DEPLOYMENT) ** 2
    return shared / SIGMAS**2


def _variance(parts: Uncertainty) -> float:
    """Return the variance of one log factor of a deployment."""
    here = Knot("", 1, 1, 0)
    return _shared(parts, here, here)


LEAST_MODEL = 0.03
LEAST_GPU = 0.03
LEAST_DEPLOYMENT = 0.03
"""Even what was measured by others may differ at a user's site and in his engine."""


def _words(knots: Sequence[Knot], knot: Knot, found: Uncertainty) -> str:
    """Return which measured points are nearest."""
    own = [k for k in knots if k[:3] == knot[:3]]
    near = [k for k in knots if k.gpu == knot.gpu]
    nearest = own or near or list(knots)
    total = sum(k.points for k in nearest)
    places = ", ".join(
        f"{k.gpu} TP {k.tensor_parallel}" + (f" PP {k.stages}" if k.stages > 1 else "")
        for k in nearest[:3]
    )
    points = "1 measured point" if total == 1 else f"{total} measured points"
    return f"{points} of this model on {places}; {found.rests_on}"
