"""Options, formats and exit statuses that several commands share.

A command's module imports what its options need and no more: what does the work is imported when
the command runs, so that ``coral --help`` and a mistyped option wait for no solver.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import typer

MOST_NODES = 12
"""Most node configurations of one instance that can be asked for."""

EXIT_NOT_ALL_SERVED = 3
"""Some demand is not served, or a model had to be left out."""


class OutputFormat(StrEnum):
    """How a result is written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


_CLUSTER_PANEL = "The GPUs: one of these, or Nodes among the files"
_SEARCH_PANEL = "How to search"

FILES = typer.Option(
    "--filename",
    "-f",
    help="Manifests: files or folders, `-` for standard input. Repeatable.",
    show_default=False,
)
CLUSTER = typer.Option(
    "--cluster",
    help="Cluster from a file: what `kubectl get nodes,pods -A -o yaml` (or `-o json`) prints.",
    show_default=False,
    rich_help_panel=_CLUSTER_PANEL,
)
INVENTORY = typer.Option(
    "--inventory",
    help="Cluster from an inventory: CSV (or YAML, JSON) with gpu, gpus_per_node, nodes, region.",
    show_default=False,
    rich_help_panel=_CLUSTER_PANEL,
)
KUBECONFIG = typer.Option(
    "--kubeconfig",
    help="Cluster read live through this kubeconfig.",
    show_default=False,
    rich_help_panel=_CLUSTER_PANEL,
)
CONTEXT = typer.Option(
    "--context",
    help="Context of the kubeconfig; its current one without.",
    rich_help_panel=_CLUSTER_PANEL,
)

SPACE = typer.Option(
    help="Placements to search: what vLLM runs, or the paper's.", rich_help_panel=_SEARCH_PANEL
)
MAX_NODES = typer.Option(
    help="Most node configurations of one instance.",
    min=1,
    max=MOST_NODES,
    rich_help_panel=_SEARCH_PANEL,
)
CACHE_DIR = typer.Option(
    help="Where templates are kept between runs; without: the user's cache folder.",
    show_default=False,
    rich_help_panel=_SEARCH_PANEL,
)


def time_limit(help_text: str) -> Any:  # noqa: ANN401 - what typer.Option returns
    """Return the option for the time limit of a solve; commands differ in what it bounds."""
    return typer.Option(
        "--time-limit",
        metavar="SECONDS",
        help=help_text,
        min=0.1,
        rich_help_panel=_SEARCH_PANEL,
    )


SOLVE_TIME_LIMIT = time_limit("Limit of each single solve.")
SWITCHING = typer.Option(
    "--switching/--no-switching",
    help="Whether costs contain the charge for starting instances, spread over the payback "
    "horizon. Without it the answers are about the steady state.",
)
PLAN_IN_FORCE = typer.Option(
    "--plan",
    help="The plan in force: a file of `coral plan -o json`, or a ServingPlan. What it runs costs "
    "nothing to keep; starting something else is charged.",
    show_default=False,
)
