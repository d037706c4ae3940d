"""Free GPUs node by node, nodes that are refused, and what GPUPools change."""

import pytest

from coral_api.discovery import PoolOverride, discover
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import CapacityKind, Link, PoolKey, PoolScaling

ON_DEMAND, SPOT = CapacityKind.ON_DEMAND, CapacityKind.SPOT
L4X4 = PoolKey("L4", 4, Link.PCIE, "us-east-2", ON_DEMAND)


def is_ours(pod):
    return pod["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "coral"


def pools_of(nodes, pods=(), overrides=(), **options):
    return discover(nodes, pods, overrides, ours=is_ours, **options)


@pytest.fixture
def l4(make_node):
    """Build a node with four L4 in us-east-2 on demand, 4.6016 USD per hour."""
    labels = {
        "nvidia.com/gpu.product": "NVIDIA-L4",
        "nvidia.com/gpu.count": "4",
        "topology.kubernetes.io/region": "us-east-2",
    }
    return lambda name="a", **changes: make_node(
        name, **({"gpus": 4, "labels": labels | changes.pop("labels", {})} | changes)
    )


def test_nodes_of_one_kind_form_one_pool_sorted_by_name(l4):
    (pool,) = pools_of([l4("b"), l4("a")]).pools
    assert (pool.key, pool.nodes) == (L4X4, (("a", 4), ("b", 4)))
    assert (pool.node_usd_per_hour, pool.start_time_s, pool.site_factor) == (4.6016, 300.0, 1.0)
    assert (pool.scaling, pool.max_nodes) == (PoolScaling.FIXED, 0)


@pytest.mark.parametrize(
    ("pod", "free"),
    [
        ({"gpus": 1}, 3),
        ({"gpus": 4}, 0),
        ({"gpus": 1, "node": None}, 4),
        ({"gpus": 1, "node": "other"}, 4),
        ({"gpus": 1, "phase": "Succeeded"}, 4),
        ({"gpus": 1, "phase": "Failed"}, 4),
        ({"gpus": 1, "phase": "Pending"}, 3),
        ({"gpus": 1, "deletion": "2026-01-01T00:00:00Z"}, 3),
        ({"gpus": 1, "phase": "Failed", "deletion": "2026-01-01T00:00:00Z"}, 4),
        ({"gpus": 3, "labels": {"app.kubernetes.io/managed-by": "coral"}}, 4),
        # More requested than allocatable (a GPU broke under a running pod): not below 0.
        ({"gpus": 6}, 0),
    ],
)
def test_what_a_pod_takes_from_its_node(l4, make_pod, pod, free):
    (pool,) = pools_of([l4("a")], [make_pod("p", **({"node": "a"} | pod))]).pools
    assert pool.nodes == (("a", free),)


def test_pods_that_a_service_is_to_replace_count_as_free(l4, make_pod):
    pods = [
        make_pod("old", node="a", gpus=2, labels={"app": "old"}),
        make_pod("else", node="a", gpus=1, labels={"app": "else"}),
    ]
    (pool,) = pools_of(
        [l4("a")], pods, free_for=lambda pod: pod["metadata"]["labels"]["app"] == "old"
    ).pools
    assert pool.free_gpus == 3


def test_a_node_with_fewer_gpus_than_it_claims_keeps_its_shape_and_price(l4, make_pod):
    # One GPU fell out: three can be used, one of them is held.
    found = pools_of([l4("a", gpus=3, capacity=4)], [make_pod("p", node="a", gpus=1)])
    (pool,) = found.pools
    assert (pool.key, pool.nodes, pool.node_usd_per_hour) == (L4X4, (("a", 2),), 4.6016)
    assert [notice.reason for notice in found.notices] == ["FewerGpusThanClaimed"]
    assert "only 3 can be used" in found.notices[0].message


def test_without_a_count_label_the_capacity_is_the_shape(make_node):
    labels = {"nvidia.com/gpu.product": "NVIDIA-L4", "topology.kubernetes.io/region": "us-east-2"}
    (pool,) = pools_of([make_node("a", labels=labels, gpus=3, capacity=4)]).pools
    assert (pool.key, pool.nodes) == (L4X4, (("a", 3),))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unschedulable": True}, "Cordoned"),
        ({"ready": "False"}, "NotReady"),
        ({"ready": "Unknown"}, "NotReady"),
        ({"ready": None}, "NotReady"),
        ({"ready": "False", "unschedulable": True}, "NotReady"),
        ({"taints": [("node.kubernetes.io/not-ready", "", "NoSchedule")]}, "NotReady"),
        ({"taints": [("node.kubernetes.io/unreachable", "", "NoExecute")]}, "NotReady"),
        ({"taints": [("team", "ml", "NoSchedule")]}, "TaintNotTolerated"),
        ({"taints": [("team", "ml", "NoExecute")]}, "TaintNotTolerated"),
        ({"gpus": "many"}, "InvalidManifest"),
        ({"gpus": "1500m"}, "InvalidManifest"),
    ],
)
def test_nodes_that_cannot_be_used_are_refused_with_the_reason(l4, changes, reason):
    found = pools_of([l4("good"), l4("bad", **changes)])
    assert [(refused.name, refused.reason) for refused in found.refused] == [("bad", reason)]
    assert found.refused[0].message.startswith("node bad: ")
    assert [pool.nodes for pool in found.pools] == [(("good", 4),)]


