"""Predictions for ``coral predict``: one case, or a CSV of them."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from coral_cli.predict import INPUT_COLUMNS
from coral_cli.render import error_bar
from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.errors import CatalogError, InvalidInputError
from coral_solver.domain.hardware import Precision
from coral_solver.performance.anchors import corrections
from coral_solver.performance.closed_loop import ClosedLoopPrediction, predict_closed_loop

if TYPE_CHECKING:
    from pathlib import Path

    from coral_solver.domain.profile import MeasuredPoint

MAX_CONCURRENCY = 100_000
"""More clients are a slip of the pen; the prediction follows each request of each of them."""

OUTPUT_COLUMNS = (
    "ttft_ms",
    "tpot_ms",
    "output_tokens_per_s",
    "requests_per_s",
    "error_share",
    "rests_on",
    "status",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One deployment under closed-loop load, as a row of the CSV gives it."""

    model: str
    gpu: str
    tp: int
    pp: int
    precision: str
    input_tokens: float
    output_tokens: float
    concurrency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is known of the place where the cases run.

    Attributes
    ----------
    measured
        Points of any deployments; those of a case's model correct its prediction.
    factor
        Measured over predicted speed.
    """

    measured: tuple[MeasuredPoint, ...]
    factor: float


def predict_case(case: Case, site: Site) -> ClosedLoopPrediction:
    """Predict one case.

    Raises
    ------
    CatalogError
        If a name is not known.
    """
    arch, gpu = model_arch(case.model), gpu_type(case.gpu)
    try:
        precision = Precision(case.precision.lower()) if case.precision else arch.native_precision
    except ValueError:
        known = ", ".join(Precision)
        raise CatalogError(
            f"precision {case.precision!r} is not known; use one of {known}",
            reason="UnknownPrecision",
        ) from None
    found = corrections(site.measured, arch, precision)
    return predict_closed_loop(
        arch,
        gpu,
        tensor_parallel=case.tp,
        pipeline_parallel=case.pp,
        precision=precision,
        input_tokens=case.input_tokens,
        output_tokens=case.output_tokens,
        concurrency=case.concurrency,
        correction=found.of(gpu, case.tp, case.pp).at_site(site.factor),
    )


def predict_file(points: Path, out: Path | None, site: Site) -> None:
    """Predict every row of a CSV, and write it with the predictions to a file or standard output.

    Raises
    ------
    InvalidInputError
        If a file cannot be read or written, or lacks a column.
    """
    columns, cases = _read_cases(points)
    rows = [row | _predict_row(row, site) for row in cases]
    text = io.StringIO(newline="")
    kept = [name for name in columns if name not in OUTPUT_COLUMNS]
    writer = csv.DictWriter(text, [*kept, *OUTPUT_COLUMNS], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    if out is None:
        typer.echo(text.getvalue(), nl=False)
        return
    try:
        out.write_text(text.getvalue(), encoding="utf-8", newline="")
    except OSError as fault:
        raise InvalidInputError([f"{out}: cannot be written: {fault.strerror}"]) from fault


def _read_cases(points: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a CSV."""
    try:
        with points.open(newline="", encoding="utf-8-sig") as source:
            reader = csv.DictReader(source)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise InvalidInputError([f"{points}: cannot be read: {fault}"]) from fault
    missing = [name for name in INPUT_COLUMNS if name not in columns]
    if missing:
        raise InvalidInputError(
            [
                f"{points}: missing columns: {', '.join(missing)}; the first line must name the"
                " columns, with commas between them"
            ]
        )
    return columns, rows


def _predict_row(row: dict[str, str], site: Site) -> dict[str, str]:
    """Predict one row; a row that cannot be read says so in its status, the others go on."""
    try:
        case = Case(
            model=row["model"],
            gpu=row["gpu"],
            tp=_count("tp", row["tp"]),
            pp=_count("pp", row["pp"]),
            precision=row["precision"],
            input_tokens=_number("input_tokens", row["input_tokens"]),
            output_tokens=_number("output_tokens", row["output_tokens"]),
            concurrency=read_concurrency(row["concurrency"]),
        )
        prediction = predict_case(case, site)
    except (CatalogError, InvalidInputError) as fault:
        return dict.fromkeys(OUTPUT_COLUMNS, "") | {"status": f"{fault.reason}: {fault}"}
    if prediction.status != "ok":
        return dict.fromkeys(OUTPUT_COLUMNS, "") | {"status": prediction.status}
    return {
        "ttft_ms": f"{prediction.ttft_ms:.3f}",
        "tpot_ms": f"{prediction.tpot_ms:.4f}",
        "output_tokens_per_s": f"{prediction.output_tokens_per_s:.3f}",
        "requests_per_s": f"{prediction.requests_per_s:.5f}",
        "error_share": f"{prediction.error_share:.3f}",
        "rests_on": prediction.rests_on,
        "status": prediction.status,
    }


def _number(column: str, text: str) -> float:
    """Read a positive number."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise InvalidInputError([f"{column} {text or ''!r} must be a positive number"])
    return value


def _count(column: str, text: str) -> int:
    value = _number(column, text)
    if not value.is_integer():
        raise InvalidInputError([f"{column} {text!r} must be a whole number"])
    return int(value)


def read_concurrency(text: str) -> float:
    """Read a number of clients, or ``inf``.

    Raises
    ------
    InvalidInputError
        If it is neither, or too many.
    """
    if (text or "").strip().lower() == "inf":
        return math.inf
    clients = _count("concurrency", text)
    if clients > MAX_CONCURRENCY:
        raise InvalidInputError(
            [f"concurrency {text!r} must be at most {MAX_CONCURRENCY}, or inf for a burst"]
        )
    return clients


def show_prediction(case: Case, prediction: ClosedLoopPrediction) -> None:
    """Print one prediction as a table.

    Raises
    ------
    InvalidInputError
        If there is none; says why.
    """
    console = Console(highlight=False)
    if prediction.status != "ok":
        raise InvalidInputError([f"no prediction: {prediction.message}"], reason=prediction.status)
    table = Table.grid(padding=(0, 2))
    table.add_row("deployment", f"{case.model} on {case.tp * case.pp} x {case.gpu}")
    table.add_row("parallelism", f"TP {case.tp}, PP {case.pp}")
    table.add_row("TTFT", f"{prediction.ttft_ms:.1f} ms")
    table.add_row("TPOT", f"{prediction.tpot_ms:.2f} ms")
    table.add_row("output", f"{prediction.output_tokens_per_s:.0f} tokens/s")
    table.add_row("requests", f"{prediction.requests_per_s:.3f} req/s")
    table.add_row("error bar", f"{error_bar(prediction.error_share)} of TPOT and throughput (80 %)")
    table.add_row("rests on", prediction.rests_on)
    console.print(table)
