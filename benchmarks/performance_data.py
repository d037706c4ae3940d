"""Measured vLLM points that the performance model is fitted to and judged by, with their filter.

Used by `performance_errors.py`, `performance_fit.py` and `performance_left_out.py`. Data and
licences: benchmarks/data/SOURCES.md.

Left out, because the measurement itself cannot be right or measures something else: gpt-oss at
concurrency 512 (preemption); gpt-oss on H100 at TP4 C32 and TP8 C64 (1.6 to 2 times off its
neighbours); Qwen3-32B fp8 (three rows); rows where the KV cache holds less than 90 % of the
clients (preemption inside TPOT); rows of the first file that AIConfigurator makes no prediction
for.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.hardware import Precision
from coral_solver.domain.workload import ModelArch
from coral_solver.performance.closed_loop import ClosedLoopPrediction, predict_closed_loop
from coral_solver.performance.parameters import DEFAULT_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coral_solver.performance.evidence import Correction
    from coral_solver.performance.parameters import PerformanceParameters

DATA = Path(__file__).parent / "data"
GPUS = {"h100_sxm": "H100", "h200_sxm": "H200"}
PRECISIONS = {"": Precision.BF16, "fp8": Precision.FP8, "fp4": Precision.MXFP4}
CLEAR_GAP = 0.2
LEAST_RUNNING_SHARE = 0.9

MINIMAX = ModelArch(
    name="minimax-m2.5",
    hub_id="MiniMaxAI/MiniMax-M2.5",
    layers=62,
    hidden_size=3072,
    attention_heads=48,
    kv_heads=8,
    head_dim=128,
    intermediate_size=1536,
    vocab_size=200064,
    experts=256,
    experts_per_token=8,
    moe_intermediate_size=1536,
    max_context_tokens=196608,
    # Published in fp8; served with whole experts per GPU, so that no fp8 block is cut.
    native_precision=Precision.BF16,
    source="MiniMaxAI/MiniMax-M2.5 config.json as quoted in public code",
)
"""A mixture of experts that the catalogue does not have: fp8, 256 experts, 8 per token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured closed-loop point; times in ms, throughput in output tokens/s.

    ``measured`` and ``peer`` (AIConfigurator; NaN where it predicts nothing) are
    (TPOT, TTFT, throughput).
    """

    model: str
    arch: ModelArch
    precision: Precision
    gpu: str
    tensor_parallel: int
    input_tokens: float
    output_tokens: float
    clients: float
    measured: tuple[float, float, float]
    peer: tuple[float, float, float]

    @property
    def deployment(self) -> tuple[str, str, int]:
        """Model, GPU, tensor parallel size."""
        return self.model, self.gpu, self.tensor_parallel

    @property
    def load(self) -> tuple[float, float, float]:
        """Lengths and clients."""
        return self.input_tokens, self.output_tokens, self.clients


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A row with Coral's prediction: (TPOT, TTFT, throughput)."""

    row: Row
    coral: tuple[float, float, float]


def throughput(ttft_ms: float, tpot_ms: float, clients: float, output_tokens: float) -> float:
    """Return the output tokens/s of clients that ask again as soon as they are answered."""
    return clients * output_tokens / (ttft_ms + tpot_ms * (output_tokens - 1)) * 1e3


def _trusted(row: dict[str, str]) -> bool:
    """Return whether a row passes the filter that the module's docstring states."""
    clients, size = float(row["bs"]), int(row["tp"])
    if "MiniMax" in row["model"]:
        return True
    if "" in (row["ttft_pred"], row["tpot_pred"]):
        return False
    if "gpt-oss" in row["model"]:
        odd = row["system"] == "h100_sxm" and (size, clients) in ((4, 32.0), (8, 64.0))
        return clients != 512 and not odd
    return not ("Qwen3" in row["model"] and row["precision"] == "fp8")


def rows(*files: str) -> list[Row]:
    """Return the trusted rows of data files whose clients fit into the KV cache."""
    found = []
    for name in files:
        with (DATA / name).open(newline="") as file:
            found += [_row(row) for row in csv.DictReader(file) if _trusted(row)]
    return [row for row in found if _kept(predict(row))]


def _kept(prediction: ClosedLoopPrediction) -> bool:
    return prediction.status == "ok" and prediction.running_share >= LEAST_RUNNING_SHARE


def _row(row: dict[str, str]) -> Row:
    arch = MINIMAX if "MiniMax" in row["model"] else model_arch(row["model"])
    clients, output_tokens = float(row["bs"]), float(row["osl"])
    figures = []
    for kind in ("meas", "pred"):
        tpot, ttft = (float(row[f"{name}_{kind}"] or "nan") for name in ("tpot", "ttft"))
        figures.append((tpot, ttft, throughput(ttft, tpot, clients, output_tokens)))
    return Row(
        model=row["model"].split("/")[1],
        arch=arch,
        precision=PRECISIONS[row["precision"]],
        gpu=GPUS[row["system"]],
        tensor_parallel=int(row["tp"]),
        input_tokens=float(row["isl"]),
        output_tokens=output_tokens,
        clients=clients,
        measured=figures[0],
        peer=figures[1],
    )


def predict(
    row: Row,
    parameters: PerformanceParameters = DEFAULT_PARAMETERS,
    correction: Correction | None = None,
) -> ClosedLoopPrediction:
    """Predict a row."""
    return predict_closed_loop(
        row.arch,
        gpu_type(row.gpu),
        tensor_parallel=row.tensor_parallel,
        precision=row.precision,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        concurrency=row.clients,
        parameters=parameters,
        correction=correction,
    )


def points(
    of: Iterable[Row], parameters: PerformanceParameters = DEFAULT_PARAMETERS
) -> list[Point]:
    """Predict rows."""
    found = []
    for row in of:
        p = predict(row, parameters)
        found.append(Point(row=row, coral=(p.tpot_ms, p.ttft_ms, p.output_tokens_per_s)))
    return found


def errors(of: Sequence[Point], figure: int, *, peer: bool = False) -> list[float]:
    """Return the absolute relative errors of a figure: 0 TPOT, 1 TTFT, 2 throughput."""
    return [
        abs((point.row.peer if peer else point.coral)[figure] / point.row.measured[figure] - 1)
        for point in of
    ]


def summary(values: Sequence[float]) -> str:
    """Return median and 90th percentile in percent."""
    return f"{100 * median(values):5.1f} /{100 * quantiles(values, n=10)[-1]:5.1f}"


def ranked_right(of: Iterable[Point], *, peer: bool = False) -> tuple[int, int]:
    """Count the pairs of deployments at the same load with a clear gap, and those ranked right.

    A pair is two (model, GPU, tensor parallel size) with the same lengths and number of clients;
    the gap is in throughput per GPU.
    """
    by_load: dict[tuple[float, float, float], list[Point]] = defaultdict(list)
    for point in of:
        by_load[point.row.load].append(point)
    right = pairs = 0
    for group in by_load.values():
        for i, a in enumerate(group):
            for b in group[:i]:
                sizes = b.row.tensor_parallel / a.row.tensor_parallel
                ratio = a.row.measured[2] / b.row.measured[2] * sizes
                if max(ratio, 1 / ratio) < 1 + CLEAR_GAP:
                    continue
                of_a, of_b = (a.row.peer, b.row.peer) if peer else (a.coral, b.coral)
                pairs += 1
                right += (of_a[2] / of_b[2] * sizes > 1) == (ratio > 1)
    return right, pairs
