"""What holds for any cluster."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coral_api.discovery import PoolOverride, discover
from coral_api.pods import is_finished, node_of, requested_gpus
from coral_solver.domain.hardware import CapacityKind

PRODUCTS = (
    "NVIDIA-L4",
    "NVIDIA-A10G",
    "NVIDIA-H100-80GB-HBM3",
    "Tesla-K80",
    "NVIDIA-L4-SHARED",
    "",
)
REGIONS = ("us-east-2", "us-east-1", "mars-1", "")
COMMON = settings(derandomize=True, deadline=None, max_examples=60)

NODES = st.lists(
    st.fixed_dictionaries(
        {
            "product": st.sampled_from(PRODUCTS),
            "region": st.sampled_from(REGIONS),
            "capacity": st.sampled_from([0, 1, 4, 8]),
            "broken": st.integers(0, 2),
            "count_label": st.booleans(),
            "spot": st.booleans(),
            "cordoned": st.booleans(),
            "ready": st.booleans(),
            "tainted": st.booleans(),
        }
    ),
    max_size=8,
)
PODS = st.lists(
    st.fixed_dictionaries(
        {
            "node": st.integers(0, 9),
            "gpus": st.integers(0, 9),
            "init_gpus": st.integers(0, 9),
            "phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
            "ours": st.booleans(),
        }
    ),
    max_size=12,
)


def node_manifest(index, spec):
    labels = {"name": f"n{index}", "nvidia.com/gpu.product": spec["product"]}
    labels["topology.kubernetes.io/region"] = spec["region"]
    if spec["count_label"]:
        labels["nvidia.com/gpu.count"] = str(spec["capacity"])
    if spec["spot"]:
        labels["karpenter.sh/capacity-type"] = "spot"
    allocatable = max(0, spec["capacity"] - spec["broken"])
    taints = [{"key": "team", "effect": "NoSchedule"}] if spec["tainted"] else []
    return {
        "metadata": {"name": f"n{index}", "labels": labels},
        "spec": {"unschedulable": spec["cordoned"], "taints": taints},
        "status": {
            "conditions": [{"type": "Ready", "status": str(spec["ready"])}],
            "capacity": {"nvidia.com/gpu": str(spec["capacity"])},
            "allocatable": {"nvidia.com/gpu": str(allocatable)},
        },
    }


def pod_manifest(index, spec):
    def container(gpus):
        return {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}

    return {
        "metadata": {
            "name": f"p{index}",
            "namespace": "default",
            "labels": {"ours": str(spec["ours"])},
        },
        "spec": {
            "nodeName": f"n{spec['node']}",
            "containers": [container(spec["gpus"])],
            "initContainers": [container(spec["init_gpus"])],
        },
        "status": {"phase": spec["phase"]},
    }


def is_ours(pod):
    return pod["metadata"]["labels"]["ours"] == "True"


def build(nodes, pods):
    return (
        [node_manifest(i, spec) for i, spec in enumerate(nodes)],
        [pod_manifest(i, spec) for i, spec in enumerate(pods)],
    )


@COMMON
@given(NODES, PODS)
def test_every_gpu_node_is_in_one_pool_or_refused_once(node_specs, pod_specs):
    nodes, pods = build(node_specs, pod_specs)
    found = discover(nodes, pods, ours=is_ours)
    used = [node.name for pool in found.pools for node in pool.nodes]
    refused = [node.name for node in found.refused]
    gpu_nodes = [
        node["metadata"]["name"]
        for node in nodes
        if node["status"]["capacity"]["nvidia.com/gpu"] != "0"
        or node["metadata"]["labels"]["nvidia.com/gpu.product"]
    ]
    assert sorted(used + refused) == sorted(gpu_nodes)


@COMMON
@given(NODES, PODS)
def test_free_gpus_are_never_negative_nor_more_than_what_is_left(node_specs, pod_specs):
    nodes, pods = build(node_specs, pod_specs)
    allocatable = {
        node["metadata"]["name"]: int(node["status"]["allocatable"]["nvidia.com/gpu"])
        for node in nodes
    }
    for pool in discover(nodes, pods, ours=is_ours).pools:
        for name, free in pool.nodes:
            held = sum(
                requested_gpus(pod)
                for pod in pods
                if node_of(pod) == name and not is_finished(pod) and not is_ours(pod)
            )
            assert free == max(0, allocatable[name] - held)
            assert 0 <= free <= pool.key.gpus_per_node


@COMMON
@given(NODES, PODS, st.randoms(use_true_random=False))
def test_the_order_of_nodes_and_pods_does_not_matter(node_specs, pod_specs, shuffler):
    nodes, pods = build(node_specs, pod_specs)
    overrides = [
        PoolOverride(name=f"o{i}", match_labels={"name": f"n{i % 3}"}, site_factor=0.5 + i / 10)
        for i in range(4)
    ]
    expected = discover(nodes, pods, overrides, ours=is_ours)
    for items in (nodes, pods, overrides):
        shuffler.shuffle(items)
    assert discover(nodes, pods, overrides, ours=is_ours) == expected


@COMMON
@given(NODES, PODS)
def test_more_pods_never_leave_more_free(node_specs, pod_specs):
    nodes, pods = build(node_specs, pod_specs)
    before = {p.key: p.free_gpus for p in discover(nodes, [], ours=is_ours).pools}
    after = {p.key: p.free_gpus for p in discover(nodes, pods, ours=is_ours).pools}
    assert before.keys() == after.keys()
    assert all(after[key] <= before[key] for key in before)


@COMMON
@given(NODES, PODS)
def test_if_every_pod_is_ours_every_usable_gpu_is_free(node_specs, pod_specs):
    nodes, pods = build(node_specs, pod_specs)
    assert discover(nodes, pods, ours=lambda _pod: True) == discover(nodes, [], ours=is_ours)
    assert discover(nodes, pods, ours=lambda _pod: False, free_for=lambda _pod: True) == discover(
        nodes, [], ours=is_ours
    )


@COMMON
@given(NODES)
def test_a_price_for_everything_leaves_nothing_unpriced(node_specs):
    nodes, _ = build(node_specs, [])
    prices = dict.fromkeys(CapacityKind, 1.0)
    everything = PoolOverride(name="all", match_labels={}, node_usd_per_hour=prices)
    found = discover(nodes, [], [everything], ours=is_ours)
    assert found.unpriced == ()
    assert "NoPrice" not in {node.reason for node in found.refused}
