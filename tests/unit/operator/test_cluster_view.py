"""What GPUs there are for whom, and what today's pods on them cost."""

from __future__ import annotations

from operator_builders import L4, NOW, inputs_of, instance, made_from, node, pod, service

from coral_api.conditions import Reason
from coral_operator.children import labels
from coral_operator.observe.cluster import pool_access, replaced_usd_per_hour, view_cluster
from coral_operator.planning.inputs import read_gpu_pools
from coral_operator.planning.records import Chain
from coral_operator.status.cluster import gpu_pool_status, plan_status
from coral_operator.status.instances import InstanceReport, InstanceState

OURS = {labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.SERVICE: "chat"}
SELECTOR = {"matchLabels": {"app": "old"}}


def gpu_pool(name: str, labels_: dict | None = None, **spec: object) -> dict:
    selector = {"matchLabels": labels_ or {"nvidia.com/gpu.product": "NVIDIA-L4"}}
    return {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "GPUPool",
        "metadata": {"name": name, "generation": 3},
        "spec": {"nodeSelector": selector, **spec},
    }


def view(nodes, pods=(), gpu_pools=(), services=()):
    read, _ = read_gpu_pools(gpu_pools)
    return view_cluster(nodes, pods, read, inputs_of(*services))


def free(pools) -> dict[str, int]:
    return {n.name: n.free_gpus for p in pools for n in p.nodes}


def test_our_own_pods_count_as_free_and_a_stranger_does_not():
    pods = [pod("ours", "a", 1, **OURS), pod("theirs", "a", 2)]
    assert free(view([node("a")], pods).discovery.pools) == {"a": 2}


def test_pods_to_be_replaced_are_free_for_shadow_services_only():
    dream = service("dream", mode="Shadow", replaces=SELECTOR)
    pods = [pod("old", "a", 3, app="old"), pod("else", "a", 1, namespace="other", app="old")]
    found = view([node("a")], pods, services=[dream])
    assert free(found.discovery.pools) == {"a": 0}
    # The pod in another namespace is not the service's to replace.
    assert free(found.shadow_pools) == {"a": 3}


def test_pods_to_be_replaced_cost_their_share_of_their_node():
    (dream,) = inputs_of(service(mode="Shadow", replaces=SELECTOR))
    pods = [pod("old", "a", 3, app="old"), pod("new", "a", 1, app="new")]
    pools = view([node("a")], pods).discovery.pools
    # 3 of 4 GPUs.
    assert replaced_usd_per_hour(dream, pods, pools) == round(pools[0].node_usd_per_hour * 3 / 4, 6)


def test_without_replaces_nothing_is_said_about_cost():
    (plain,) = inputs_of(service())
    assert replaced_usd_per_hour(plain, [], []) is None


def test_one_gpu_pool_that_means_nothing_does_not_hide_the_cluster():
    found = view([node("a")], gpu_pools=[gpu_pool("bad", gpuType="L400"), gpu_pool("good")])
    assert free(found.discovery.pools) == {"a": 4}
    assert found.problems["bad"].reason is Reason.INVALID_POOL
    assert [o.name for o in found.overrides] == ["good"]


def test_pods_tolerate_what_the_pool_of_their_own_node_says_and_nothing_else():
    pools = [
        gpu_pool("mine", {"team": "x"}, toleratedTaintKeys=["team.example/x"]),
        gpu_pool("other", {"team": "y"}, toleratedTaintKeys=["team.example/y"]),
    ]
    nodes = [node("a"), node("b")]
    nodes[0]["metadata"]["labels"]["team"] = "x"
    nodes[1]["metadata"]["labels"]["team"] = "y"
    access = pool_access(view(nodes, gpu_pools=pools), [instance("i", "a")])
    assert "team.example/x" in access[L4].tolerated_taint_keys
    assert "team.example/y" not in access[L4].tolerated_taint_keys


def test_a_slice_that_waits_for_a_node_goes_by_its_elastic_pools_labels():
    elastic = gpu_pool(
        "burst",
        {"pool": "burst"},
        gpuType="L4",
        gpusPerNode=4,
        region="us-east-1",
        scaling={"type": "Elastic", "maxNodes": 3},
    )
    access = pool_access(view([], gpu_pools=[elastic]), [instance("i", None)])
    assert access[L4].node_labels == {"pool": "burst"}


def test_a_cordoned_node_appears_in_the_status_of_its_gpu_pool():
    manifest = gpu_pool("l4")
    found = view([node("a"), node("b", unschedulable=True)], gpu_pools=[manifest])
    status = gpu_pool_status(manifest, found, None, now=NOW)
    assert (status.nodes, status.free_gpus, status.observed_generation) == (1, 4, 3)
    assert [(r.name, r.reason) for r in status.refused_nodes] == [("b", "Cordoned")]
    told = {c.type.value: (c.status.value, c.reason) for c in status.conditions}
    assert told == {"InputsReady": ("True", "InputsReady"), "Degraded": ("True", "NodeRefused")}


def test_the_plan_in_force_counts_what_serves():
    record = made_from([service()], instance("i"), instance("j"))
    reports = {
        "i": InstanceReport(InstanceState.READY, Reason.ALL_READY),
        "j": InstanceReport(InstanceState.STARTING, Reason.STARTING),
    }
    status = plan_status({}, record, reports, is_applied=True, now=NOW)
    told = {c.type.value: (c.status.value, c.reason, c.message) for c in status.conditions}
    assert status.ready_instances == 1
    assert told["Applied"][:2] == ("True", "Applied")
    assert told["Ready"] == ("False", "Starting", "1 of 2 serve")


def test_a_shadow_plan_is_never_said_to_be_applied():
    shadow = service(mode="Shadow")
    record = made_from([shadow], instance("i"), chain=Chain.SHADOW)
    reports = {"i": InstanceReport(InstanceState.STARTING, Reason.STARTING)}
    status = plan_status({}, record, reports, is_applied=True, now=NOW)
    assert {c.reason for c in status.conditions} == {"ShadowMode"}
