"""Label sets as the clouds and the device plugins write them, and what Coral reads from each."""

import pytest

from coral_api.discovery import discover
from coral_solver.domain.hardware import CapacityKind, Link

H100 = "NVIDIA-H100-80GB-HBM3"
GFD_H100 = {
    # GPU feature discovery on an HGX H100; mig.strategy is there although MIG is off.
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": H100,
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.replicas": "1",
    "nvidia.com/gpu.sharing-strategy": "none",
    "nvidia.com/gpu.family": "hopper",
    "nvidia.com/mig.capable": "true",
    "nvidia.com/mig.strategy": "single",
    "nvidia.com/mig.config": "all-disabled",
    "topology.kubernetes.io/region": "us-east-2",
}
KARPENTER_L4 = {
    "karpenter.sh/capacity-type": "spot",
    "karpenter.k8s.aws/instance-family": "g6",
    "karpenter.k8s.aws/instance-gpu-name": "l4",
    "karpenter.k8s.aws/instance-gpu-count": "4",
    "karpenter.k8s.aws/instance-gpu-memory": "22888",
    "karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia",
    "node.kubernetes.io/instance-type": "g6.12xlarge",
    "topology.kubernetes.io/region": "us-east-2",
}
KARPENTER_A100 = {
    "karpenter.sh/capacity-type": "on-demand",
    "karpenter.k8s.aws/instance-gpu-name": "a100",
    "karpenter.k8s.aws/instance-gpu-count": "8",
    "karpenter.k8s.aws/instance-gpu-memory": "81920",
    "topology.kubernetes.io/region": "us-east-1",
}
EKS_A10G = {
    "eks.amazonaws.com/capacityType": "SPOT",
    "eks.amazonaws.com/nodegroup": "gpu",
    "node.kubernetes.io/instance-type": "g5.xlarge",
    "topology.kubernetes.io/region": "ap-northeast-2",
}
GKE_L4 = {
    "cloud.google.com/gke-accelerator": "nvidia-l4",
    "cloud.google.com/gke-accelerator-count": "2",
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/machine-family": "g2",
    "node.kubernetes.io/instance-type": "g2-standard-24",
    "topology.kubernetes.io/region": "us-central1",
}
GKE_A100_40 = {
    "cloud.google.com/gke-accelerator": "nvidia-tesla-a100",
    "cloud.google.com/gke-provisioning": "standard",
    "node.kubernetes.io/instance-type": "a2-highgpu-4g",
    "topology.kubernetes.io/region": "us-central1",
}
GKE_H100_MEGA = {
    "cloud.google.com/gke-accelerator": "nvidia-h100-mega-80gb",
    "cloud.google.com/gke-preemptible": "true",
    "node.kubernetes.io/instance-type": "a3-megagpu-8g",
    "topology.kubernetes.io/region": "us-central1",
}
OLD_GFD_A100 = {
    # Drivers before 470 have no vendor in the product; old labels for region and instance type.
    "nvidia.com/gpu.product": "A100-SXM4-40GB",
    "nvidia.com/gpu.count": "8",
    "beta.kubernetes.io/instance-type": "p4d.24xlarge",
    "failure-domain.beta.kubernetes.io/region": "us-east-1",
}
LAMBDA_V100 = {
    "nvidia.com/gpu.product": "Tesla-V100-SXM2-16GB",
    "nvidia.com/gpu.count": "8",
    "node.kubernetes.io/instance-type": "gpu_8x_v100",
    "topology.kubernetes.io/region": "us-east-1",
}
OUR_LINK = {**GFD_H100, "serving.coral.dev/gpu-link": "pcie"}

ON_DEMAND, SPOT = CapacityKind.ON_DEMAND, CapacityKind.SPOT
NVLINK, PCIE = Link.NVLINK, Link.PCIE


