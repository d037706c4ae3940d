"""Bad input, one kind at a time: what is told, and that the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from operator_support import demand_of, fresh_nodes, model, running, service

from coral_localcluster import GpuNodeSpec, LocalClusterError, Taint, gpu_node

if TYPE_CHECKING:
    from operator_support import Bench

pytestmark = pytest.mark.cluster

GOOD = "good"
"""Every test has a service with this name beside the broken thing; it must not notice."""


@pytest.fixture(scope="module")
def operator(cluster, tmp_path_factory):
    cluster.add_nodes(fresh_nodes(2, "L40S", 4))
    yield from running(cluster, tmp_path_factory.mktemp("operator"))


@pytest.fixture
def bench(operator):
    bench = operator[0]
    policy = {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "PlanningPolicy",
        "metadata": {"name": "default"},
        # A short interval: tests of nodes would wait for it.
        "spec": {"minimumIntervalSeconds": 0.5},
    }
    bench.apply(policy)
    yield bench
    bench.clean()


@pytest.fixture
def good(bench) -> Bench:
    """Give the bench with a service that runs."""
    bench.apply(service(GOOD))
    bench.wait_for(GOOD, Ready="AllReady")
    return bench


def good_pods(bench: Bench) -> dict[str, str]:
    """Return the pods of the good service."""
    found = bench.items("pods", "-l", f"serving.coral.dev/service={GOOD}")
    return {pod["metadata"]["uid"]: pod["spec"]["nodeName"] for pod in found}


def used_nodes(bench: Bench) -> set[str]:
    """Return the nodes of the pods that have one by now."""
    specs = [pod["spec"] for pod in bench.pods().values()]
    return {spec["nodeName"] for spec in specs if "nodeName" in spec}


def reasons(bench: Bench, name: str) -> dict[str, str]:
    return {m["name"]: m["reason"] for m in bench.service(name)["status"]["models"]}


def test_a_model_that_no_gpu_of_the_cluster_may_run(good):
    before = good_pods(good)
    wants_h100 = model("phi-4", gpuTypes={"allow": ["H100-80GB"]})
    good.apply(service("bad", wants_h100, model("fine")))
    good.wait_for("bad", Planned="Planned", Degraded="NoTemplate")
    assert reasons(good, "bad") == {"phi-4": "NoTemplate", "fine": "Served"}
    assert good_pods(good) == before


def test_a_latency_target_that_no_gpu_can_meet(good):
    before = good_pods(good)
    hasty = model("hasty", slo={"ttftMilliseconds": 1, "tpotMilliseconds": 1})
    good.apply(service("bad", hasty))
    good.wait_for("bad", Planned="Planned", Degraded="NoTemplate", Ready="UnmetDemand")
    (told,) = good.service("bad")["status"]["models"]
    assert told["unmetRequestsPerSecond"] == 1.0
    assert told["message"]
    assert good_pods(good) == before


def test_more_demand_than_the_cluster_can_carry_is_served_as_far_as_it_goes(bench):
    bench.apply(service("big", model("phi-4", demand=500.0)))
    bench.wait_for("big", Degraded="CapacityShort", Planned="Planned")
    (told,) = bench.service("big")["status"]["models"]
    assert told["plannedRequestsPerSecond"] + told["unmetRequestsPerSecond"] == pytest.approx(500.0)
    assert told["plannedRequestsPerSecond"] > 0
    assert any(e["type"] == "Warning" for e in bench.events("CapacityShort"))


@pytest.mark.parametrize("demand", [-1.0, 1e12], ids=["negative", "absurd"])
def test_a_demand_that_cannot_be_meant_is_refused_at_the_door(good, demand):
    before = good.service(GOOD)["spec"]
    with pytest.raises(LocalClusterError, match="requestsPerSecond"):
        good.patch_service(GOOD, demand_of(demand))
    assert good.service(GOOD)["spec"] == before


def test_a_spec_that_breaks_a_rule_of_the_crd_is_refused_with_the_rules_words(good):
    lengths = {"inputTokens": {"mean": 5, "quantiles": []}, "outputTokens": {"mean": 5}}
    with pytest.raises(LocalClusterError, match="give either mean or quantiles"):
        good.apply(service("bad", model("phi-4", workload=lengths)))


def test_a_model_that_nobody_knows_beside_one_that_everybody_knows(good):
    before = good_pods(good)
    good.apply(service("mixed", model("known"), model("strange", "nobody/made-this")))
    good.wait_for("mixed", InputsReady="SomeModelsInvalid", Applied="Applied")
    assert reasons(good, "mixed") == {"known": "Served", "strange": "UnknownModel"}
    assert "catalogModel" in good.message("mixed", "InputsReady")
    assert good_pods(good) == before


def odd_node(name: str, **fields: Any) -> GpuNodeSpec:
    """Return a good H100 node but for what a test changes."""
    return gpu_node(name, "H100", 8, **fields)


ODD_NODES = {
    "UnknownGpuLabel": {"extra_labels": {"nvidia.com/gpu.product": "Mystery-9000"}},
    "MigEnabled": {"extra_labels": {"nvidia.com/mig.config": "all-1g.10gb"}},
    "TimeSliced": {"extra_labels": {"nvidia.com/gpu.product": "NVIDIA-H100-SHARED"}},
    "MixedGpus": {"extra_labels": {"nvidia.com/gpu.count": "4"}},
    "Cordoned": {"is_unschedulable": True},
    "TaintNotTolerated": {"taints": (Taint(key="team.example/private"),)},
}


@pytest.mark.parametrize("reason", sorted(ODD_NODES))
def test_a_node_that_cannot_be_used_is_left_alone_and_told(good, operator, reason):
    before = good_pods(good)
    odd = f"odd-{reason.lower()}"
    good.cluster.add_nodes([odd_node(odd, **ODD_NODES[reason])])
    try:
        name = f'coral_nodes_refused{{reason="{reason}"}}'
        good.wait_until(lambda: operator[1].metrics().get(name) == 1.0, f"{reason} in the metrics")
        wants_h100 = model("phi-4", gpuTypes={"allow": ["H100-80GB"]})
        good.apply(service("bad", wants_h100))
        good.wait_for("bad", Degraded="NoTemplate", Planned="Planned")

        def told() -> list[str]:
            return [
                e["message"]
                for e in good.events("NodeRefused")
                if e["involvedObject"]["name"] == odd
            ]

        # There may be another before, from the moment before the node was ready.
        good.wait_until(
            lambda: any(message.startswith(f"{reason}: ") for message in told()),
            "an event about the node",
            detail=lambda: f"{told()} {operator[1].log()}",
        )
        # Once for its reason, and at most for having been looked at before it was ready.
        reasons = [message.split(":")[0] for message in told()]
        assert reasons.count(reason) == 1
        assert set(reasons) <= {reason, "NotReady"}
        assert good_pods(good) == before
    finally:
        good.cluster.remove_nodes([odd])


def test_a_node_that_is_not_ready_is_planned_around_and_used_again_when_it_is(bench, operator):
    bench.cluster.add_nodes([odd_node("spare")])
    try:
        bench.apply(service("chat", model("phi-4", gpuTypes={"allow": ["H100-80GB", "L40S"]})))
        bench.wait_for("chat", Ready="AllReady")
        for node in used_nodes(bench):
            bench.cluster.set_node_ready(node, "False")
            bench.wait_until(
                lambda n=node: (
                    bench.plans()[-1]["spec"]["instances"]
                    and not any(n in str(i) for i in bench.plans()[-1]["spec"]["instances"])
                ),
                f"a plan without {node}",
            )
            bench.wait_for("chat", Ready="AllReady", Applied="Applied")
            bench.cluster.set_node_ready(node, "True")
            bench.wait_until(
                lambda: 'coral_nodes_refused{reason="NotReady"}' not in operator[1].metrics(),
                "the node to be usable again",
            )
    finally:
        bench.cluster.remove_nodes(["spare"])


def test_a_cordoned_node_is_left_and_its_gpu_pool_says_so(bench):
    pool = {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "GPUPool",
        "metadata": {"name": "l40s"},
        "spec": {"nodeSelector": {"matchLabels": {"nvidia.com/gpu.product": "NVIDIA-L40S"}}},
    }
    bench.apply(pool, service("chat"))
    bench.wait_for("chat", Ready="AllReady")
    (node,) = used_nodes(bench)
    bench.cluster.cordon(node)
    try:
        bench.wait_until(lambda: used_nodes(bench) not in ({node}, set()), "the other node")
        bench.wait_for("chat", Ready="AllReady")

        def status() -> dict:
            return bench.items("gpupools")[0].get("status", {})

        bench.wait_until(lambda: status().get("refusedNodes"), "the refused node")
        assert [(r["name"], r["reason"]) for r in status()["refusedNodes"]] == [(node, "Cordoned")]
        assert (status()["nodes"], status()["freeGpus"]) == (1, 4)
    finally:
        bench.cluster.cordon(node, is_unschedulable=False)


def profile(name: str, tensor_parallel: int, tpot_ms: float) -> dict:
    return {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "PerformanceProfile",
        "metadata": {"name": name},
        "spec": {
            "model": "microsoft/phi-4",
            "gpuType": "L40S",
            "tensorParallel": tensor_parallel,
            "points": [
                {
                    "inputTokens": 512,
                    "outputTokens": 128,
                    "concurrency": 8,
                    "tpotMilliseconds": tpot_ms,
                }
            ],
        },
    }


def test_profiles_that_contradict_each_other_are_told_and_a_good_one_is_used(good):
    before = good_pods(good)

    def told(name: str) -> tuple[str, str, int]:
        (found,) = [p for p in good.items("perfprofile") if p["metadata"]["name"] == name]
        status = found.get("status") or {}
        (condition, *_) = status.get("conditions") or [{"status": "", "reason": ""}]
        return condition["status"], condition["reason"], status.get("models", 0)

    good.apply(profile("fast", 2, 20.0), profile("slow", 2, 90.0), profile("right", 1, 48.0))
    for name in ("fast", "slow"):
        good.wait_until(
            lambda name=name: told(name) == ("False", "ContradictoryProfile", 0), f"{name} is told"
        )
    good.wait_until(lambda: told("right") == ("True", "InputsReady", 1), "the good one is used")

    def sources() -> set[str]:
        newest = max(good.items("splan"), key=lambda plan: plan["metadata"]["name"])
        return {t["prediction"]["source"] for t in newest["spec"]["templates"]}

    good.wait_until(
        lambda: all("1 measured point of this model on L40S TP 1" in s for s in sources()),
        "a plan with the measured point",
    )
    good.wait_for(GOOD, Ready="AllReady")
    # What was measured is near what was predicted: nothing moves.
    assert good_pods(good) == before


def test_gpus_that_other_pods_hold_are_not_planned_with(bench):
    def holder(name: str, node: str, gpus: int) -> dict:
        container = {
            "name": "main",
            "image": "example/holder:1",
            "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "containers": [container]},
        }

    full, roomy = sorted(
        n["metadata"]["name"] for n in bench.items("nodes") if "l40s" in n["metadata"]["name"]
    )
    bench.apply(holder("all", full, 4), holder("most", roomy, 3))
    try:
        bench.wait_until(
            lambda: all(p["status"]["phase"] == "Running" for p in bench.items("pods")),
            "the pods by hand",
        )
        bench.apply(service("chat", model("phi-4", demand=500.0)))
        bench.wait_for("chat", Planned="Planned", Degraded="CapacityShort", Applied="Applied")
        bench.wait_until(lambda: used_nodes(bench) == {roomy}, "the pod on the last free GPU")
        # One GPU was left; the pods by hand are still there.
        (instance,) = bench.plans()[-1]["spec"]["instances"]
        assert instance["slices"][0]["node"] == roomy
        assert len(bench.items("pods", "--field-selector=status.phase=Running")) == 3
    finally:
        bench.cluster.kubectl("delete", "pod", "all", "most", "--now")
    bench.wait_until(lambda: len(bench.pods()) > 1, "a plan with the GPUs that became free")


def test_a_node_with_fewer_gpus_than_it_claims_is_used_for_what_it_has(bench):
    claims_eight = GpuNodeSpec(
        name="short", gpu_count=1, labels=odd_node("short").labels, region="us-east-1"
    )
    bench.cluster.add_nodes([claims_eight])
    try:
        only_h100 = model("phi-4", demand=500.0, gpuTypes={"allow": ["H100-80GB"]})
        bench.apply(service("chat", only_h100))
        bench.wait_for("chat", Degraded="CapacityShort", Applied="Applied")
        (instance,) = bench.plans()[-1]["spec"]["instances"]
        assert instance["slices"][0]["node"] == "short"
        bench.wait_until(lambda: used_nodes(bench) == {"short"}, "the pod on its one GPU")
    finally:
        bench.cluster.remove_nodes(["short"])


def test_a_cluster_without_gpus_says_so_until_it_has_some(bench):
    names = [n["metadata"]["name"] for n in bench.items("nodes")]
    bench.cluster.remove_nodes(names)
    try:
        bench.apply(service("chat"))
        bench.wait_for("chat", InputsReady="NoGpuNodes", Planned="NoGpuNodes")
        assert "no GPU node" in bench.message("chat", "InputsReady")
    finally:
        bench.cluster.add_nodes(fresh_nodes(2, "L40S", 4))
    bench.wait_for("chat", InputsReady="InputsReady", Ready="AllReady")


def test_a_lost_node_is_planned_around(bench):
    bench.apply(service("chat"))
    bench.wait_for("chat", Ready="AllReady")
    (node,) = used_nodes(bench)
    bench.cluster.remove_nodes([node])
    try:
        bench.wait_until(lambda: used_nodes(bench) not in ({node}, set()), "the other node")
        bench.wait_for("chat", Ready="AllReady", Applied="Applied")
    finally:
        bench.cluster.add_nodes(fresh_nodes(1, "L40S", 4))
