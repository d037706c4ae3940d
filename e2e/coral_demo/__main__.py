"""Run the demo: ``python -m coral_demo``; exit status 1 where something did not happen."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from coral_demo.operator_process import OperatorProcess
from coral_demo.story import NODES, Story, gpu_fleet
from coral_localcluster import LocalCluster, WaitTimeoutError

CLUSTER_NAME = "coral-demo"


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the cluster up and say how to use it.")
    ] = False,
) -> None:
    """Show the whole loop on a real API server and scheduler with emulated GPU nodes."""
    console = Console(highlight=False, width=max(110, Console().width))
    console.rule("Coral demo")
    console.print(
        "Real: the API server, the scheduler, the planner, the operator. Emulated: the GPU nodes. "
        "[bold]The pods on them execute nothing[/]: this shows planning, scheduling and "
        "re-planning, not inference.\n"
    )
    LocalCluster.start(CLUSTER_NAME).stop()  # what an earlier demo may have left
    cluster = LocalCluster.start(CLUSTER_NAME)
    is_done = False
    try:
        with tempfile.TemporaryDirectory(prefix="coral-demo-") as folder:
            console.print(f"starting {NODES} emulated GPU nodes and the operator ...")
            cluster.add_nodes(gpu_fleet())
            story = Story(cluster, console)
            story.install()
            with OperatorProcess(cluster.kubeconfig, Path(folder)) as operator:
                try:
                    story.tell()
                except WaitTimeoutError as fault:
                    story.fail(str(fault))
                    console.print("end of the operator's log:", style="bold")
                    console.print(operator.log_tail(), markup=False)
        is_done = story.end()
    finally:
        if keep:
            console.print(
                f"\nThe cluster is up, the operator has stopped. To look at it:\n"
                f"  export KUBECONFIG={cluster.kubeconfig}\n"
                f"  kubectl get multillmservices,servingplans,nodes\n"
                f"  kubectl get deployments,pods -o wide\n"
                f"To remove it:\n"
                f"  {sys.executable} -m coral_localcluster stop --name {CLUSTER_NAME}"
            )
        else:
            cluster.stop()
    if not is_done:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(demo)
