"""Fits the physical parameters of the performance model to measured vLLM points.

    python -m benchmarks.performance_fit [--smoke]

Prints each parameter: prior, what the fit makes of it, what the repository has. Twenty seconds on
one core. A parameter is a factor on its prior value; the prior comes from operator measurements
or data sheets (docs/model-performance.md) and its width says how far that is trusted. Minimised is

    sum (log factor / width)^2 + sum weight * huber(log(predicted / measured) / scale)

over TPOT and TTFT of all rows. The weight of a row is the smaller the more rows its deployment
has: rows of one deployment share what is wrong with them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from benchmarks.performance_data import predict, rows

from coral_solver.performance.parameters import (
    DEFAULT_PARAMETERS,
    AllReduceEfficiency,
    GpuEfficiency,
    PerformanceParameters,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.performance_data import Row
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FILES = ("vllm_points.csv", "minimax_points.csv")
SCALES = (0.05, 0.20)
"""Expected error of TPOT and TTFT; repeats of one measurement differ by 1 and 5 % in median."""
HUBER = 1.5
ROWS_PER_DEPLOYMENT = 8.0
"""Rows of one deployment count together as at most about this many."""
STEP = 0.01
ITERATIONS = 8
TOLERANCE = 2e-3
SMOKE_SHARE = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """One fitted parameter.

    Attributes
    ----------
    name
        As in ``PerformanceParameters`` or ``GpuEfficiency``.
    prior
        Value before the fit.
    width
        Standard deviation of the logarithm of the value.
    families
        GPU families that share it; empty: a field of ``PerformanceParameters``.
    """

    name: str
    prior: float
    width: float
    families: tuple[str, ...] = ()

    def value(self, parameters: PerformanceParameters) -> float:
        """Return the value in a set of parameters."""
        if self.families:
            return float(getattr(parameters.gpu_efficiency[self.families[0]], self.name))
        return float(getattr(parameters, self.name))


HOPPER = ("H100", "H200", "GH200", "H800")
H100 = ("H100", "GH200", "H800")
FITTED = (
    Fitted(name="weights_bandwidth", prior=0.91, width=0.04, families=H100),
    Fitted(name="weights_bandwidth", prior=0.87, width=0.04, families=("H200",)),
    Fitted(name="kv_bandwidth", prior=0.74, width=0.10, families=HOPPER),
    Fitted(name="matrix_flops", prior=0.66, width=0.08, families=HOPPER),
    Fitted(name="matrix_flops_fp8", prior=0.74, width=0.08, families=HOPPER),
    Fitted(name="attention_flops", prior=0.51, width=0.20, families=HOPPER),
    Fitted(name="expert_flops", prior=0.46, width=0.20, families=HOPPER),
    Fitted(name="layer_overhead_s", prior=57e-6, width=0.15),
    Fitted(name="moe_layer_overhead_s", prior=16e-6, width=0.50),
    Fitted(name="sequence_overhead_s", prior=7.7e-6, width=0.30),
    Fitted(name="elementwise_bytes_per_hidden", prior=20.0, width=0.25),
    Fitted(name="expert_bandwidth_share", prior=0.90, width=0.06),
    Fitted(name="routing gpt-oss", prior=0.83, width=0.20),
    Fitted(name="routing minimax", prior=0.83, width=0.20),
    Fitted(name="expert_padding_rows", prior=24.0, width=0.30),
    Fitted(name="expert_half_width", prior=130.0, width=0.20, families=HOPPER),
    Fitted(name="window_bytes_factor", prior=3.0, width=0.20),
    Fitted(name="request_overhead_s", prior=0.031, width=0.20),
    Fitted(name="nvlink_hopper latency", prior=1.0, width=0.15),
    Fitted(name="nvlink_hopper bandwidth", prior=1.0, width=0.15),
)
ALL_REDUCE_PRIOR = AllReduceEfficiency(
    latency_s=(6.5e-6, 7.5e-6, 9.1e-6),
    bandwidth_share=(0.473, 0.384, 0.407),  # 213, 173, 183 of 450 GB/s
    source="operators, vLLM custom all-reduce on H100 and H200; end-to-end",
)


def with_values(values: Sequence[float]) -> PerformanceParameters:
    """Return the repository's parameters with the fitted ones replaced, in FITTED's order."""
    table: dict[str, GpuEfficiency] = dict(DEFAULT_PARAMETERS.gpu_efficiency)
    plain: dict[str, float] = {}
    link: dict[str, float] = {}
    routing: dict[str, float] = {}
    for fitted, value in zip(FITTED, values, strict=True):
        if fitted.families:
            for family in fitted.families:
                table[family] = replace(table[family], **{fitted.name: value})
        elif fitted.name.startswith("nvlink_hopper "):
            link[fitted.name.rpartition(" ")[2]] = value
        elif fitted.name.startswith("routing "):
            routing[fitted.name.rpartition(" ")[2]] = value
        else:
            plain[fitted.name] = value
    latency, share = ALL_REDUCE_PRIOR.latency_s, ALL_REDUCE_PRIOR.bandwidth_share
    all_reduce = replace(
        ALL_REDUCE_PRIOR,
        latency_s=(*(x * link["latency"] for x in latency),),
        bandwidth_share=(*(x * link["bandwidth"] for x in share),),
    )
    return replace(
        DEFAULT_PARAMETERS,
        gpu_efficiency=table,
        nvlink_hopper=all_reduce,
        measured_routing=routing,
        **plain,
    )


def residuals(of: Sequence[Row], parameters: PerformanceParameters) -> Array:
    """Return log(predicted / measured) / scale, TPOT then TTFT: shape (2 R,)."""
    found = np.empty((2, len(of)))
    for i, row in enumerate(of):
        p = predict(row, parameters)
        found[:, i] = np.log(p.tpot_ms / row.measured[0]), np.log(p.ttft_ms / row.measured[1])
    return (found / np.array(SCALES)[:, None]).ravel()


def row_weights(of: Sequence[Row]) -> Array:
    """Return the weight of every entry of ``residuals``."""
    counts = Counter(row.deployment for row in of)
    weights = [min(1.0, ROWS_PER_DEPLOYMENT / counts[row.deployment]) for row in of]
    return np.array(weights * 2)


def fit(
    of: Sequence[Row], report: Callable[[str], object] = lambda _text: None
) -> tuple[float, ...]:
    """Return the fitted values, in FITTED's order: damped Gauss-Newton with Huber's weights."""
    prior = np.array([fitted.prior for fitted in FITTED])
    width = np.array([fitted.width for fitted in FITTED])
    weights = row_weights(of)

    def at(x: Array) -> Array:
        return residuals(of, with_values(prior * np.exp(x)))

    def cost(x: Array, r: Array) -> float:
        inner = np.minimum(np.abs(r), HUBER)
        huber = inner * (2 * np.abs(r) - inner)
        return float((weights * huber).sum() + ((x / width) ** 2).sum())

    x, damping = np.zeros(len(FITTED)), 1e-3
    r = at(x)
    best = cost(x, r)
    for iteration in range(ITERATIONS):
        jacobian = np.stack([(at(x + STEP * e) - r) / STEP for e in np.eye(len(x))], axis=1)
        w = weights * np.minimum(1.0, HUBER / np.maximum(np.abs(r), 1e-9))
        gradient = jacobian.T @ (w * r) + x / width**2
        hessian = (jacobian * w[:, None]).T @ jacobian + np.diag(1 / width**2)
        gained = 0.0
        for _ in range(6):
            move = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), -gradient)
            new_r = at(x + move)
            new = cost(x + move, new_r)
            if new < best:
                gained = (best - new) / best
                x, r, best, damping = x + move, new_r, new, damping / 5
                break
            damping *= 10
        report(f"iteration {iteration}: {best:.2f}")
        if gained < TOLERANCE:
            break
    return tuple((prior * np.exp(x)).tolist())


def main() -> None:
    """Fit all rows and print the values beside the repository's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="every 12th row only: seconds")
    arguments = parser.parse_args()
    of = rows(*FILES)
    if arguments.smoke:
        of = of[::SMOKE_SHARE]
    values = fit(of, print)
    print(
        f"{len(of)} rows\n{'parameter':32s} {'GPUs':8s} {'prior':>10s} {'fitted':>10s}  repository"
    )
    for fitted, value in zip(FITTED, values, strict=True):
        where = fitted.families[0] if fitted.families else ""
        now = "" if " " in fitted.name else f"{fitted.value(DEFAULT_PARAMETERS):10.4g}"
        print(f"{fitted.name:32s} {where:8s} {fitted.prior:10.4g} {value:10.4g} {now}")


if __name__ == "__main__":
    main()
