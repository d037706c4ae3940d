"""``coral crds``: the custom resource definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def crds(
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-o", help="Write one file per resource into this folder."),
    ] = None,
) -> None:
    """Print the custom resource definitions, for example `coral crds | kubectl apply -f -`."""
    from coral_api.crds import crd_yaml, write_crds

    if output_dir is None:
        typer.echo(crd_yaml(), nl=False)
        return
    for path in write_crds(output_dir):
        typer.echo(path)
