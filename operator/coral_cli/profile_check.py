"""``coral profile check``: what measured points say against the predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from coral_api.files import load_manifests
from coral_cli.inputs import measured_points
from coral_cli.render import error_bar, table_console
from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.errors import InvalidInputError
from coral_solver.performance.anchors import corrections
from coral_solver.performance.closed_loop import predict_closed_loop
from coral_solver.performance.sites import site_factor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coral_solver.domain.profile import MeasuredPoint
    from coral_solver.performance.evidence import Correction


def show_check(files: Sequence[Path]) -> None:
    """Print measured points beside their predictions, and the site factor of each GPU type.

    Raises
    ------
    InvalidInputError
        If there is no point, or a profile that cannot be used.
    """
    points = measured_points(load_manifests(files))
    if not points:
        raise InvalidInputError(["no PerformanceProfile among the files"])
    console = table_console()
    console.print(_table(points))
    for gpu in dict.fromkeys(point.gpu for point in points):
        found = site_factor([p for p in points if p.gpu == gpu], gpu)
        console.print(
            f"{gpu}: site factor {found.factor:.2f} ({error_bar(found.error_share)}), from "
            f"{found.num_points} points"
        )
    console.print(
        "A site factor holds for all models of a GPUPool: set it instead of profiles, or make the "
        "profiles where it is 1; both together correct twice."
    )


def _table(points: Sequence[MeasuredPoint]) -> Table:
    table = Table(title="TPOT", title_justify="left", header_style="bold")
    table.add_column("deployment", overflow="fold")
    table.add_column("load", overflow="fold")
    for column in ("measured", "predicted", "with the points", "error bar"):
        table.add_column(column, justify="right", no_wrap=True)
    for point in points:
        arch, gpu = model_arch(point.model), gpu_type(point.gpu)
        found = corrections(points, arch, point.precision)
        corrected = found.of(gpu, point.tensor_parallel, point.pipeline_parallel)
        table.add_row(
            str(point.deployment),
            point.load,
            "-" if point.tpot_s is None else f"{point.tpot_s * 1000:.1f} ms",
            _predicted(point, None),
            _predicted(point, corrected),
            error_bar(corrected.error_share),
        )
    return table


def _predicted(point: MeasuredPoint, correction: Correction | None) -> str:
    if point.concurrency is None or point.request_rate_req_per_s is not None:
        return "-"  # the prediction is for closed loops
    found = predict_closed_loop(
        model_arch(point.model),
        gpu_type(point.gpu),
        tensor_parallel=point.tensor_parallel,
        pipeline_parallel=point.pipeline_parallel,
        precision=point.precision,
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        concurrency=point.concurrency,
        num_requests=point.num_requests,
        correction=correction,
    )
    return f"{found.tpot_ms:.1f} ms"
