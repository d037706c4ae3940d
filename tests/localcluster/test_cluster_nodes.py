"""Nodes and pods on the real control plane; one cluster for all of these tests."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from coral_localcluster import (
    DELETE_DELAY_ANNOTATION,
    GPU_TAINT,
    READY_DELAY_ANNOTATION,
    ClusterApiError,
    ClusterPhase,
    GpuNodeSpec,
    LocalCluster,
    ReadyStatus,
    WaitTimeoutError,
    gpu_node,
    gpu_nodes,
    poll_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cluster


@pytest.fixture
def prefix(cluster: LocalCluster) -> Iterator[str]:
    """Return a prefix for names of nodes; those nodes are gone after the test."""
    word = f"lc{uuid.uuid4().hex[:6]}"
    yield word
    names = [item["metadata"]["name"] for item in get(cluster, "nodes")["items"]]
    cluster.remove_nodes([name for name in names if name.startswith(word)])


@pytest.fixture
def namespace(cluster: LocalCluster) -> Iterator[str]:
    """Return a namespace of its own for the test."""
    with cluster.namespace() as name:
        yield name


def get(cluster: LocalCluster, *what: str) -> dict[str, Any]:
    """Return what `kubectl get` finds."""
    found: dict[str, Any] = json.loads(cluster.kubectl("get", *what, "-o", "json"))
    return found


def pod(name: str, on: str, gpus: int = 1, annotations: dict[str, str] | None = None) -> str:
    """Return a pod that wants GPUs on the nodes of a prefix."""
    limits = {"nvidia.com/gpu": str(gpus)}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {
                "nodeSelector": {"test": on},
                "containers": [{"name": "c", "image": "none", "resources": {"limits": limits}}],
            },
        }
    )


def wait_for_pod(cluster: LocalCluster, namespace: str, name: str, phase: str) -> dict[str, Any]:
    """Wait until a pod is in a phase, and return it."""

    def found() -> dict[str, Any] | None:
        item = get(cluster, "pod", name, "-n", namespace)
        return item if item["status"]["phase"] == phase else None

    return poll_until(found, timeout_s=20, interval_s=0.1, what=f"pod {name} to be {phase}")


def taints_of(cluster: LocalCluster, node: str) -> dict[str, str]:
    """Return a node's taints, effect by key."""
    spec = get(cluster, "node", node)["spec"]
    return {taint["key"]: taint["effect"] for taint in spec.get("taints", ())}


def conditions_of(cluster: LocalCluster, node: str) -> dict[str, str]:
    """Return a node's conditions, status by type."""
    status = get(cluster, "node", node)["status"]
    return {item["type"]: item["status"] for item in status["conditions"]}


def test_server_is_the_pinned_version(cluster: LocalCluster) -> None:
    """The programs carry their version, which clients check."""
    version = json.loads(cluster.kubectl("version", "-o", "json"))
    assert version["serverVersion"]["gitVersion"] == "v1.36.3"


def test_status_sees_a_sound_cluster(cluster: LocalCluster) -> None:
    """Every component is listed and alive."""
    status = cluster.status()
    assert status.phase is ClusterPhase.RUNNING
    assert [item.component for item in status.components] == [
        "watchdog",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    ]
    assert all(item.is_running for item in status.components)


def test_nodes_are_ready_and_as_described(cluster: LocalCluster, prefix: str) -> None:
    """Labels, taints and allocatable arrive as they were written, and nodes take pods."""
    specs = gpu_nodes(3, "A100-80GB", 8, name_prefix=prefix, taints=(GPU_TAINT,))
    cluster.add_nodes(specs)
    for spec in specs:
        node = get(cluster, "node", spec.name)
        assert spec.manifest()["metadata"]["labels"].items() <= node["metadata"]["labels"].items()
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        assert taints_of(cluster, spec.name) == {"nvidia.com/gpu": "NoSchedule"}
        assert conditions_of(cluster, spec.name)["Ready"] == "True"


def test_pod_runs_on_a_gpu_node(cluster: LocalCluster, prefix: str, namespace: str) -> None:
    """The real scheduler places a pod by its GPUs, and KWOK says that it runs."""
    cluster.add_nodes([gpu_node(f"{prefix}-a", "L4", 4, extra_labels={"test": prefix})])
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("p", prefix, gpus=3))
    running = wait_for_pod(cluster, namespace, "p", "Running")
    assert running["spec"]["nodeName"] == f"{prefix}-a"
    assert {"type": "Ready", "status": "True"}.items() <= next(
        item for item in running["status"]["conditions"] if item["type"] == "Ready"
    ).items()
    # One of four GPUs is left, so a pod that wants two has to wait.
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("q", prefix, gpus=2))
    message = poll_until(
        lambda: [
            item["message"]
            for item in get(cluster, "pod", "q", "-n", namespace)["status"].get("conditions", ())
            if item.get("reason") == "Unschedulable"
        ],
        timeout_s=20,
        interval_s=0.1,
        what="the scheduler's refusal",
    )
    assert "Insufficient nvidia.com/gpu" in message[0]