@pytest.mark.parametrize(
    "taint",
    [
        ("nvidia.com/gpu", "present", "NoSchedule"),
        ("amd.com/gpu", "true", "NoExecute"),
        ("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule"),
        ("cloud.google.com/gke-spot", "true", "NoSchedule"),
        ("team", "ml", "PreferNoSchedule"),
    ],
)
def test_taints_that_keep_nobody_else_off_are_fine(l4, taint):
    assert pools_of([l4("a", taints=[taint])]).refused == ()


def test_a_pods_broken_quantity_refuses_its_node_and_names_it(l4, make_pod):
    found = pools_of([l4("a"), l4("b")], [make_pod("p", node="a", gpus="half")])
    assert [(refused.name, refused.reason) for refused in found.refused] == [
        ("a", "InvalidManifest")
    ]
    assert "pod default/p" in found.refused[0].message


def test_a_missing_price_is_listed_and_asks_for_a_gpu_pool(l4):
    found = pools_of([l4("a", labels={"topology.kubernetes.io/region": "eu-west-9"})])
    assert found.unpriced == (L4X4._replace(region="eu-west-9"),)
    assert found.refused[0].message.endswith("; give its price in a GPUPool")


def test_nodes_of_one_shape_with_two_prices_share_their_mean(l4):
    # g6.12xlarge 4.6016, g6.24xlarge 6.6752: the mean of three nodes is 5.2928.
    small = {"node.kubernetes.io/instance-type": "g6.12xlarge"}
    large = {"node.kubernetes.io/instance-type": "g6.24xlarge"}
    found = pools_of([l4("a", labels=small), l4("b", labels=small), l4("c", labels=large)])
    (pool,) = found.pools
    assert pool.node_usd_per_hour == pytest.approx(5.2928)
    assert [notice.reason for notice in found.notices] == ["SeveralPrices"]


def override(name="pool", **changes):
    return PoolOverride(**({"name": name, "match_labels": {"pool": "x"}} | changes))


IN_POOL = {"labels": {"pool": "x"}}


