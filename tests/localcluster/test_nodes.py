"""Node objects look like those of a real GPU cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from coral_localcluster import (
    DELETE_DELAY_ANNOTATION,
    FROZEN_ANNOTATION,
    GPU_PRODUCTS,
    GPU_TAINT,
    READY_DELAY_ANNOTATION,
    GpuNodeSpec,
    InvalidNodeError,
    gpu_node,
    gpu_nodes,
    mixed_fleet,
    parse_fleet,
)
from coral_localcluster.components import kubeconfig_text, kwok_config_text

if TYPE_CHECKING:
    from pathlib import Path


def test_gpu_node_has_the_labels_of_feature_discovery() -> None:
    """Region, GPU and machine are found where real nodes have them."""
    node = gpu_node("n1", "H100", 8, region="eu-west-1", capacity_type="spot").manifest()
    labels = node["metadata"]["labels"]
    expected = {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "nvidia.com/gpu.count": "8",
        "nvidia.com/gpu.memory": "81559",
        "nvidia.com/gpu.family": "hopper",
        "node.kubernetes.io/instance-type": "p5.48xlarge",
        "topology.kubernetes.io/region": "eu-west-1",
        "topology.kubernetes.io/zone": "eu-west-1a",
        "karpenter.sh/capacity-type": "spot",
        "kubernetes.io/hostname": "n1",
    }
    assert expected.items() <= labels.items()
    assert node["metadata"]["annotations"]["kwok.x-k8s.io/node"] == "fake"
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "8"
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert node["spec"] == {"unschedulable": False, "taints": []}


def test_extra_labels_win() -> None:
    """A test can make a node that shares its GPUs, or lies about them."""
    node = gpu_node("n", "L4", 1, extra_labels={"nvidia.com/gpu.product": "NVIDIA-L4-SHARED"})
    assert node.manifest()["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-L4-SHARED"


def test_failed_gpu_leaves_allocatable_only() -> None:
    """Capacity counts the failed GPU, as with a real device plugin."""
    status = GpuNodeSpec(name="n", gpu_count=8, healthy_gpu_count=7).manifest()["status"]
    assert status["capacity"]["nvidia.com/gpu"] == "8"
    assert status["allocatable"]["nvidia.com/gpu"] == "7"


def test_other_resources_and_taints() -> None:
    """AMD, MIG, tainted and cordoned nodes can be described."""
    node = GpuNodeSpec(
        name="n",
        gpu_count=8,
        resource_name="amd.com/gpu",
        extra_resources={"example.com/nic": "2"},
        taints=(GPU_TAINT,),
        is_unschedulable=True,
    ).manifest()
    assert node["status"]["capacity"]["amd.com/gpu"] == "8"
    assert node["status"]["allocatable"]["example.com/nic"] == "2"
    assert "nvidia.com/gpu" not in node["status"]["capacity"]
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert node["spec"] == {"unschedulable": True, "taints": [taint]}


def test_node_without_gpus_names_no_gpu() -> None:
    """Zero GPUs is not a resource of quantity zero."""
    assert (
        "nvidia.com/gpu" not in GpuNodeSpec(name="n", gpu_count=0).manifest()["status"]["capacity"]
    )


def test_all_faults_are_told_at_once() -> None:
    """Three faults need one correction, not three."""
    with pytest.raises(InvalidNodeError) as caught:
        GpuNodeSpec(name="Not A Name", gpu_count=-1, num_cpus=0)
    assert "Not A Name" in caught.value.message
    assert "-1" in caught.value.message
    assert "0 CPUs" in caught.value.message


@pytest.mark.parametrize(
    ("gpu", "gpu_count", "reason"), [("H1000", 8, "UnknownGpu"), ("H100", 0, "InvalidNode")]
)
def test_unknown_gpus_are_refused(gpu: str, gpu_count: int, reason: str) -> None:
    """A typing error does not make a node of nothing."""
    with pytest.raises(InvalidNodeError) as caught:
        gpu_node("n", gpu, gpu_count)
    assert caught.value.reason == reason


@pytest.mark.parametrize("gpu", sorted(GPU_PRODUCTS))
@pytest.mark.parametrize("gpu_count", [1, 3, 8])
def test_every_gpu_makes_a_valid_node(gpu: str, gpu_count: int) -> None:
    """Every name made from a GPU is a valid node name, and every machine has a size."""
    (node,) = gpu_nodes(1, gpu, gpu_count, capacity_type="on-demand")
    assert node.num_cpus > 0
    assert node.memory_gib > 0
    assert len(node.manifest()["metadata"]["labels"]["nvidia.com/gpu.product"]) <= 63


def test_nodes_spread_over_zones() -> None:
    """Zones are used in turn, and names count up."""
    nodes = gpu_nodes(4, "L4", 4, region="r")
    assert [node.name for node in nodes] == [f"l4x4-r-00{i}" for i in range(4)]
    assert [node.zone for node in nodes] == ["ra", "rb", "rc", "ra"]


def test_fleet_is_read() -> None:
    """GPU names with dashes and in lower case are understood."""
    fleet = parse_fleet(["h100x8:2", "A100-80GBx4:1"], region="r", taints=(GPU_TAINT,))
    assert [(node.name, node.gpu_count) for node in fleet] == [
        ("h100x8-r-000", 8),
        ("h100x8-r-001", 8),
        ("a100-80gbx4-r-000", 4),
    ]
    assert fleet[0].taints == (GPU_TAINT,)


@pytest.mark.parametrize("item", ["H100", "H100:2", "H100x8", "8xH100:2", "H100x8:two", ""])
def test_bad_fleet_is_refused(item: str) -> None:
    """The message shows the right form."""
    with pytest.raises(InvalidNodeError, match="H100x8:2"):
        parse_fleet([item])


def test_mixed_fleet_is_the_same_each_time() -> None:
    """Names are unique, and a larger fleet contains the smaller one."""
    small, large = mixed_fleet(17), mixed_fleet(100)
    assert len({node.name for node in large}) == 100
    assert {node.name for node in small} <= {node.name for node in large}
    assert mixed_fleet(17) == small


def test_kwok_leaves_frozen_nodes_alone(tmp_path: Path) -> None:
    """Node stages skip frozen nodes; pod stages do not ask."""
    with_selector = {"matchExpressions": [{"key": ".a", "operator": "Exists"}]}
    text = kwok_config_text_of(
        tmp_path,
        {"name": "node-initialize", "kind": "Node", "selector": with_selector},
        {"name": "pod-ready", "kind": "Pod", "selector": with_selector},
        {"name": "pod-delete", "kind": "Pod", "selector": with_selector},
    )
    _, node, deletion, ready = yaml.safe_load_all(text)
    assert node["spec"]["selector"]["matchExpressions"][1] == {
        "key": f'.metadata.annotations["{FROZEN_ANNOTATION}"]',
        "operator": "NotIn",
        "values": ["true"],
    }
    assert len(ready["spec"]["selector"]["matchExpressions"]) == 1
    for stage, annotation in ((ready, READY_DELAY_ANNOTATION), (deletion, DELETE_DELAY_ANNOTATION)):
        assert annotation in stage["spec"]["delay"]["durationFrom"]["expressionFrom"]
        assert stage["spec"]["delay"]["durationMilliseconds"] == 0


def kwok_config_text_of(folder: Path, *stages: dict[str, object]) -> str:
    """Return the configuration made of stages that are written to a folder first."""
    paths = []
    for stage in stages:
        path = folder / f"{stage['name']}.yaml"
        document = {
            "kind": "Stage",
            "metadata": {"name": stage["name"]},
            "spec": {
                "resourceRef": {"apiGroup": "v1", "kind": stage["kind"]},
                "selector": stage["selector"],
            },
        }
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        paths.append(path)
    return kwok_config_text(paths)


def test_kubeconfig_needs_no_other_file() -> None:
    """The certificate is inside, and the current context is set."""
    word = "open-sesame"
    text = kubeconfig_text(name="dev", port=1234, token=word, ca_pem=b"PEM")
    config = yaml.safe_load(text)
    assert config["current-context"] == "coral-dev"
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:1234",
        "certificate-authority-data": "UEVN",
    }
    assert config["users"][0]["user"] == {"token": word}
