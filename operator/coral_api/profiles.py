"""Between PerformanceProfiles and measured points; which profiles cannot be true."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from coral_api.base import ObjectMeta
from coral_api.conditions import Reason
from coral_api.convert import SERVABLE
from coral_api.performanceprofile import (
    MeasuredPointSpec,
    PerformanceProfile,
    PerformanceProfileSpec,
)
from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.profile import MeasuredPoint, contradictions, point_faults
from coral_solver.performance.memory import GIB, precision_problem, shape_problem, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coral_solver.domain.hardware import GpuType, Precision
    from coral_solver.domain.profile import DeploymentKey
    from coral_solver.domain.workload import ModelArch

MS = 1000.0


class ProfileProblem(NamedTuple):
    """Why a profile is not used, and what to change."""

    reason: Reason
    message: str


class ReadProfiles(NamedTuple):
    """Profiles by name: the points of those that are used, and why the others are not."""

    points: dict[str, tuple[MeasuredPoint, ...]]
    problems: dict[str, ProfileProblem]

    @property
    def all_points(self) -> tuple[MeasuredPoint, ...]:
        """Return every point that is used, in the order of the profiles' names."""
        return tuple(point for _, points in sorted(self.points.items()) for point in points)


def read_profiles(
    profiles: Iterable[PerformanceProfile], *, may_read_files: bool = False
) -> ReadProfiles:
    """Return the measured points of profiles.

    Parameters
    ----------
    profiles
        Valid profiles with different names.
    may_read_files
        Whether ``model`` may be the path of a ``config.json``: a person's own files, never in the
        operator.

    Returns
    -------
    ReadProfiles
        A profile that names what the catalogues do not know, or that contradicts itself, is left
        out; of two that contradict each other both are, since nothing says which one is right.
    """
    points: dict[str, tuple[MeasuredPoint, ...]] = {}
    problems: dict[str, ProfileProblem] = {}
    for profile in profiles:
        read = _points(profile, may_read_files=may_read_files)
        if isinstance(read, ProfileProblem):
            problems[profile.metadata.name] = read
        else:
            points[profile.metadata.name] = read
    for name, others in _disagreeing(points).items():
        problems[name] = ProfileProblem(Reason.CONTRADICTORY_PROFILE, "; ".join(others))
    return ReadProfiles({k: v for k, v in points.items() if k not in problems}, problems)


def profile_manifest(
    name: str, points: Sequence[MeasuredPoint], *, model: str, source: str
) -> dict[str, Any]:
    """Return the manifest of the PerformanceProfile that holds some points.

    Parameters
    ----------
    name
        Name of the object.
    points
        One or more points of one deployment.
    model
        Name of the model as a person wrote it.
    source
        Where the figures come from.

    Returns
    -------
    dict
        Without what is as by default, for people to read and to apply.
    """
    first = points[0]
    profile = PerformanceProfile(
        metadata=ObjectMeta(name=name),
        spec=PerformanceProfileSpec(
            model=model,
            precision=first.precision,
            gpu_type=first.gpu,
            tensor_parallel=first.tensor_parallel,
            pipeline_parallel=first.pipeline_parallel,
            source=source,
            points=tuple(_point_spec(point) for point in points),
        ),
    )
    fields = profile.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
    )
    return {"apiVersion": profile.api_version, "kind": profile.kind, **fields}


