"""From a service to running, pinned Deployments, and back, on a real API server and scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from operator_support import demand_of, fresh_nodes, model, running, service

from coral_api.plans import instances_from
from coral_api.servingplan import ServingPlan
from coral_localcluster import READY_DELAY_ANNOTATION

if TYPE_CHECKING:
    from operator_support import Bench

pytestmark = pytest.mark.cluster

HAND_MADE = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "by-hand", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "by-hand"}},
        "template": {
            "metadata": {"labels": {"app": "by-hand"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "example/by-hand:1",
                        "resources": {"limits": {"nvidia.com/gpu": "4"}},
                    }
                ]
            },
        },
    },
}


@pytest.fixture(scope="module")
def operator(cluster, tmp_path_factory):
    cluster.add_nodes([*fresh_nodes(2, "L40S", 4), *fresh_nodes(1, "A100-80GB", 8)])
    yield from running(cluster, tmp_path_factory.mktemp("operator"))


@pytest.fixture
def bench(operator):
    yield operator[0]
    operator[0].clean()


def planned_nodes(bench: Bench) -> dict[str, str | None]:
    """Return the node of each Deployment that the plan in force asks for; one stage each."""
    plan = ServingPlan.from_manifest(bench.plans()[-1])
    return {f"{i.name}-s0": i.slices[0].node for i in instances_from(plan)}


def actual_nodes(bench: Bench) -> dict[str, str | None]:
    return {name: pod["spec"].get("nodeName") for name, pod in bench.pods().items()}


def uids(bench: Bench) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in bench.pods().items()}


def test_an_active_service_runs_exactly_where_the_plan_says(bench, operator):
    bench.apply(service("chat", model("phi-4"), model("qwen", "Qwen/Qwen3-32B")))
    bench.wait_for("chat", Ready="AllReady", Applied="Applied", Degraded="AsExpected")
    assert actual_nodes(bench) == planned_nodes(bench) != {}
    assert set(bench.children("services")) == {"chat-phi-4", "chat-qwen"}
    status = bench.service("chat")["status"]
    assert status["instances"] == status["readyInstances"] == len(bench.children())
    assert all(m["readyRequestsPerSecond"] >= 1.0 for m in status["models"])
    assert bench.plans()[-1]["metadata"]["name"] == status["planRef"]
    metrics = operator[1].metrics()
    assert metrics["coral_leader"] == 1.0
    labels = '{mode="Active",model="qwen",namespace="default",service="chat"}'
    assert metrics[f"coral_model_ready_requests_per_second{labels}"] >= 1.0
    assert operator[1].health() == '{"loop": "ok"}'
    assert any(e["involvedObject"]["name"] == "chat" for e in bench.events("PlanChanged"))


def test_more_demand_adds_and_less_demand_removes_exactly_what_the_plan_dropped(bench):
    bench.apply(service("chat", model("phi-4"), model("other", "openai/gpt-oss-20b")))
    bench.wait_for("chat", Ready="AllReady")
    small = uids(bench)
    bench.patch_service("chat", demand_of(12.0))
    bench.wait_for("chat", Planned="Planned", Ready="AllReady")
    bench.wait_until(lambda: actual_nodes(bench) == planned_nodes(bench), "the larger plan")
    large = uids(bench)
    assert len(large) > len(small)
    kept = set(bench.plans()[-1]["spec"]["diff"]["kept"])
    # What the plan keeps is not restarted.
    assert {f"{name}-s0" for name in kept} == {n for n in small if large.get(n) == small[n]}
    bench.patch_service("chat", demand_of(1.0))
    bench.wait_for("chat", Planned="Planned", Ready="AllReady")
    bench.wait_until(lambda: actual_nodes(bench) == planned_nodes(bench), "the smaller plan")
    dropped = {f"{name}-s0" for name in bench.plans()[-1]["spec"]["diff"]["removed"]}
    assert dropped == large.keys() - {n for n, uid in uids(bench).items() if large.get(n) == uid}


def test_demand_zero_runs_nothing_and_is_well(bench):
    bench.apply(service("chat", model("phi-4", demand=0.0)))
    bench.wait_for("chat", Ready="AllReady", Planned="Planned")
    assert bench.children() == {}
    (told,) = bench.service("chat")["status"]["models"]
    assert (told["reason"], told["instances"]) == ("NoDemand", 0)


def test_one_service_changing_leaves_the_plan_of_another_in_place(bench):
    bench.apply(service("steady"), service("moving"))
    bench.wait_for("steady", Ready="AllReady")
    bench.wait_for("moving", Ready="AllReady")
    before = uids(bench)
    plan = ServingPlan.from_manifest(bench.plans()[-1])
    steady = [i.name for i in instances_from(plan) if "/steady/" in i.template.model_id]
    assert steady
    bench.patch_service("moving", demand_of(4.0))
    bench.wait_for("moving", Planned="Planned", Ready="AllReady")
    after = uids(bench)
    assert all(after[f"{name}-s0"] == before[f"{name}-s0"] for name in steady)
    bench.cluster.kubectl("delete", "mls", "moving", "--timeout=60s")
    bench.wait_for("steady", Ready="AllReady")


def test_a_shadow_service_beside_an_active_one_is_planned_and_takes_nothing(bench):
    bench.apply(HAND_MADE)
    try:
        bench.wait_until(lambda: bench.items("pods", "-l", "app=by-hand"), "the pod by hand")
        bench.apply(service("run"))
        bench.wait_for("run", Ready="AllReady")
        before = uids(bench)
        replaces = {"matchLabels": {"app": "by-hand"}}
        bench.apply(service("dream", mode="Shadow", replaces=replaces))
        bench.wait_for("dream", Planned="Planned", Applied="ShadowMode")
        status = bench.service("dream")["status"]
        assert (status["instances"], status["readyInstances"]) == (1, 0)
        # 4 GPUs of an L40S node with 4, or of an A100 node with 8.
        assert status["replacedUsdPerHour"] > 0
        assert uids(bench) == before
        assert "finalizers" not in bench.service("dream")["metadata"]
        assert bench.plans("shadow")[-1]["metadata"]["name"] == status["planRef"]
        taken = {i["slices"][0]["node"] for i in bench.plans("shadow")[-1]["spec"]["instances"]}
        assert taken
    finally:
        bench.cluster.kubectl("delete", "deployment", "by-hand")


def test_an_active_service_made_shadow_gives_everything_back(bench):
    bench.apply(service("chat"))
    bench.wait_for("chat", Ready="AllReady")
    bench.patch_service("chat", {"op": "replace", "path": "/spec/mode", "value": "Shadow"})
    bench.wait_for("chat", Applied="ShadowMode", Planned="Planned")
    bench.wait_until(lambda: not bench.children() and not bench.children("services"), "no child")
    assert bench.plans()[-1]["spec"]["instances"] == []


def test_a_paused_service_keeps_what_runs_until_it_goes_on(bench):
    bench.apply(service("chat"))
    bench.wait_for("chat", Ready="AllReady")
    before = uids(bench)
    bench.patch_service(
        "chat", {"op": "add", "path": "/spec/paused", "value": True}, demand_of(12.0)
    )
    bench.wait_for("chat", Planned="Paused", Applied="Paused", Ready="AllReady")
    bench.apply(service("neighbour"))
    bench.wait_for("neighbour", Ready="AllReady")
    assert {n: u for n, u in uids(bench).items() if n in before} == before
    bench.patch_service("chat", {"op": "replace", "path": "/spec/paused", "value": False})
    bench.wait_for("chat", Planned="Planned", Ready="AllReady")
    (told,) = bench.service("chat")["status"]["models"]
    assert told["readyRequestsPerSecond"] >= 12.0


def test_a_service_deleted_in_the_middle_of_its_rollout_leaves_nothing(bench):
    slow = {"annotations": {READY_DELAY_ANNOTATION: "600s"}}
    bench.apply(service("chat", model("phi-4", podTemplate=slow)), service("other"))
    bench.wait_for("chat", Ready="Starting")
    bench.wait_until(lambda: any("phi-4" in name for name in bench.pods()), "a pod that starts")
    bench.cluster.kubectl("delete", "mls", "chat", "--timeout=60s")
    labels = "serving.coral.dev/service=chat"
    for kind in ("deployments", "services", "pods"):
        bench.wait_until(lambda k=kind: not bench.items(k, "-l", labels), f"no {kind}")
    bench.wait_for("other", Ready="AllReady")


def test_a_foreign_object_of_a_childs_name_is_never_touched(bench):
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "chat-phi-4", "namespace": "default"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    bench.apply(foreign)
    stored = bench.items("services", "--field-selector=metadata.name=chat-phi-4")
    try:
        bench.apply(service("chat"), service("other"))
        bench.wait_for("other", Ready="AllReady", Applied="Applied")
        bench.wait_for("chat", Applied="ApplyConflict", Degraded="ApplyConflict")
        assert "rename" in bench.message("chat", "Applied")
        assert bench.items("services", "--field-selector=metadata.name=chat-phi-4") == stored
    finally:
        bench.cluster.kubectl("delete", "mls", "chat", "--timeout=60s")
        after = bench.items("services", "--field-selector=metadata.name=chat-phi-4")
        bench.cluster.kubectl("delete", "service", "chat-phi-4")
    assert after == stored


def test_what_somebody_changes_or_deletes_is_put_right_and_strangers_are_left_alone(bench):
    bench.apply(HAND_MADE)
    try:
        bench.apply(service("chat"))
        bench.wait_for("chat", Ready="AllReady")
        (name,) = bench.children()
        bench.cluster.kubectl("scale", "deployment", name, "--replicas=3")
        bench.wait_until(lambda: bench.children()[name]["spec"]["replicas"] == 1, "one replica")
        bench.cluster.kubectl("delete", "deployment", name)
        bench.wait_until(lambda: name in bench.children(), "the Deployment again")
        bench.wait_for("chat", Ready="AllReady")
        (stranger,) = bench.items("deployments", "-l", "!app.kubernetes.io/managed-by")
        assert stranger["metadata"]["name"] == "by-hand"
        assert stranger["metadata"]["generation"] == 1
    finally:
        bench.cluster.kubectl("delete", "deployment", "by-hand")


def test_a_plan_that_somebody_deletes_is_made_anew_without_restarting_anything(bench):
    bench.apply(service("chat"))
    bench.wait_for("chat", Ready="AllReady")
    before, name = uids(bench), bench.service("chat")["status"]["planRef"]
    bench.cluster.kubectl("delete", "servingplan", name)
    bench.patch_service("chat", demand_of(1.01))
    bench.wait_for("chat", Planned="Planned", Ready="AllReady")
    assert bench.service("chat")["status"]["planRef"] != name
    assert uids(bench) == before
