"""A real API server takes the children, and a real scheduler puts them where the plan says."""

from __future__ import annotations

import copy
import json

import pytest
from engine_pod_cases import NAMESPACE, cases

from coral_localcluster import gpu_node, poll_until

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def namespaced(cluster):
    """Give the local cluster the namespace of the test service."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize("name", sorted(cases()))
def test_the_api_server_takes_every_field_of_every_child(namespaced, name):
    for manifest in cases()[name].children().manifests:
        arguments = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
        namespaced.kubectl(*arguments, stdin=json.dumps(manifest))


def test_every_stage_runs_on_the_node_that_the_plan_gave_it(namespaced):
    # More room elsewhere: the scheduler alone would rather take the empty nodes.
    nodes = [
        gpu_node("l40s-a", "L40S", 2),
        gpu_node("l40s-b", "L40S", 4),
        gpu_node("a100-a", "A100-80GB", 8),
        gpu_node("a100-b", "A100-80GB", 8),
    ]
    namespaced.add_nodes(nodes)
    try:
        children = [
            copy.deepcopy(m) for m in cases()["pipeline-on-unlike-gpus"].children().manifests
        ]
        for child in children:
            # The service itself is not there; the garbage collector would take its children.
            del child["metadata"]["ownerReferences"]
            namespaced.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(child))

        def placed():
            listed = json.loads(namespaced.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))
            return {
                pod["metadata"]["labels"]["serving.coral.dev/stage"]: pod["spec"].get("nodeName")
                for pod in listed["items"]
                if pod["status"]["phase"] == "Running"
            }

        expected = {"0": "l40s-a", "1": "a100-a"}
        poll_until(lambda: placed() == expected, timeout_s=60.0, what="both stages to run")
    finally:
        namespaced.remove_nodes([node.name for node in nodes])