@pytest.mark.parametrize(
    ("labels", "gpus", "key", "usd_per_hour"),
    [
        (GFD_H100, 8, ("H100", 8, NVLINK, "us-east-2", ON_DEMAND), 55.04),
        (KARPENTER_L4, 4, ("L4", 4, PCIE, "us-east-2", SPOT), 1.6528),
        (KARPENTER_A100, 8, ("A100-80GB", 8, NVLINK, "us-east-1", ON_DEMAND), 27.44705),
        (EKS_A10G, 1, ("A10G", 1, PCIE, "ap-northeast-2", SPOT), 0.3701),
        (GKE_L4, 2, ("L4", 2, PCIE, "us-central1", SPOT), 0.4462),
        (GKE_A100_40, 4, ("A100-40GB", 4, NVLINK, "us-central1", ON_DEMAND), 14.69355),
        (GKE_H100_MEGA, 8, ("H100", 8, NVLINK, "us-central1", SPOT), 25.2808),
        (OLD_GFD_A100, 8, ("A100-40GB", 8, NVLINK, "us-east-1", ON_DEMAND), 21.957642),
        # Lambda's region has the name of one of AWS; the instance type tells the clouds apart.
        (LAMBDA_V100, 8, ("V100-16GB", 8, NVLINK, "us-east-1", ON_DEMAND), 4.4),
        (OUR_LINK, 8, ("H100", 8, PCIE, "us-east-2", ON_DEMAND), 55.04),
    ],
    ids=[
        "gfd", "karpenter", "karpenter-a100", "eks", "gke", "gke-a100", "gke-h100", "old-gfd",
        "lambda", "link-label",
    ],
)  # fmt: skip
def test_a_clouds_labels_give_the_pool_and_its_price(make_node, labels, gpus, key, usd_per_hour):
    found = discover([make_node("n", labels=labels, gpus=gpus)], [], ours=lambda _pod: False)
    assert [pool.key for pool in found.pools] == [key], found.refused
    assert found.pools[0].node_usd_per_hour == usd_per_hour
    assert found.pools[0].nodes == (("n", gpus),)
    assert found.notices == ()


@pytest.mark.parametrize(
    ("label", "value", "kind"),
    [
        ("karpenter.sh/capacity-type", "reserved", CapacityKind.RESERVED),
        ("karpenter.sh/capacity-type", "on-demand", ON_DEMAND),
        ("eks.amazonaws.com/capacityType", "ON_DEMAND", ON_DEMAND),
        ("eks.amazonaws.com/capacityType", "CAPACITY_BLOCK", CapacityKind.RESERVED),
        ("cloud.google.com/gke-provisioning", "spot", SPOT),
        ("cloud.google.com/gke-spot", "false", ON_DEMAND),
        ("kubernetes.azure.com/scalesetpriority", "spot", SPOT),
        ("somebody.else/lifecycle", "spot", ON_DEMAND),
    ],
)
def test_how_a_node_is_bought(make_node, label, value, kind):
    node = make_node("n", labels=GFD_H100 | {label: value}, gpus=8)
    found = discover([node], [], ours=lambda _pod: False)
    kinds = [pool.key.kind for pool in found.pools] + [key.kind for key in found.unpriced]
    assert kinds == [kind]


@pytest.mark.parametrize(
    ("provider_id", "usd_per_hour"),
    [
        ("aws:///us-east-1a/i-0abc", 21.957642),
        ("", 21.957642),  # AWS is asked first where nothing names the cloud
    ],
)
def test_the_cloud_comes_from_the_provider_id(make_node, provider_id, usd_per_hour):
    labels = {
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
        "topology.kubernetes.io/region": "us-east-1",
    }
    node = make_node("n", labels=labels, gpus=8, provider_id=provider_id)
    (pool,) = discover([node], [], ours=lambda _pod: False).pools
    assert pool.node_usd_per_hour == usd_per_hour


def test_a_cloud_that_sells_nothing_there_gives_no_price(make_node):
    node = make_node("n", labels=GFD_H100, gpus=8, provider_id="azure:///subscriptions/x")
    found = discover([node], [], ours=lambda _pod: False)
    assert [refused.reason for refused in found.refused] == ["NoPrice"]
    assert "azure/us-east-2" in found.refused[0].message


def test_an_instance_type_names_its_cloud(make_node):
    # A machine of Google's is not sold at AWS's price where a region has AWS's name.
    labels = OLD_GFD_A100 | {"beta.kubernetes.io/instance-type": "a2-highgpu-8g"}
    found = discover([make_node("n", labels=labels, gpus=8)], [], ours=lambda _pod: False)
    assert "gcp/us-east-1" in found.refused[0].message


def test_an_unknown_device_is_not_taken_for_what_its_instance_type_says(make_node):
    labels = GFD_H100 | {
        "nvidia.com/gpu.product": "NVIDIA-H123",
        "node.kubernetes.io/instance-type": "p5.48xlarge",
    }
    found = discover([make_node("n", labels=labels, gpus=8)], [], ours=lambda _pod: False)
    assert [refused.reason for refused in found.refused] == ["UnknownGpuLabel"]


