"""Predictions beside measurements that nothing was fitted to, per GPU type.

    python -m benchmarks.performance_independent [--smoke]

Predicted over measured time (over 1: Coral is too pessimistic), median and the middle 80 %; for
throughputs the inverse, so that the ratio means the same. Other engines, old versions of vLLM and
single points from the web: what each row is worth is said in docs/model-performance.md. Then, for
every GPU type of the catalogue, what predictions on it rest on and the width of their error bar for
a dense model. Data and licences: benchmarks/data/SOURCES.md.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from statistics import median, quantiles

from benchmarks.performance_data import DATA

from coral_solver.catalog import gpu_type, gpu_types, model_arch
from coral_solver.domain.hardware import Precision
from coral_solver.performance.closed_loop import OK, predict_closed_loop
from coral_solver.performance.evidence import evidence

MS_PER_S = 1e3
FEWEST_FOR_QUANTILES = 5
EXAMPLE = "llama-3.1-8b"


def time_ratio(row: dict[str, str]) -> float | None:
    """Return predicted over measured time of a row; None where vLLM could not run it."""
    clients, output_tokens = float(row["clients"]), float(row["output_tokens"])
    p = predict_closed_loop(
        model_arch(row["model"]),
        gpu_type(row["gpu"]),
        tensor_parallel=int(row["tp"]),
        pipeline_parallel=int(row["pp"]),
        precision=Precision(row["precision"]),
        input_tokens=float(row["input_tokens"]),
        output_tokens=output_tokens,
        concurrency=clients,
        # A batch is sent once and waited for.
        num_requests=None if math.isinf(clients) else int(clients),
    )
    if p.status != OK:
        return None
    value = float(row["value"])
    times = {
        "batch_e2e_latency": (p.ttft_ms + p.tpot_ms * (output_tokens - 1)) / MS_PER_S / value,
        "prompt_batch_latency": p.ttft_ms / value,
        "tpot": p.tpot_ms / value,
        "output_throughput": value / p.output_tokens_per_s,
        "request_rate": value / p.requests_per_s,
    }
    return times[row["metric"]]


def print_ratios(*, smoke: bool) -> None:
    """Print the first table."""
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    refused = 0
    with (DATA / "independent_points.csv").open(newline="") as file:
        of = list(csv.DictReader(file))
    for row in of[::20] if smoke else of:
        ratio = time_ratio(row)
        if ratio is None:
            refused += 1
            continue
        key = (row["gpu"], row["source"], row["engine"], row["model"], f"TP{row['tp']}")
        ratios[*key, row["metric"]].append(ratio)
    print("Predicted over measured time")
    for key, values in sorted(ratios.items()):
        middle = ""
        if len(values) >= FEWEST_FOR_QUANTILES:
            cuts = quantiles(values, n=10)
            middle = f"[{cuts[0]:.2f}, {cuts[-1]:.2f}]"
        print(f"  {' '.join(key):78s} {median(values):5.2f} {middle:14s} {len(values):3d} rows")
    print(f"  no prediction: {refused} rows (longer than the model's context)")


def print_evidence() -> None:
    """Print the second table."""
    print(f"\nError bar of {EXAMPLE} in bf16 at TP 1, in percent, and what it rests on")
    arch = model_arch(EXAMPLE)
    for gpu in gpu_types():
        found = evidence(arch, Precision.BF16, gpu, 1)
        print(f"  {gpu.name:16s} {100 * found.error_share:4.0f}  {found.rests_on}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="every 20th row")
    print_ratios(smoke=parser.parse_args().smoke)
    print_evidence()


if __name__ == "__main__":
    main()
