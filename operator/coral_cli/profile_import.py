"""From benchmark results to a PerformanceProfile, and what looks wrong in them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from coral_api.convert import SERVABLE
from coral_api.performanceprofile import PerformanceProfile
from coral_api.problems import validation_problems
from coral_api.profiles import profile_manifest
from coral_cli.benchmark_results import read_results
from coral_cli.progress import say_on_stderr
from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.errors import CatalogError, InvalidInputError
from coral_solver.domain.profile import DeploymentKey, MeasuredPoint, profile_faults
from coral_solver.performance.closed_loop import predict_closed_loop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from coral_cli.benchmark_results import BenchmarkRun
    from coral_solver.domain.hardware import GpuType, Precision
    from coral_solver.domain.workload import ModelArch

SLACK = 1.15
"""A throughput further than this from what the latencies say is told."""
LEAST_ROUNDS = 3
"""Fewer requests per client, and the first and the last of them make the figures."""
WAIT_FACTOR = 5.0
"""A mean time to the first token further than this above the median is told."""
CACHED_SHARE = 0.5
"""A time to the first token under this share of a lone prompt's predicted one is told."""


def manifest_of_results(
    files: Sequence[Path],
    *,
    gpu: str,
    model: str | None,
    tensor_parallel: int,
    pipeline_parallel: int,
    precision: Precision | None,
    name: str | None,
) -> dict[str, Any]:
    """Return the PerformanceProfile of some result files; say on standard error what is odd.

    Parameters
    ----------
    files
        Results of ``vllm bench serve``, reports of ``guidellm``.
    gpu, tensor_parallel, pipeline_parallel
        The deployment.
    model
        Its model; None: the one that the files name.
    precision
        Format of the weights; None: as published.
    name
        Name of the profile; None: what it is of.

    Raises
    ------
    InvalidInputError
        If a file cannot be read, or a figure cannot be.
    CatalogError
        If a name is not known, or the engine cannot serve the model so.
    """
    runs = [run for path in files for run in read_results(path)]
    named = model or _named_model(runs)
    arch, gpu_found = model_arch(named), gpu_type(gpu)
    served = precision or arch.native_precision
    if served not in SERVABLE[arch.native_precision]:
        choices = " or ".join(SERVABLE[arch.native_precision])
        raise CatalogError(
            f"the engine cannot serve {arch.name} in {served}; --precision is {choices}",
            reason="UnsupportedPrecision",
        )
    deployment = DeploymentKey(
        arch.name, served, gpu_found.name, tensor_parallel, pipeline_parallel
    )
    points = [_point(run, deployment) for run in runs]
    problems = profile_faults(points)
    if problems:
        raise InvalidInputError(problems)
    for run, point in zip(runs, points, strict=True):
        for text in (*run.warnings, *_doubts(run, point, arch, gpu_found)):
            say_on_stderr("warning", f"{run.place}: {text}")
    try:
        return profile_manifest(
            name or _name_of(points[0], arch),
            points,
            model=named,
            source=f"{', '.join(sorted({run.tool for run in runs}))}: "
            + ", ".join(path.name for path in files),
        )
    except ValidationError as error:
        raise InvalidInputError(
            [text for _, text in validation_problems(error, PerformanceProfile)]
        ) from error


def _point(run: BenchmarkRun, deployment: DeploymentKey) -> MeasuredPoint:
    tokens_per_s = run.output_tokens_per_s
    return MeasuredPoint(
        model=deployment.model,
        precision=deployment.precision,
        gpu=deployment.gpu,
        tensor_parallel=deployment.tensor_parallel,
        pipeline_parallel=deployment.pipeline_parallel,
        input_tokens=_rounded(run.input_tokens),
        output_tokens=_rounded(run.output_tokens),
        concurrency=run.concurrency,
        request_rate_req_per_s=run.request_rate_req_per_s,
        num_requests=run.completed,
        ttft_s=run.ttft_s,
        tpot_s=run.tpot_s,
        output_tokens_per_s=None if tokens_per_s is None else _rounded(tokens_per_s),
        source=run.place,
    )


