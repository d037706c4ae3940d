"""Errors of the performance model on measured points, beside AIConfigurator's on the same rows.

    python -m benchmarks.performance_errors

Median / 90th percentile of the absolute relative error, in percent. The parameters were fitted to
the first table's rows (all models together, none per row), so its figures are in-sample; left-out
errors: `performance_left_out.py`. The other tables check what was not fitted. Which rows count:
`performance_data.py`. Data and licences: benchmarks/data/SOURCES.md.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.performance_data import DATA, errors, points, ranked_right, rows, summary

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.hardware import Precision
from coral_solver.performance.closed_loop import predict_closed_loop
from coral_solver.performance.parameters import DEFAULT_PARAMETERS
from coral_solver.performance.steps import StepLoad, step_model

if TYPE_CHECKING:
    from benchmarks.performance_data import Point

TRTLLM_GPUS = {
    "A100-SXM-80GB": "A100-80GB",
    "H100-SXM": "H100",
    "H200-SXM": "H200",
    "GH200": "GH200",
    "L40S": "L40S",
}
MACHINES = {
    "a100": ("A100-40GB", 1),
    "v100": ("V100-16GB", 1),
    "l4": ("L4", 1),
    "l4x2": ("L4", 2),
    "t4": ("T4", 1),
    "t4x2": ("T4", 2),
    "t4x4": ("T4", 4),
}
LAYER_MODELS = {"llama1_30b": "llama-30b", "llama2_70b": "llama-2-70b"}
# Mean lengths of the profiles' workload: 750 input and 240 output tokens.
LAYER_DECODE_CONTEXT_TOKENS = 870.0
LAYER_PROMPT_CONTEXT_TOKENS = 375.0
# The published fp8 rows keep the KV cache in fp8 as well.
FP8_KV_CACHE = replace(DEFAULT_PARAMETERS, kv_bytes_per_value=1.0)


def vllm_points() -> list[Point]:
    """Predict every trusted row of the first table."""
    return points(rows("vllm_points.csv"))


def print_vllm(found: list[Point]) -> None:
    """Print the first table, and the rows that AIConfigurator does not predict."""
    print("vLLM in closed loop            TPOT           TTFT           throughput")
    groups: dict[str, list[Point]] = defaultdict(list)
    for point in found:
        groups[f"{point.row.model} {point.row.gpu}"].append(point)
    groups["all"] = found
    for name, group in groups.items():
        print(f"  {name} ({len(group)} rows)")
        for label, peer in (("Coral", False), ("AIConfigurator", True)):
            cells = "  ".join(summary(errors(group, i, peer=peer)) for i in range(3))
            print(f"    {label:24s} {cells}")
    more = points(rows("minimax_points.csv"))
    cells = "  ".join(summary(errors(more, i)) for i in range(3))
    print(f"  {more[0].row.model} H100, H200 ({len(more)} rows)\n    {'Coral':24s} {cells}")
    for label, peer in (("Coral", False), ("AIConfigurator", True)):
        right, pairs = ranked_right(found, peer=peer)
        print(f"  pairs with a gap over 20 % ranked right, {label}: {100 * right / pairs:.1f} %")
    print(f"  ({pairs} pairs at equal lengths and clients, by throughput per GPU)")


def print_trtllm() -> None:
    """Print the second table: saturated throughput of another engine, not fitted."""
    ratios: dict[str, list[float]] = defaultdict(list)
    refused = 0
    with (DATA / "trtllm_saturated.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            precision = Precision(row["precision"])
            prediction = predict_closed_loop(
                model_arch(f"meta-llama/{row['model']}"),
                gpu_type(TRTLLM_GPUS[row["gpu"]]),
                tensor_parallel=int(row["tp"]),
                pipeline_parallel=int(row["pp"]),
                precision=precision,
                input_tokens=float(row["input_tokens"]),
                output_tokens=float(row["output_tokens"]),
                concurrency=float("inf"),
                max_num_seqs=2048,
                max_num_batched_tokens=8192,
                parameters=FP8_KV_CACHE if precision is Precision.FP8 else DEFAULT_PARAMETERS,
            )
            if prediction.status != "ok":
                refused += 1
                continue
            key = f"{row['model']} {row['gpu']} {row['precision']} TP{row['tp']}"
            ratio = prediction.output_tokens_per_s / float(row["output_tokens_per_s"])
            ratios[key].append(ratio)
    print("\nTensorRT-LLM, saturated: predicted (as vLLM) over published output tokens/s")
    for key, values in sorted(ratios.items()):
        print(f"  {key:36s} median {median(values):.2f}  ({len(values)} rows)")
    print(f"  no prediction: {refused} rows; another engine; its fp8 rows have an fp8 KV cache")


def print_layers() -> None:
    """Print the third table: times of one layer."""
    ratios: dict[str, list[float]] = defaultdict(list)
    with (DATA / "layer_times.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            gpu, size = MACHINES[row["machine"]]
            steps = step_model(
                model_arch(LAYER_MODELS[row["model"]]),
                gpu_type(gpu),
                precision=Precision.FP16,
                tensor_parallel=size,
            )
            tokens = float(row["batch_tokens"])
            decode = StepLoad(tokens, LAYER_DECODE_CONTEXT_TOKENS, 0.0, 0.0, tokens)
            prompt = StepLoad(0.0, 0.0, tokens, LAYER_PROMPT_CONTEXT_TOKENS, 1.0)
            load = decode if row["phase"] == "decode" else prompt
            predicted_ms = float(steps.layer_s(load)) * 1e3
            ratios[f"{row['machine']:5s} {row['model']} {row['phase']}"].append(
                predicted_ms / float(row["time_ms_per_layer"])
            )
    print("\nTime of one layer: predicted over measured")
    for key, values in sorted(ratios.items()):
        print(f"  {key:36s} median {median(values):.2f}  ({len(values)} rows)")


def main() -> None:
    """Print the tables; they take two seconds, so that a smoke run prints all of them too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="the same")
    parser.parse_args()
    print_vllm(vllm_points())
    print_trtllm()
    print_layers()


if __name__ == "__main__":
    main()