def test_pods_can_be_slow(cluster: LocalCluster, prefix: str, namespace: str) -> None:
    """A pod may ask to stay Pending, and to stay Terminating, for a while."""
    cluster.add_nodes([gpu_node(f"{prefix}-a", "L4", 4, extra_labels={"test": prefix})])
    slow = {READY_DELAY_ANNOTATION: "1h"}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("slow", prefix, 1, slow))
    lingering = {DELETE_DELAY_ANNOTATION: "1h"}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("long", prefix, 1, lingering))
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("quick", prefix))
    wait_for_pod(cluster, namespace, "long", "Running")
    wait_for_pod(cluster, namespace, "quick", "Running")
    scheduled = get(cluster, "pod", "slow", "-n", namespace)
    assert scheduled["spec"]["nodeName"] == f"{prefix}-a"
    assert scheduled["status"]["phase"] == "Pending"
    cluster.kubectl("delete", "pod", "long", "quick", "-n", namespace, "--wait=false")
    poll_until(
        lambda: "quick" not in cluster.kubectl("get", "pods", "-n", namespace, "-o", "name"),
        timeout_s=20,
        interval_s=0.1,
        what="the quick pod to be gone",
    )
    assert get(cluster, "pod", "long", "-n", namespace)["metadata"]["deletionTimestamp"]
    cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")


@pytest.mark.parametrize(
    ("status", "taint"),
    [("False", "node.kubernetes.io/not-ready"), ("Unknown", "node.kubernetes.io/unreachable")],
)
def test_unready_node_stays_so(
    cluster: LocalCluster, prefix: str, status: ReadyStatus, taint: str
) -> None:
    """KWOK does not mend the node, the control plane taints it, and it can come back."""
    name, other = f"{prefix}-a", f"{prefix}-b"
    cluster.add_nodes([gpu_node(name, "L4", 1), gpu_node(other, "L4", 1)])
    cluster.set_node_ready(name, status)
    poll_until(
        lambda: taints_of(cluster, name).get(taint) == "NoExecute",
        timeout_s=20,
        interval_s=0.1,
        what="the control plane's taint",
    )
    # KWOK mends nodes within the second, and has by now made a later one Ready.
    cluster.add_nodes([gpu_node(f"{prefix}-c", "L4", 1)])
    assert conditions_of(cluster, name)["Ready"] == status
    assert conditions_of(cluster, other)["Ready"] == "True"
    cluster.set_node_ready(name, "True")
    assert conditions_of(cluster, name)["Ready"] == "True"
    poll_until(
        lambda: not taints_of(cluster, name), timeout_s=20, interval_s=0.1, what="no more taints"
    )


def test_cordon_and_back(cluster: LocalCluster, prefix: str) -> None:
    """A cordoned node is marked, and adding it again as described takes that back."""
    spec = gpu_node(f"{prefix}-a", "L4", 1)
    cluster.add_nodes([spec])
    cluster.cordon(spec.name)
    assert get(cluster, "node", spec.name)["spec"]["unschedulable"] is True
    cluster.cordon(spec.name, is_unschedulable=False)
    assert "unschedulable" not in get(cluster, "node", spec.name)["spec"]


def test_adding_again_updates(cluster: LocalCluster, prefix: str) -> None:
    """The second description of a node replaces the first."""
    name = f"{prefix}-a"
    cluster.add_nodes([gpu_node(name, "L4", 4, taints=(GPU_TAINT,), is_unschedulable=True)])
    cluster.add_nodes([GpuNodeSpec(name=name, gpu_count=4, healthy_gpu_count=3, region="new")])
    node = get(cluster, "node", name)
    assert node["metadata"]["labels"]["topology.kubernetes.io/region"] == "new"
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "3"
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "4"
    assert "nvidia.com/gpu" not in taints_of(cluster, name)
    assert "unschedulable" not in node["spec"]


def test_removed_nodes_are_gone(cluster: LocalCluster, prefix: str) -> None:
    """Those named go, the others stay, and names that do not exist are no fault."""
    cluster.add_nodes(gpu_nodes(3, "L4", 1, name_prefix=prefix))
    cluster.remove_nodes([f"{prefix}-000", f"{prefix}-002", f"{prefix}-999"])
    names = cluster.kubectl("get", "nodes", "-o", "name")
    assert f"{prefix}-001" in names
    assert f"{prefix}-000" not in names


def test_refused_node_is_a_typed_fault(cluster: LocalCluster) -> None:
    """The API server's reason reaches the caller."""
    with pytest.raises(ClusterApiError, match="not a label") as caught:
        cluster.add_nodes([gpu_node("n", "L4", 1, extra_labels={"not a label": "x"})])
    assert caught.value.fields["http_status"] == 422


def test_late_nodes_are_named(cluster: LocalCluster, prefix: str) -> None:
    """A node that does not become Ready in time is named in the message."""
    spec = gpu_node(f"{prefix}-a", "L4", 1)
    cluster.add_nodes([spec])
    cluster.set_node_ready(spec.name, "False")
    with pytest.raises(WaitTimeoutError, match=f"1 are not, such as {prefix}-a"):
        cluster.add_nodes([spec], timeout_s=0.3)


def test_kubectl_fault_has_its_words(cluster: LocalCluster) -> None:
    """What kubectl printed about a failure is in the error."""
    with pytest.raises(ClusterApiError, match='"nothing" not found') as caught:
        cluster.kubectl("get", "pod", "nothing")
    assert caught.value.reason == "KubectlFailed"


def test_official_client_works(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of the `kubernetes` package gets along, even where a proxy is configured."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with cluster.api_client() as api:
        found = client.CoreV1Api(api).read_namespace("kube-system")
    assert found.status is not None
    assert found.status.phase == "Active"


def test_namespace_is_usable_at_once_and_goes_away(cluster: LocalCluster) -> None:
    """Pods are accepted inside the block, and the namespace is being deleted after it."""
    with cluster.namespace("mine") as name:
        assert name.startswith("mine-")
        cluster.kubectl("apply", "-n", name, "-f", "-", stdin=pod("p", "nowhere"))
    poll_until(
        lambda: name not in cluster.kubectl("get", "namespaces", "-o", "name"),
        timeout_s=30,
        interval_s=0.2,
        what="the namespace to be gone",
    )
