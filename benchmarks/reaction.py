"""From a change of demand to patched Deployments, and the operator's memory, on a local cluster.

    python benchmarks/reaction.py [--nodes 100] [--changes 10]

A real API server, scheduler and operator; emulated GPU nodes of six kinds. Each change alternates
the demand of one model; the time runs from the moment that the API server has accepted the patch
until the Deployments of the new plan are the ones on the cluster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import yaml

from coral_api.crds import write_crds
from coral_api.multillmservice import MultiLLMService
from coral_api.plans import instances_from
from coral_api.servingplan import ServingPlan
from coral_demo.operator_process import OperatorProcess
from coral_demo.story import SERVICES
from coral_localcluster import LocalCluster, mixed_fleet, poll_until
from coral_operator.children.labels import SELECTOR

WAIT_S = 120.0


def live_objects(cluster: LocalCluster, *what: str) -> dict:
    """Return what kubectl reads, as JSON."""
    return json.loads(cluster.kubectl("get", *what, "--output=json"))


def wait_until_applied(cluster: LocalCluster, name: str, generation: int) -> ServingPlan:
    """Wait until the Deployments on the cluster are those of the plan for a generation."""

    def look() -> ServingPlan | None:
        service = MultiLLMService.from_manifest(live_objects(cluster, "multillmservice", name))
        if service.status.observed_generation != generation or not service.status.plan_ref:
            return None
        plan = ServingPlan.from_manifest(
            live_objects(cluster, "servingplan", service.status.plan_ref)
        )
        stages = sum(len(instance.template.stages) for instance in instances_from(plan))
        deployments = live_objects(cluster, "deployments", f"--selector={SELECTOR}")["items"]
        return plan if len(deployments) == stages else None

    return poll_until(look, timeout_s=WAIT_S, what=f"the plan of generation {generation}")


def main() -> None:
    """Run the changes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--changes", type=int, default=10)
    arguments = parser.parse_args()
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["mode"] = "Active"
    name = service["metadata"]["name"]
    with (
        tempfile.TemporaryDirectory(prefix="coral-reaction-") as folder,
        LocalCluster.ephemeral() as cluster,
    ):
        cluster.add_nodes(mixed_fleet(arguments.nodes))
        write_crds(Path(folder) / "crds")
        cluster.kubectl("apply", "--server-side", "-f", str(Path(folder) / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        with OperatorProcess(cluster.kubeconfig, Path(folder) / "operator") as operator:
            cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(service))
            start_s = time.perf_counter()
            wait_until_applied(cluster, name, generation=1)
            first_s = time.perf_counter() - start_s
            changes_s = []
            for number in range(arguments.changes):
                demand = 40 if number % 2 == 0 else 10
                service["spec"]["models"][number % 3]["demand"]["requestsPerSecond"] = demand
                cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(service))
                start_s = time.perf_counter()
                live = live_objects(cluster, "multillmservice", name)
                wait_until_applied(cluster, name, live["metadata"]["generation"])
                changes_s.append(time.perf_counter() - start_s)
            memory = operator.resident_bytes()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; {arguments.nodes} nodes, 3 models, "
        f"{arguments.changes} changes of demand"
    )
    print(f"first plan and its Deployments: {first_s:.2f} s (no template cache)")
    print(
        f"change to patched Deployments: median {statistics.median(changes_s):.2f} s, "
        f"worst {max(changes_s):.2f} s"
    )
    for process, size_bytes in memory.items():
        print(f"resident memory of {process}: {size_bytes / 1e6:.0f} MB")
    print(f"resident memory in all: {sum(memory.values()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