def test_a_gpu_pool_outranks_labels_and_prices(l4):
    pool_x = override(
        gpu="a10g",
        link=Link.PCIE,
        region="home",
        kind=SPOT,
        node_usd_per_hour={SPOT: 1.25},
        start_time_s=60.0,
        site_factor=0.9,
    )
    found = pools_of([l4("a", **IN_POOL), l4("b")], overrides=[pool_x])
    home, other = sorted(found.pools, key=lambda pool: pool.key.gpu)
    assert home.key == ("A10G", 4, Link.PCIE, "home", SPOT)
    assert (home.node_usd_per_hour, home.start_time_s, home.site_factor) == (1.25, 60.0, 0.9)
    assert (other.key, other.nodes) == (L4X4, (("b", 4),))
    assert found.overrides == {"a": "pool"}


def test_a_gpu_pool_names_the_type_of_an_unknown_label(l4):
    node = l4("a", labels={"pool": "x", "nvidia.com/gpu.product": "NVIDIA-Custom"})
    assert pools_of([node]).pools == ()
    assert pools_of([node], overrides=[override(gpu="L4")]).pools[0].key == L4X4


def test_a_gpu_pool_does_not_make_mig_or_sharing_usable(l4):
    node = l4("a", labels={"pool": "x", "nvidia.com/gpu.replicas": "4"})
    found = pools_of([node], overrides=[override(gpu="L4")])
    assert [refused.reason for refused in found.refused] == ["TimeSliced"]


def test_a_price_of_another_kind_leaves_the_catalogues_price(l4):
    found = pools_of([l4("a", **IN_POOL)], overrides=[override(node_usd_per_hour={SPOT: 1.0})])
    assert found.pools[0].node_usd_per_hour == 4.6016


def test_a_gpu_pool_tolerates_the_taints_it_names(l4):
    node = l4("a", taints=[("team", "ml", "NoSchedule")], **IN_POOL)
    assert pools_of([node], overrides=[override()]).pools == ()
    tolerant = override(tolerated_taint_keys=frozenset({"team"}))
    assert pools_of([node], overrides=[tolerant]).refused == ()


def test_the_first_gpu_pool_by_name_speaks_and_the_second_is_said(l4):
    pools = [override("b", site_factor=0.5), override("a", site_factor=0.8)]
    found = pools_of([l4("n", **IN_POOL)], overrides=pools)
    assert found.pools[0].site_factor == 0.8
    assert found.overrides == {"n": "a"}
    assert [(notice.subject, notice.reason) for notice in found.notices] == [("n", "SeveralPools")]


def test_a_node_must_have_every_label_of_the_selector(l4):
    pool = override(match_labels={"pool": "x", "zone": "1"}, site_factor=0.5)
    found = pools_of([l4("a", **IN_POOL)], overrides=[pool])
    assert found.pools[0].site_factor == 1.0


def test_two_gpu_pools_for_one_kind_of_node_are_merged_and_said(l4):
    pools = [
        override("a", match_labels={"pool": "x"}, start_time_s=10.0),
        override("b", match_labels={"pool": "y"}, start_time_s=20.0),
    ]
    nodes = [l4("n1", labels={"pool": "y"}), l4("n2", labels={"pool": "x"})]
    found = pools_of(nodes, overrides=pools)
    (pool,) = found.pools
    assert (pool.start_time_s, len(pool.nodes)) == (10.0, 2)
    assert [notice.reason for notice in found.notices] == ["SeveralPools"]


def elastic(name="pool", **changes):
    values = {
        "gpu": "L4", "gpus_per_node": 4, "region": "us-east-2", "scaling": PoolScaling.ELASTIC,
        "max_nodes": 5,
    }  # fmt: skip
    return override(name, **(values | changes))


def test_an_elastic_pool_without_nodes_is_there(l4):
    (pool,) = pools_of([], overrides=[elastic()]).pools
    assert (pool.key, pool.nodes, pool.max_nodes) == (L4X4, (), 5)
    assert (pool.scaling, pool.node_usd_per_hour) == (PoolScaling.ELASTIC, 4.6016)


def test_an_elastic_pool_holds_its_nodes(l4):
    (pool,) = pools_of([l4("a", **IN_POOL)], overrides=[elastic()]).pools
    assert (pool.scaling, pool.max_nodes, pool.nodes) == (PoolScaling.ELASTIC, 5, (("a", 4),))


