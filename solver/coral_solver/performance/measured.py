"""Measured points as the performance model sees them: what it would have predicted for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.profile import contradictions, point_faults
from coral_solver.performance.closed_loop import OK, predict_closed_loop
from coral_solver.performance.evidence import SIGMAS, WITHIN, Correction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.domain.hardware import GpuType
    from coral_solver.domain.profile import MeasuredPoint
    from coral_solver.domain.workload import ModelArch
    from coral_solver.performance.parameters import PerformanceParameters

SPEED_NOISE = WITHIN / SIGMAS
"""Standard deviation of log TPOT or throughput of a load about its deployment's mean."""
TTFT_NOISE = 0.25
"""Standard deviation of log TTFT at a load: 0.16 left after the fit, and repeats differ."""
LITTLE_ITERATIONS = 4
MOST_CLIENTS = 1000.0


class MeasuredCase:
    """One measured point, ready to be predicted at trial factors."""

    def __init__(
        self, point: MeasuredPoint, arch: ModelArch, gpu: GpuType, parameters: PerformanceParameters
    ) -> None:
        self.point, self.arch, self.gpu, self.parameters = point, arch, gpu, parameters
        self.measured = [
            (math.log(value), sign, noise)
            for value, sign, noise in (
                (point.tpot_s, 1.0, SPEED_NOISE),
                (None if point.tpot_s else point.output_tokens_per_s, -1.0, SPEED_NOISE),
                (point.ttft_s, 1.0, TTFT_NOISE),
            )
            if value is not None
        ]

    def noises(self) -> list[float]:
        """Return the standard deviations of ``residuals``."""
        return [noise for _, _, noise in self.measured]

    def residuals(self, compute: float, memory: float) -> list[float]:
        """Return log(predicted / measured) times at log factors; of TPOT or speed, and TTFT."""
        point = self.point
        p = self._predicted(math.exp(compute), math.exp(memory))
        values = [p[0]] if point.tpot_s else [p[2]] if point.output_tokens_per_s else []
        if point.ttft_s is not None:
            values.append(p[1])
        return [
            sign * (math.log(value) - measured)
            for value, (measured, sign, _) in zip(values, self.measured, strict=True)
        ]

    def _predicted(self, compute: float, memory: float) -> tuple[float, float, float]:
        """Return TPOT (s), TTFT (s) and output tokens/s."""
        point = self.point
        clients = point.concurrency
        found = self._closed(clients or 1.0, compute, memory)
        if clients is not None and not point.request_rate_req_per_s:
            return found
        # Open loop: as many clients as the rate keeps busy (Little's law), at most those allowed.
        rate = point.request_rate_req_per_s or 0.0
        for _ in range(LITTLE_ITERATIONS):
            busy_s = found[1] + found[0] * max(0.0, point.output_tokens - 1.0)
            wanted = min(max(1.0, rate * busy_s), clients or MOST_CLIENTS, MOST_CLIENTS)
            found = self._closed(wanted, compute, memory)
        return found[0], found[1], min(found[2], rate * point.output_tokens)

    def _closed(self, clients: float, compute: float, memory: float) -> tuple[float, float, float]:
        point = self.point
        p = predict_closed_loop(
            self.arch,
            self.gpu,
            tensor_parallel=point.tensor_parallel,
            pipeline_parallel=point.pipeline_parallel,
            precision=point.precision,
            input_tokens=point.input_tokens,
            output_tokens=point.output_tokens,
            concurrency=clients,
            num_requests=point.num_requests,
            parameters=self.parameters,
            correction=Correction(
                compute_time_factor=compute,
                memory_time_factor=memory,
                error_share=0.0,
                rests_on="",
            ),
        )
        if p.status != OK:
            raise InvalidInputError(
                [
                    f"measured point of {point.deployment}, {point.load} "
                    f"({point.source or 'no source'}): the deployment cannot run: {p.message}"
                ],
                reason="InvalidProfile",
            )
        return p.tpot_ms / 1e3, p.ttft_ms / 1e3, p.output_tokens_per_s


def check_points(points: Sequence[MeasuredPoint]) -> None:
    """Refuse points that cannot be true, alone or together.

    Raises
    ------
    InvalidInputError
        With every fault; reason ``InvalidProfile`` or ``ContradictoryProfile``.
    """
    faults = [
        f"measured point {i} ({point.source or 'no source'}): {fault}"
        for i, point in enumerate(points)
        for fault in point_faults(point)
    ]
    if faults:
        raise InvalidInputError(faults, reason="InvalidProfile")
    against = contradictions(points)
    if against:
        raise InvalidInputError(against, reason="ContradictoryProfile")
