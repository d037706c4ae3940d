"""Measured points of real deployments, which outrank what the performance model says."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coral_solver.domain.hardware import Precision
    from coral_solver.domain.workload import ServedModel

CONTRADICTION_FACTOR = 1.5
"""Two measurements of one thing that differ by more than this cannot both be right.

Repeated runs of one deployment differ by a few percent; medians in place of means and a run's
first and last seconds by some ten percent more.
"""

MAX_TOKENS = 1e7
MAX_LATENCY_S = 3600.0
MAX_GPUS = 1024


class DeploymentKey(NamedTuple):
    """What was measured: a model in a format on GPUs in parallel."""

    model: str
    precision: Precision
    gpu: str
    tensor_parallel: int
    pipeline_parallel: int

    def __str__(self) -> str:
        """Return it in the words of the command line."""
        return (
            f"{self.model} ({self.precision.value}) on {self.gpu}, "
            f"TP {self.tensor_parallel}, PP {self.pipeline_parallel}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPoint:
    """One benchmark run of an aggregated vLLM deployment.

    Attributes
    ----------
    model
        ``ModelArch.name``.
    precision
        Format in which the weights were served.
    gpu
        ``GpuType.name``.
    tensor_parallel, pipeline_parallel
        Sizes of the two kinds of parallelism.
    input_tokens, output_tokens
        Mean lengths of the requests.
    concurrency
        Clients that each send the next request when the last one is answered; infinity: all
        requests were sent at once; None: not limited, requests came at ``request_rate_req_per_s``.
    request_rate_req_per_s
        Rate of arrivals of an open-loop run; None: closed loop, or sent at once. At least one of
        the two is given.
    num_requests
        Requests of the run; None: not known.
    ttft_s, tpot_s
        Mean time to the first token, and per output token after it; None: not measured.
    output_tokens_per_s
        Output tokens per second of the whole deployment; None: not measured. At least one of the
        three is given.
    source
        Where the figures come from, for example the name of a profile or of a file.
    """

    model: str
    precision: Precision
    gpu: str
    tensor_parallel: int
    pipeline_parallel: int = 1
    input_tokens: float
    output_tokens: float
    concurrency: float | None = None
    request_rate_req_per_s: float | None = None
    num_requests: int | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    output_tokens_per_s: float | None = None
    source: str = ""

    @property
    def deployment(self) -> DeploymentKey:
        """The deployment that was measured."""
        return DeploymentKey(
            self.model, self.precision, self.gpu, self.tensor_parallel, self.pipeline_parallel
        )

    @property
    def load(self) -> str:
        """The load in words, for example ``512 in, 128 out, 16 clients``."""
        lengths = f"{self.input_tokens:g} in, {self.output_tokens:g} out"
        clients = self.concurrency
        if clients is None:
            return f"{lengths}, {self.request_rate_req_per_s:g} req/s"
        if math.isinf(clients):
            return f"{lengths}, all requests at once"
        rate = self.request_rate_req_per_s
        return f"{lengths}, {clients:g} clients" + (f", {rate:g} req/s" if rate else "")


def points_of_models(
    points: Iterable[MeasuredPoint], models: Iterable[ServedModel]
) -> tuple[MeasuredPoint, ...]:
    """Return the points that say something about one of some models, in their order."""
    wanted = {(model.arch.name, model.precision) for model in models}
    return tuple(point for point in points if (point.model, point.precision) in wanted)


def profile_faults(points: Sequence[MeasuredPoint]) -> list[str]:
    """Return what is wrong with points, in words.

    Returns
    -------
    list of str
        Every fault of every point; where each point alone could be true, every contradiction.
    """
    return [
        f"measured point {index} ({point.source or 'no source'}): {fault}"
        for index, point in enumerate(points)
        for fault in point_faults(point)
    ] or contradictions(points)


def point_faults(point: MeasuredPoint) -> list[str]:
    """Return what is wrong with the numbers of one point, in words."""
    faults = [f"{name} is empty" for name in ("model", "gpu") if not getattr(point, name)]
    gpus = point.tensor_parallel * point.pipeline_parallel
    if not (min(point.tensor_parallel, point.pipeline_parallel) >= 1 and gpus <= MAX_GPUS):
        faults.append(
            f"tensor_parallel {point.tensor_parallel} and pipeline_parallel "
            f"{point.pipeline_parallel} must be at least 1, together at most {MAX_GPUS} GPUs"
        )
    for name, limit in (
        ("input_tokens", MAX_TOKENS),
        ("output_tokens", MAX_TOKENS),
        ("request_rate_req_per_s", 1e6),
        ("num_requests", 1e9),
        ("ttft_s", MAX_LATENCY_S),
        ("tpot_s", MAX_LATENCY_S),
        ("output_tokens_per_s", 1e9),
    ):
        value = getattr(point, name)
        if value is not None and not 0 < value <= limit:
            faults.append(f"{name} {value} must be positive and at most {limit:g}")
    clients = point.concurrency
    if clients is not None and not (clients == math.inf or 0 < clients <= 1e6):
        faults.append(f"concurrency {clients} must be positive and at most 1e6, or infinite")
    if clients is None and point.request_rate_req_per_s is None:
        faults.append("the load is not known: give concurrency or request_rate_req_per_s")
    if point.ttft_s is None and point.tpot_s is None and point.output_tokens_per_s is None:
        faults.append("nothing was measured: give ttft_s, tpot_s or output_tokens_per_s")
    return faults


def contradictions(points: Iterable[MeasuredPoint]) -> list[str]:
    """Return what cannot be true together, in words that name the sources.

    Parameters
    ----------
    points
        Points without ``point_faults``.
    """
    found: list[str] = []
    by_load: defaultdict[tuple[object, ...], list[MeasuredPoint]] = defaultdict(list)
    for point in points:
        found.extend(_against_little(point))
        key = (point.deployment, point.input_tokens, point.output_tokens)
        by_load[key].append(point)
    for same in by_load.values():
        found.extend(_against_each_other(same))
    return found


def _against_little(point: MeasuredPoint) -> list[str]:
    """Return whether a closed loop gives more tokens than its latencies leave time for.

    Little's law: clients = rate x time in the system; the ends of a run only lower the rate.
    """
    clients, tokens_per_s = point.concurrency, point.output_tokens_per_s
    if clients is None or tokens_per_s is None or point.tpot_s is None:
        return []
    clients = min(clients, point.num_requests or math.inf)
    time_s = (point.ttft_s or 0.0) + point.tpot_s * max(0.0, point.output_tokens - 1.0)
    if math.isinf(clients) or time_s <= 0:
        return []
    most = clients * point.output_tokens / time_s
    if tokens_per_s <= CONTRADICTION_FACTOR * most:
        return []
    return [
        f"{point.deployment}, {point.load} ({point.source}): {tokens_per_s:g} output tokens/s are "
        f"more than {clients:g} clients can get at these latencies, {most:.4g} at most; check the "
        "units and that all figures are of one run"
    ]


def _against_each_other(same: list[MeasuredPoint]) -> list[str]:
    """Compare points of one deployment and one pair of lengths."""
    found = []
    for name in ("ttft_s", "tpot_s", "output_tokens_per_s"):
        repeated: defaultdict[tuple[object, ...], list[tuple[float, MeasuredPoint]]]
        repeated = defaultdict(list)
        for point in same:
            value = getattr(point, name)
            if value is not None:
                # How long requests queue, and how full a burst is, depends on how many there are.
                counts = name == "ttft_s" or point.concurrency == math.inf
                load = (point.concurrency, point.request_rate_req_per_s)
                repeated[*load, point.num_requests if counts else None].append((value, point))
        for values in repeated.values():
            low, one = min(values, key=lambda item: item[0])
            high, other = max(values, key=lambda item: item[0])
            if high > CONTRADICTION_FACTOR * low:
                found.append(
                    f"{one.deployment}, {one.load}: {name} is {low:g} ({one.source}) and "
                    f"{high:g} ({other.source}); keep the run that was made right"
                )
    closed = [
        (point.concurrency, point.tpot_s, point)
        for point in same
        if point.concurrency not in (None, math.inf) and point.request_rate_req_per_s is None
    ]
    for few_clients, few_s, few in closed:
        for many_clients, many_s, many in closed:
            if few_clients is None or many_clients is None or few_s is None or many_s is None:
                continue
            if few_clients < many_clients and few_s > CONTRADICTION_FACTOR * many_s:
                found.append(
                    f"{few.deployment}, {few.input_tokens:g} in, {few.output_tokens:g} out: tpot_s "
                    f"falls from {few_s:g} at {few_clients:g} clients ({few.source}) to "
                    f"{many_s:g} at {many_clients:g} ({many.source}); more clients cannot be faster"
                )
    return found