def _points(
    profile: PerformanceProfile, *, may_read_files: bool
) -> tuple[MeasuredPoint, ...] | ProfileProblem:
    spec = profile.spec
    if spec.model.endswith(".json") and not may_read_files:
        text = f"spec.model: {spec.model!r} is a path; name a model of the catalogue here"
        return ProfileProblem(Reason.UNKNOWN_MODEL, text)
    try:
        arch, gpu = model_arch(spec.model), gpu_type(spec.gpu_type)
    except CatalogError as error:
        return ProfileProblem(Reason(error.reason), str(error))
    precision = spec.precision or arch.native_precision
    if precision not in SERVABLE[arch.native_precision]:
        text = (
            f"the engine cannot serve {arch.name}, published in {arch.native_precision}, in"
            f" {precision}; set spec.precision to what was served"
        )
        return ProfileProblem(Reason.UNSUPPORTED_PRECISION, text)
    shape = DeploymentShape(arch, precision, gpu, spec.tensor_parallel, spec.pipeline_parallel)
    fault = _deployment_fault(shape)
    if fault is not None:
        return ProfileProblem(Reason.INVALID_PROFILE, fault)
    name = profile.metadata.name
    points = tuple(
        MeasuredPoint(
            model=arch.name,
            precision=precision,
            gpu=gpu.name,
            tensor_parallel=spec.tensor_parallel,
            pipeline_parallel=spec.pipeline_parallel,
            input_tokens=point.input_tokens,
            output_tokens=point.output_tokens,
            concurrency=math.inf if point.all_at_once else point.concurrency,
            request_rate_req_per_s=point.requests_per_second,
            num_requests=point.requests,
            ttft_s=_seconds(point.ttft_milliseconds),
            tpot_s=_seconds(point.tpot_milliseconds),
            output_tokens_per_s=point.output_tokens_per_second,
            source=f"PerformanceProfile {name}, point {index}",
        )
        for index, point in enumerate(spec.points)
    )
    faults = [fault for point in points for fault in point_faults(point)]
    if faults:
        return ProfileProblem(Reason.INVALID_PROFILE, "; ".join(faults))
    found = contradictions(points)
    if found:
        return ProfileProblem(Reason.CONTRADICTORY_PROFILE, "; ".join(found))
    return points


class DeploymentShape(NamedTuple):
    """A model in a format on GPUs in parallel, with what the catalogues say of both."""

    arch: ModelArch
    precision: Precision
    gpu: GpuType
    tensor_parallel: int
    pipeline_parallel: int


def _deployment_fault(shape: DeploymentShape) -> str | None:
    """Return why nobody can have measured a deployment, or None."""
    arch, precision, gpu, tensor_parallel, stages = shape
    if stages > arch.layers:
        return f"{stages} pipeline stages, and {arch.name} has {arch.layers} layers"
    fault = shape_problem(arch, precision, tensor_parallel)
    fault = fault or precision_problem(arch, precision, gpu)
    if fault is not None:
        return fault
    weights_gib = weight_bytes(arch, precision) / GIB
    memory_gib = tensor_parallel * stages * gpu.memory_gib
    if weights_gib > memory_gib:
        return (
            f"{arch.name} in {precision} has {weights_gib:.0f} GiB of weights, and"
            f" {tensor_parallel * stages} x {gpu.name} have {memory_gib:.0f} GiB of memory"
        )
    return None


def _disagreeing(points: dict[str, tuple[MeasuredPoint, ...]]) -> dict[str, list[str]]:
    """Return what profiles of one deployment say against each other, by name."""
    by_deployment: defaultdict[DeploymentKey, list[str]] = defaultdict(list)
    for name in sorted(points):
        by_deployment[points[name][0].deployment].append(name)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for names in by_deployment.values():
        for one, other in combinations(names, 2):
            texts = contradictions([*points[one], *points[other]])
            if texts:
                found[one] += texts
                found[other] += texts
    return found


def _point_spec(point: MeasuredPoint) -> MeasuredPointSpec:
    clients = point.concurrency
    is_burst = clients == math.inf
    return MeasuredPointSpec(
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        concurrency=None if clients is None or is_burst else round(clients),
        requests_per_second=point.request_rate_req_per_s,
        all_at_once=is_burst,
        requests=point.num_requests,
        ttft_milliseconds=_milliseconds(point.ttft_s),
        tpot_milliseconds=_milliseconds(point.tpot_s),
        output_tokens_per_second=point.output_tokens_per_s,
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / MS


def _milliseconds(seconds: float | None) -> float | None:
    # Six digits: what a benchmark prints, without the noise of the two conversions.
    return None if seconds is None else float(f"{seconds * MS:.6g}")