def test_nodes_beyond_the_ceiling_stay_usable(l4):
    nodes = [l4(name, **IN_POOL) for name in ("a", "b", "c")]
    (pool,) = pools_of(nodes, overrides=[elastic(max_nodes=2)]).pools
    assert (pool.max_nodes, len(pool.nodes)) == (3, 3)


def test_an_elastic_pool_opens_every_kind_that_it_prices():
    pools = pools_of([], overrides=[elastic(node_usd_per_hour={SPOT: 1.0, ON_DEMAND: 4.0})]).pools
    assert [(pool.key.kind, pool.node_usd_per_hour) for pool in pools] == [
        (ON_DEMAND, 4.0),
        (SPOT, 1.0),
    ]


def test_an_elastic_pool_without_a_price_is_said():
    found = pools_of([], overrides=[elastic(region="mars-1")])
    assert found.pools == ()
    assert [(notice.subject, notice.reason) for notice in found.notices] == [("pool", "NoPrice")]
    assert found.unpriced == (L4X4._replace(region="mars-1"),)


def test_an_elastic_pool_that_others_already_form_is_said(l4):
    found = pools_of([l4("a")], overrides=[elastic("z"), elastic("y", region="us-east-1")])
    assert [pool.scaling for pool in found.pools] == [PoolScaling.ELASTIC, PoolScaling.FIXED]
    assert [(notice.subject, notice.reason) for notice in found.notices] == [("z", "SeveralPools")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpu": "L40X"}, "did you mean L40"),
        ({"gpu": "T4", "link": Link.NVLINK}, "T4 has no nvlink link"),
        ({"node_usd_per_hour": {SPOT: float("nan")}}, "the spot price nan is not a price"),
        ({"node_usd_per_hour": {SPOT: -1.0}}, "the spot price -1.0 is not a price"),
        ({"gpus_per_node": 0}, "gpusPerNode 0"),
        ({"site_factor": 0.0}, "site factor"),
        ({"site_factor": float("inf")}, "site factor"),
        ({"start_time_s": -1.0}, "start time"),
        ({"scaling": PoolScaling.ELASTIC, "max_nodes": 3}, "needs gpuType, gpusPerNode and region"),
    ],
)
def test_a_gpu_pool_that_cannot_mean_anything_is_a_fault(changes, words):
    with pytest.raises(InvalidInputError, match=words) as caught:
        pools_of([], overrides=[override("broken", **changes)])
    assert caught.value.reason == "InvalidPool"
    assert "GPUPool broken" in str(caught.value)


def test_two_nodes_of_one_name_are_a_fault(l4):
    with pytest.raises(InvalidInputError, match="node a is there twice"):
        pools_of([l4("a"), l4("a")])


def test_a_node_without_a_name_is_a_fault():
    with pytest.raises(InvalidInputError, match="a node has no metadata"):
        pools_of([{"kind": "Node", "metadata": None}])


def test_a_manifest_written_by_hand_may_have_gaps_and_numbers():
    node = {
        "metadata": {
            "name": "a",
            "labels": {
                "nvidia.com/gpu.product": "NVIDIA-L4",
                "nvidia.com/gpu.count": 4,
                "cloud.google.com/gke-spot": True,
                "topology.kubernetes.io/region": "us-east-2",
            },
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"nvidia.com/gpu": 4},
        },
    }
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "a", "containers": None}}
    (pool,) = pools_of([node], [pod | {"status": None}]).pools
    assert (pool.key, pool.nodes) == (L4X4._replace(kind=SPOT), (("a", 4),))
    found = pools_of([{"metadata": {"name": "b", "labels": None}, "spec": None}])
    assert (found.pools, found.refused) == ((), ())


def test_no_node_at_all_gives_no_pool():
    assert pools_of([]).pools == ()
