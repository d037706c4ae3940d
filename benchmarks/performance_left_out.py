"""Errors of the performance model on models and GPUs that its parameters have not seen.

    python -m benchmarks.performance_left_out [--smoke]

The parameters are fitted again (`performance_fit.py`) without one model, or without one GPU type;
the table has the errors on what was left out: median / 90th percentile in percent, beside those of
AIConfigurator 0.12.0, which has seen all operators of all of them. Anchored: one measured point of
each left-out deployment corrects the predictions of its other points. Covered: share of the TPOT
and throughput figures inside their 80 % error bars, which are made without the left-out model or
GPU as well. About three minutes on one core.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.performance_data import (
    Point,
    errors,
    points,
    predict,
    ranked_right,
    rows,
    summary,
)
from benchmarks.performance_fit import FILES, fit, with_values

from coral_solver.catalog import gpu_type
from coral_solver.domain.profile import MeasuredPoint
from coral_solver.performance.anchors import corrections
from coral_solver.performance.evidence import MEASURED_DEPLOYMENTS, uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.performance_data import Row

    from coral_solver.performance.parameters import PerformanceParameters

UNSEEN = "unseen"
"""Name of a left-out model: nothing that is known of it by name applies."""
SMOKE_SIZE, SMOKE_SHARE = 4, 4


class LeftOut(NamedTuple):
    """What was predicted of one left-out model or GPU type: figures and half widths of bars."""

    name: str
    points: list[Point]
    widths: list[float]


def unseen(row: Row) -> Row:
    """Return a row of a model that nothing is known of by name."""
    return replace(row, arch=replace(row.arch, name=UNSEEN))


def without_model(of: Sequence[Row], name: str) -> tuple[LeftOut, LeftOut]:
    """Predict a left-out model, plain and anchored."""
    parameters = with_values(fit([row for row in of if row.model != name]))
    out = [row for row in of if row.model == name]
    widths = [
        uncertainty(unseen(r).arch, r.precision, gpu_type(r.gpu), r.tensor_parallel).width
        for r in out
    ]
    plain = LeftOut(name, points(map(unseen, out), parameters), widths)
    return plain, anchored(name, out, parameters)


def anchored(name: str, of: Sequence[Row], parameters: PerformanceParameters) -> LeftOut:
    """Predict all rows of each deployment but the middle one by load, which is its anchor."""
    by_deployment: dict[object, list[Row]] = defaultdict(list)
    for row in of:
        by_deployment[row.deployment].append(unseen(row))
    found, widths = [], []
    for same in by_deployment.values():
        same.sort(key=lambda row: (row.clients, row.input_tokens, row.output_tokens))
        anchor = same.pop(len(same) // 2)
        correction = corrections(
            [measured_point(anchor)], anchor.arch, anchor.precision, parameters=parameters
        ).of(gpu_type(anchor.gpu), anchor.tensor_parallel)
        for row in same:
            p = predict(row, parameters, correction)
            found.append(Point(row=row, coral=(p.tpot_ms, p.ttft_ms, p.output_tokens_per_s)))
            widths.append(math.log1p(correction.error_share))
    return LeftOut(name, found, widths)


def measured_point(row: Row) -> MeasuredPoint:
    """Return a row as a user would give it."""
    return MeasuredPoint(
        model=row.arch.name,
        precision=row.precision,
        gpu=row.gpu,
        tensor_parallel=row.tensor_parallel,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        concurrency=row.clients,
        tpot_s=row.measured[0] / 1e3,
        ttft_s=row.measured[1] / 1e3,
    )


def without_gpu(of: Sequence[Row], name: str) -> LeftOut:
    """Predict a left-out GPU type."""
    parameters = with_values(fit([row for row in of if row.gpu != name]))
    seen = {
        model: {gpu: sizes for gpu, sizes in by_gpu.items() if gpu != name}
        for model, by_gpu in MEASURED_DEPLOYMENTS.items()
    }
    out = [row for row in of if row.gpu == name]
    widths = [
        uncertainty(r.arch, r.precision, gpu_type(r.gpu), r.tensor_parallel, measured=seen).width
        for r in out
    ]
    return LeftOut(name, points(out, parameters), widths)


def covered(left_out: LeftOut) -> float:
    """Return the share of TPOT and throughput figures inside their bars."""
    inside = [
        abs(math.log(point.coral[figure] / point.row.measured[figure])) <= width
        for point, width in zip(left_out.points, left_out.widths, strict=True)
        for figure in (0, 2)
    ]
    return sum(inside) / len(inside)


def pooled(groups: Sequence[LeftOut], name: str = "all") -> LeftOut:
    """Return groups as one."""
    return LeftOut(
        name,
        [point for group in groups for point in group.points],
        [width for group in groups for width in group.widths],
    )


def print_table(title: str, groups: Sequence[LeftOut]) -> None:
    """Print one block: every group, all, and all rows that AIConfigurator predicts."""
    print(f"{title:30s} rows   TPOT           TTFT           throughput     covered")
    everything = pooled(groups)
    known = [point for point in everything.points if not math.isnan(point.row.peer[0])]
    for group in (*groups, everything):
        cells = "  ".join(summary(errors(group.points, i)) for i in range(3))
        print(f"  {group.name:28s} {len(group.points):4d}  {cells}  {100 * covered(group):4.0f} %")
    for label, peer in (("Coral, same rows", False), ("AIConfigurator, same rows", True)):
        cells = "  ".join(summary(errors(known, i, peer=peer)) for i in range(3))
        print(f"  {label:28s} {len(known):4d}  {cells}")
    right, pairs = ranked_right(everything.points)
    print(f"  pairs with a gap over 20 % ranked right: {100 * right / pairs:.1f} % of {pairs}\n")


def main() -> None:
    """Print the three blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few rows: seconds")
    arguments = parser.parse_args()
    of = rows(*FILES)
    if arguments.smoke:
        of = [row for row in of if row.tensor_parallel == SMOKE_SIZE][::SMOKE_SHARE]
    models = [without_model(of, name) for name in sorted({row.model for row in of})]
    print_table("One model left out", [plain for plain, _ in models])
    print_table("... with one anchor each", [anchor for _, anchor in models])
    print_table("One GPU left out", [without_gpu(of, name) for name in ("H100", "H200")])


if __name__ == "__main__":
    main()
