"""``coral predict``: latencies and throughput of one deployment, or of a CSV of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INPUT_COLUMNS = (
    "model",
    "gpu",
    "tp",
    "pp",
    "precision",
    "input_tokens",
    "output_tokens",
    "concurrency",
)


def predict(
    model: Annotated[
        str | None, typer.Option(help="Model: a catalogue name, a hub id, or a config.json.")
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="GPU type, for example `H100` or `L4`.")] = None,
    tp: Annotated[int, typer.Option(help="Tensor-parallel size.", min=1)] = 1,
    pp: Annotated[int, typer.Option(help="Pipeline-parallel size.", min=1)] = 1,
    precision: Annotated[
        str, typer.Option(help="Weights: bf16, fp16, fp8, mxfp4; empty: as published.")
    ] = "",
    input_tokens: Annotated[float, typer.Option(help="Input tokens of a request.")] = 1024,
    output_tokens: Annotated[float, typer.Option(help="Output tokens of a request.")] = 128,
    concurrency: Annotated[
        str, typer.Option(help="Requests in flight; `inf`: 1,000 requests sent at once.")
    ] = "16",
    profile: Annotated[
        list[Path] | None,
        typer.Option(
            help="PerformanceProfiles, files or folders: their points correct the prediction. "
            "Repeatable."
        ),
    ] = None,
    site_factor: Annotated[
        float,
        typer.Option(help="Measured over predicted speed at your site.", min=0.05, max=20.0),
    ] = 1.0,
    points: Annotated[
        Path | None,
        typer.Option(help=f"CSV of cases instead; columns {', '.join(INPUT_COLUMNS)}."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the CSV; standard output without.")
    ] = None,
) -> None:
    """Predict TTFT, TPOT and throughput of aggregated serving under closed-loop load.

    One case: `coral predict --model qwen3-32b --gpu H100 --tp 2 --concurrency 64`

    Many: `coral predict --points in.csv --out out.csv` keeps every column and adds ttft_ms,
    tpot_ms, output_tokens_per_s, requests_per_s, error_share (half width of the 80 % error bar of
    TPOT and throughput), rests_on and status (`ok`, or why there is no prediction).

    One measured point of a deployment corrects all predictions for it: `coral profile import
    result.json --gpu H100 --tp 2 > mine.yaml`, then `coral predict --profile mine.yaml ...`
    """
    from coral_api.files import load_manifests
    from coral_cli.inputs import measured_points
    from coral_cli.predict_cases import (
        Case,
        Site,
        predict_case,
        predict_file,
        read_concurrency,
        show_prediction,
    )

    site = Site(measured=measured_points(load_manifests(profile or [])), factor=site_factor)
    if points is not None:
        if model is not None or gpu is not None:
            raise typer.BadParameter("give a CSV with --points, or --model and --gpu, not both")
        predict_file(points, out, site)
        return
    if out is not None:
        raise typer.BadParameter("--out is for the CSV of --points")
    if model is None or gpu is None:
        raise typer.BadParameter("give --model and --gpu, or a CSV with --points")
    case = Case(
        model=model,
        gpu=gpu,
        tp=tp,
        pp=pp,
        precision=precision,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        concurrency=read_concurrency(concurrency),
    )
    show_prediction(case, predict_case(case, site))