def _named_model(runs: Sequence[BenchmarkRun]) -> str:
    names = sorted({run.model for run in runs if run.model})
    if len(names) == 1:
        return names[0]
    said = f"the files name {' and '.join(names)}" if names else "the files name none"
    raise InvalidInputError([f"which model? {said}: give --model"])


def _doubts(
    run: BenchmarkRun, point: MeasuredPoint, arch: ModelArch, gpu: GpuType
) -> Iterator[str]:
    """Yield what looks wrong in a run, in words."""
    yield from _doubts_of_model(run, arch)
    if run.failed:
        sent = run.completed + run.failed
        yield f"{run.failed} of {sent} requests failed; the others had more room"
    clients = point.concurrency
    if clients is not None and math.isfinite(clients) and run.completed < LEAST_ROUNDS * clients:
        yield (
            f"only {run.completed} requests for {clients:g} clients: filling up and running out "
            "make a large part of the figures"
        )
    if run.ttft_s and run.median_ttft_s and run.ttft_s > WAIT_FACTOR * run.median_ttft_s:
        yield (
            f"the mean time to the first token is {run.ttft_s / run.median_ttft_s:.1f} times the "
            "median: some requests waited for something else, such as compilation; warm up first"
        )
    yield from _doubts_of_throughput(point)
    yield from _doubts_of_prompts(point, arch, gpu)


def _doubts_of_model(run: BenchmarkRun, arch: ModelArch) -> Iterator[str]:
    if run.model is None:
        return
    try:
        found = model_arch(run.model)
    except CatalogError:
        return  # a name that the server was given
    if found.name != arch.name:
        yield f"the file is of {run.model} ({found.name}), not of {arch.name}"


def _doubts_of_throughput(point: MeasuredPoint) -> Iterator[str]:
    """Compare with Little's law: clients = rate x time in the system."""
    clients, tokens_per_s = point.concurrency, point.output_tokens_per_s
    ttft_s, tpot_s = point.ttft_s, point.tpot_s
    if clients is None or math.isinf(clients) or point.request_rate_req_per_s is not None:
        return  # no closed loop
    if tokens_per_s is None or ttft_s is None or tpot_s is None:
        return
    time_s = ttft_s + tpot_s * max(0.0, point.output_tokens - 1.0)
    expected = clients * point.output_tokens / time_s
    if not expected / SLACK <= tokens_per_s <= expected * SLACK:
        yield (
            f"{tokens_per_s:.0f} output tokens/s, and {clients:g} clients at these latencies would "
            f"get {expected:.0f}: the clients were not always busy, or the figures are of "
            "different parts of the run"
        )


def _doubts_of_prompts(point: MeasuredPoint, arch: ModelArch, gpu: GpuType) -> Iterator[str]:
    """Compare with the prediction for one prompt alone: nothing can be much faster."""
    alone = predict_closed_loop(
        arch,
        gpu,
        tensor_parallel=point.tensor_parallel,
        pipeline_parallel=point.pipeline_parallel,
        precision=point.precision,
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        concurrency=1,
    )
    if alone.status != "ok":
        yield f"this deployment should not run at all: {alone.message} ({alone.status})"
    elif point.ttft_s is not None and point.ttft_s * 1000 < CACHED_SHARE * alone.ttft_ms:
        yield (
            f"the first token came after {point.ttft_s * 1000:.0f} ms, and a lone prompt of "
            f"{point.input_tokens:g} tokens should take {alone.ttft_ms:.0f} ms: was the prefix "
            "cache warm? Use fresh prompts, or serve with --no-enable-prefix-caching"
        )


def _name_of(point: MeasuredPoint, arch: ModelArch) -> str:
    parts = [point.model, point.gpu, f"tp{point.tensor_parallel}"]
    if point.pipeline_parallel > 1:
        parts.append(f"pp{point.pipeline_parallel}")
    if point.precision is not arch.native_precision:
        parts.append(point.precision)
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def _rounded(value: float) -> float:
    """Keep six digits: what a benchmark can tell."""
    return float(f"{value:.6g}")
