"""Command line of the local cluster."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import Annotated

import typer

from coral_localcluster.build import ensure_toolset
from coral_localcluster.controlplane import (
    DEFAULT_NAME,
    ControlPlaneProvider,
    LocalCluster,
    kept_cluster_names,
)
from coral_localcluster.errors import LocalClusterError
from coral_localcluster.nodes import GPU_TAINT, parse_fleet
from coral_localcluster.provider import ClusterPhase

PROGRAM = "python -m coral_localcluster"

app = typer.Typer(
    name="coral-localcluster",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help=(
        "A real Kubernetes control plane on this machine, with GPU nodes that only say they "
        "exist.\n\n"
        "etcd, the API server, the scheduler and the controllers are the real ones, built from "
        "source once; KWOK plays the kubelets, so a thousand GPU nodes fit on a laptop and pods "
        "become Running without executing anything. It needs no root, no container engine and "
        "no GPU.\n\n"
        "Typical use: start, add-nodes, then anything that speaks Kubernetes, then stop."
    ),
)

NameOption = Annotated[
    str, typer.Option("--name", "-n", help="Name of the cluster; several may run side by side.")
]


class CapacityChoice(StrEnum):
    """Values of ``--capacity-type``."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    RESERVED = "reserved"


@app.command()
def build() -> None:
    """Build the cluster's programs into the cache, if they are not there yet.

    Takes 2 to 10 minutes the first time, needs Go, and is done by `start` where
    necessary. The cache is ~/.cache/coral, or $CORAL_CACHE_DIR.
    """
    typer.echo(ensure_toolset().root)


@app.command()
def start(
    name: NameOption = DEFAULT_NAME,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds to wait until it is ready.")
    ] = 60.0,
) -> None:
    """Start a cluster, which stays until it is stopped.

    Starting one that runs changes nothing. A broken one (after a crash or a
    reboot) is replaced by a fresh, empty one.
    """
    began_s = time.monotonic()
    cluster = LocalCluster.start(name, timeout_s=timeout_s)
    if cluster.was_running:
        typer.echo(f"# cluster {name} is running already; nothing was changed")
    else:
        typer.echo(f"# cluster {name} is ready after {time.monotonic() - began_s:.1f} s")
    typer.echo(f"export KUBECONFIG={cluster.kubeconfig}")
    typer.echo(f"# add nodes:  {PROGRAM} add-nodes --name {name} H100x8:2 L4x4:10")
    typer.echo(f"# stop it:    {PROGRAM} stop --name {name}")


@app.command()
def stop(name: NameOption = DEFAULT_NAME) -> None:
    """End a cluster and remove its files; also cleans up after a crash."""
    if ControlPlaneProvider().stop(name):
        typer.echo(f"cluster {name} is stopped and removed")
    else:
        typer.echo(f"there is no cluster {name}; nothing to do")


@app.command()
def status(
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="One cluster; without it, all of them.")
    ] = None,
) -> None:
    """Show clusters and their processes; exit status 1 if one asked for does not run."""
    provider = ControlPlaneProvider()
    names = [name] if name is not None else kept_cluster_names()
    if not names:
        typer.echo(f"no cluster; start one with `{PROGRAM} start`")
    all_run = True
    for each in names:
        found = provider.status(each)
        all_run = all_run and found.phase is ClusterPhase.RUNNING
        where = f"  {found.server_url}  {found.kubeconfig}" if found.kubeconfig else ""
        typer.echo(f"{found.name}: {found.phase}{where}")
        for component in found.components:
            alive = "running" if component.is_running else "DEAD"
            typer.echo(f"  {component.component:<24} pid {component.pid:<8} {alive}")
    if name is not None and not all_run:
        raise typer.Exit(1)


@app.command()
def add_nodes(
    fleet: Annotated[
        list[str],
        typer.Argument(
            help="Nodes as GPUxCOUNT:NODES, such as H100x8:2 (two nodes of eight H100).",
            metavar="GPUxCOUNT:NODES...",
        ),
    ],
    name: NameOption = DEFAULT_NAME,
    region: Annotated[str, typer.Option(help="Region label; zones a, b and c in turn.")] = (
        "us-east-1"
    ),
    capacity_type: Annotated[
        CapacityChoice | None, typer.Option(help="Karpenter's capacity-type label.")
    ] = None,
    has_taint: Annotated[
        bool, typer.Option("--taint", help="Put the taint nvidia.com/gpu=present:NoSchedule on.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds to wait until all are Ready.")
    ] = 120.0,
) -> None:
    """Make sure that these GPU nodes exist, with the labels of GPU feature discovery.

    Names count from 000 for each GPU, region and capacity type, so the same
    command twice makes no more nodes than once.

    Example: add-nodes H100x8:2 L40Sx4:6 --region eu-west-1 --capacity-type spot
    """
    nodes = parse_fleet(
        fleet,
        region=region,
        capacity_type=None if capacity_type is None else capacity_type.value,
        taints=(GPU_TAINT,) if has_taint else (),
    )
    began_s = time.monotonic()
    LocalCluster.attach(name).add_nodes(nodes, timeout_s=timeout_s)
    elapsed_s = time.monotonic() - began_s
    num_gpus = sum(node.gpu_count for node in nodes)
    typer.echo(f"{len(nodes)} nodes with {num_gpus} GPUs are Ready after {elapsed_s:.1f} s")


@app.command()
def remove_nodes(
    nodes: Annotated[list[str] | None, typer.Argument(help="Names of nodes.")] = None,
    name: NameOption = DEFAULT_NAME,
    is_all: Annotated[
        bool, typer.Option("--all", help="Remove every node that add-nodes made.")
    ] = False,
) -> None:
    """Delete nodes, as if the machines were taken away."""
    if bool(nodes) == is_all:
        raise typer.BadParameter("give either names of nodes or --all")
    LocalCluster.attach(name).remove_nodes(nodes or None)
    typer.echo("removed")


@app.command()
def kubeconfig(name: NameOption = DEFAULT_NAME) -> None:
    """Print the path of a cluster's kubeconfig.

    Example: KUBECONFIG=$(python -m coral_localcluster kubeconfig) kubectl get nodes
    """
    typer.echo(LocalCluster.attach(name).kubeconfig)


def main() -> None:
    """Run the command line; a fault is one line on stderr and exit status 1."""
    try:
        app(prog_name=PROGRAM)
    except LocalClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