AMD = {
    "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM",
    "amd.com/gpu.family": "AI",
    "amd.com/gpu.vram": "192G",
    "amd.com/gpu.cu-count": "304",
}


def test_amd_gpus_are_counted_by_their_own_resource(make_node):
    node = make_node("n", labels=AMD, gpus=8, resource="amd.com/gpu")
    found = discover([node], [], ours=lambda _pod: False)
    # No price list here sells them.
    assert [key[:2] for key in found.unpriced] == [("MI300X", 8)]


@pytest.mark.parametrize(
    ("changes", "resources", "reason", "words"),
    [
        (
            {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"},
            {},
            "MigEnabled",
            "-MIG-",
        ),
        ({"nvidia.com/mig.config": "all-1g.10gb"}, {}, "MigEnabled", "all-1g.10gb"),
        ({}, {"nvidia.com/mig-1g.10gb": "7"}, "MigEnabled", "nvidia.com/mig-1g.10gb"),
        ({"cloud.google.com/gke-gpu-partition-size": "1g.10gb"}, {}, "MigEnabled", "MIG slices"),
        ({"nvidia.com/gpu.product": f"{H100}-SHARED"}, {}, "TimeSliced", "-SHARED"),
        ({"nvidia.com/gpu.replicas": "4"}, {}, "TimeSliced", "replicas=4"),
        ({"nvidia.com/gpu.sharing-strategy": "mps"}, {}, "TimeSliced", "mps"),
        ({"cloud.google.com/gke-gpu-sharing-strategy": "time-sharing"}, {}, "TimeSliced", "time-s"),
        ({}, {"nvidia.com/gpu.shared": "16"}, "TimeSliced", "gpu.shared"),
        (
            {"nvidia.com/gpu.product": "NVIDIA-L4,NVIDIA-A10G"},
            {},
            "MixedGpus",
            "NVIDIA-L4,NVIDIA-A10G",
        ),
        ({}, {"amd.com/gpu": "2"}, "MixedGpus", "nvidia.com/gpu, amd.com/gpu"),
        # GPU feature discovery counts the GPUs of its product; the others are of another type.
        ({"nvidia.com/gpu.count": "1"}, {}, "MixedGpus", "offers 8 GPUs where 1 H100"),
        (
            {"nvidia.com/gpu.product": "NVIDIA-H1OO-80GB-HBM3"},
            {},
            "UnknownGpuLabel",
            "did you mean",
        ),
        ({"nvidia.com/gpu.product": "Tesla-K80"}, {}, "UnknownGpuLabel", "gpuType"),
        ({"nvidia.com/gpu.product": ""}, {}, "UnknownGpuLabel", "install NVIDIA GPU feature"),
        ({"serving.coral.dev/gpu-link": "infiniband"}, {}, "UnknownLink", "nvlink or pcie"),
        ({"topology.kubernetes.io/region": "mars-1"}, {}, "NoPrice", "GPUPool"),
        ({"topology.kubernetes.io/region": ""}, {}, "NoPrice", "in default"),
    ],
)
def test_gpus_that_cannot_be_planned_are_refused(make_node, changes, resources, reason, words):
    node = make_node("n", labels=GFD_H100 | changes, gpus=8, resources=resources)
    found = discover([node], [], ours=lambda _pod: False)
    assert [(refused.name, refused.reason) for refused in found.refused] == [("n", reason)]
    assert words in found.refused[0].message
    assert found.pools == ()


def test_labels_that_disagree_are_said_and_the_device_is_believed(make_node):
    labels = GFD_H100 | {"node.kubernetes.io/instance-type": "p5en.48xlarge"}  # an H200 machine
    found = discover([make_node("n", labels=labels, gpus=8)], [], ours=lambda _pod: False)
    assert [pool.key.gpu for pool in found.pools] == ["H100"]
    assert [notice.reason for notice in found.notices] == ["LabelsDisagree"]


def test_a_labelled_node_whose_device_plugin_is_missing_is_named(make_node):
    found = discover([make_node("n", labels=GFD_H100, gpus=0)], [], ours=lambda _pod: False)
    assert [refused.reason for refused in found.refused] == ["NoAllocatableGpus"]


def test_nodes_without_gpus_are_no_business_of_ours(make_node):
    labels = {"node.kubernetes.io/instance-type": "m5.large"}
    found = discover([make_node("n", labels=labels, gpus=0)], [], ours=lambda _pod: False)
    assert (found.pools, found.refused, found.notices) == ((), (), ())
