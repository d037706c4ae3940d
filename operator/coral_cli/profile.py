"""``coral profile``: measured points, from benchmark results to PerformanceProfiles."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coral_cli.options import OutputFormat
from coral_solver.domain.hardware import Precision

profile_app = typer.Typer(
    no_args_is_help=True,
    help="Measured points that correct the predictions: PerformanceProfiles.",
)


class ManifestFormat(StrEnum):
    """How a manifest is written."""

    YAML = "yaml"
    JSON = "json"


@profile_app.command("import")
def import_results(
    files: Annotated[
        list[Path],
        typer.Argument(help="Results of `vllm bench serve --save-result`, reports of `guidellm`."),
    ],
    gpu: Annotated[str, typer.Option(help="GPU type that was measured, for example `H100`.")],
    model: Annotated[
        str | None, typer.Option(help="Model; without: the one that the files name.")
    ] = None,
    tp: Annotated[int, typer.Option(help="Tensor-parallel size.", min=1, max=64)] = 1,
    pp: Annotated[int, typer.Option(help="Pipeline-parallel size.", min=1, max=64)] = 1,
    precision: Annotated[
        Precision | None, typer.Option(help="Weights as served; without: as published.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the PerformanceProfile; without: what it is of.")
    ] = None,
    output: Annotated[
        ManifestFormat, typer.Option("--output", "-o", help="Format of the manifest.")
    ] = ManifestFormat.YAML,
) -> None:
    """Turn benchmark results of one deployment into a PerformanceProfile.

    `coral profile import results/*.json --model qwen3-32b --gpu H100 --tp 2 | kubectl apply -f -`

    `coral profile import report.json --gpu L4 > profile.yaml; coral plan -f services.yaml -f
    profile.yaml --inventory nodes.csv`

    The manifest goes to standard output; what looks wrong in the runs goes to standard error.
    """
    from coral_cli.documents import write_document
    from coral_cli.profile_import import manifest_of_results

    manifest = manifest_of_results(
        files,
        gpu=gpu,
        model=model,
        tensor_parallel=tp,
        pipeline_parallel=pp,
        precision=precision,
        name=name,
    )
    write_document(manifest, OutputFormat(output))


@profile_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="PerformanceProfiles, files or folders.")],
) -> None:
    """Compare measured points with what is predicted, without them and with them.

    `coral profile check profiles/`

    Also says how fast each GPU type is beside the prediction over all its deployments: what to set
    as `siteFactor` of a GPUPool, for models that nobody has measured there.
    """
    from coral_cli.profile_check import show_check

    show_check(files)
