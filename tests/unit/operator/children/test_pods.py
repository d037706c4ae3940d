"""Pods have what the plan promises and what vLLM needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_pod_cases import (
    GPU_TYPES,
    LLAMA_8B,
    LLAMA_70B,
    Case,
    cases,
    instance,
    served,
    service_with,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from coral_operator.children import labels
from coral_operator.children.settings import DEFAULT_IMAGE, VLLM_VERSION
from coral_solver.domain.workload import Phase


def deployments(case):
    found = [m for m in case.children().manifests if m["kind"] == "Deployment"]
    assert case.children().problems == ()
    assert found
    return found


def pod(deployment):
    return deployment["spec"]["template"]["spec"]


def container(deployment):
    (only,) = pod(deployment)["containers"]
    return only


def env(deployment):
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container(deployment)["env"]}


ALL = [(name, d) for name, case in cases().items() for d in deployments(case)]
every_pod = pytest.mark.parametrize(("name", "deployment"), ALL)


@st.composite
def placements(draw):
    """Any placement in which all layers are held and every stage has the same GPU count."""
    stages = draw(st.integers(1, 6))
    cuts = draw(
        st.sets(st.integers(1, LLAMA_70B.layers - 1), min_size=stages - 1, max_size=stages - 1)
    )
    edges = [0, *sorted(cuts), LLAMA_70B.layers]
    gpus = draw(st.lists(st.sampled_from(sorted(GPU_TYPES)), min_size=stages, max_size=stages))
    phase = draw(st.sampled_from(Phase if stages == 1 else [Phase.WHOLE, Phase.PREFILL]))
    return instance(
        draw(st.text(min_size=1, max_size=80)),
        "llama-70b",
        [(edges[i + 1] - edges[i], gpu, f"node-{i}") for i, gpu in enumerate(gpus)],
        tensor_parallel=draw(st.sampled_from([1, 2, 4, 8])),
        phase=phase,
    )


@settings(deadline=None, derandomize=True)
@given(placements())
def test_pods_of_any_instance_take_its_gpus_hold_its_layers_and_sit_on_its_nodes(one):
    case = Case(
        service=service_with("llama-70b", {"huggingFace": "a/b"}),
        model=served("llama-70b", LLAMA_70B),
        instances=(one,),
    )
    found = deployments(case)
    per_pod = [container(d)["resources"]["limits"] for d in found]
    assert sum(int(n) for limits in per_pod for n in limits.values()) == one.template.gpu_count
    names = [
        pod(d)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ][0]["matchFields"][0]["values"]
        for d in found
    ]
    assert names == [[piece.node] for piece in one.slices]
    partitions = {env(d).get("VLLM_PP_LAYER_PARTITION") for d in found}
    assert len(partitions) == 1
    (partition,) = partitions
    if len(found) > 1:
        layers = [int(part) for part in partition.split(",")]
        assert sum(layers) == LLAMA_70B.layers
        assert layers == [stage.layers for stage in one.template.stages]
    else:
        assert partition is None
    assert len({d["metadata"]["name"] for d in found}) == len(one.template.stages)


@every_pod
def test_gpus_are_requested_and_limited_alike(name, deployment):
    resources = container(deployment)["resources"]
    (resource,) = resources["limits"]
    assert resources["requests"][resource] == resources["limits"][resource]
    assert "cpu" not in resources["limits"]
    assert "memory" not in resources["limits"]


def test_amd_gpus_are_asked_for_by_their_own_name():
    (deployment,) = deployments(cases()["image-on-elastic-amd-pool"])
    assert container(deployment)["resources"]["limits"] == {"amd.com/gpu": "1"}
    assert {"key": "amd.com/gpu", "operator": "Exists"} in pod(deployment)["tolerations"]


def test_memory_grows_with_gpus_and_weights():
    small = container(deployments(cases()["single-gpu"])[0])["resources"]["requests"]
    # 4 + 2 * 1 + 1 GiB, and an eighth of 15.0 GiB (8.03e9 weights of 2 bytes): 8.9 -> 9.
    assert (small["cpu"], small["memory"]) == ("2", "9Gi")
    large = container(deployments(cases()["pipeline-on-unlike-gpus"])[1])["resources"]["requests"]
    # 4 + 2 * 2 + 1 GiB, and an eighth of 56/80 of 131.4 GiB (7.06e10 weights): 20.5 -> 21.
    assert (large["cpu"], large["memory"]) == ("3", "21Gi")


@every_pod
def test_a_pod_may_take_as_long_to_stop_as_its_engine(name, deployment):
    args = container(deployment)["args"]
    timeout_s = int(args[args.index("--shutdown-timeout") + 1])
    hook = container(deployment)["lifecycle"]["preStop"]
    removal_s = hook["sleep"]["seconds"] if "sleep" in hook else 0
    # 15 s: what vLLM needs to exit after its last request (seen: 6 to 15 s).
    assert pod(deployment)["terminationGracePeriodSeconds"] > removal_s + timeout_s + 15


@every_pod
def test_the_startup_probe_waits_as_long_as_vllm_itself(name, deployment):
    probe = container(deployment)["startupProbe"]
    budget_s = probe["periodSeconds"] * probe["failureThreshold"]
    ready_s = int(env(deployment)["VLLM_ENGINE_READY_TIMEOUT_S"])
    assert ready_s <= budget_s < ready_s + probe["periodSeconds"]
    assert deployment["spec"]["progressDeadlineSeconds"] > budget_s


def test_larger_weights_get_more_time_to_load():
    times = {
        name: int(env(deployments(cases()[name])[0])["VLLM_ENGINE_READY_TIMEOUT_S"])
        for name in ("single-gpu", "tensor-parallel-online-fp8", "pipeline-on-unlike-gpus")
    }
    # 900 s + 16.06e9 B / 100e6 B/s = 1060.6; the published 141.1e9 B take 1411 s, in fp8 too;
    # a pipeline waits 900 s more for its other stages.
    assert times == {
        "single-gpu": 1061,
        "tensor-parallel-online-fp8": 2312,
        "pipeline-on-unlike-gpus": 3212,
    }


@every_pod
def test_every_pod_has_shared_memory_and_no_service_links(name, deployment):
    mounts = {m["name"]: m["mountPath"] for m in container(deployment)["volumeMounts"]}
    volumes = {v["name"]: v for v in pod(deployment)["volumes"]}
    assert mounts["shared-memory"] == "/dev/shm"  # noqa: S108 - inside the container
    assert volumes["shared-memory"]["emptyDir"]["medium"] == "Memory"
    assert set(mounts) == set(volumes)
    assert pod(deployment)["enableServiceLinks"] is False


def test_leader_answers_for_itself_and_worker_asks_its_leader():
    leader, worker = map(container, deployments(cases()["pipeline-on-unlike-gpus"]))
    assert leader["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    assert "readinessProbe" not in worker
    for probe in (worker["startupProbe"], worker["livenessProbe"]):
        assert "assistants-llama-70b-0-leader.chat.svc" in probe["exec"]["command"]


def test_only_pipelines_look_for_dead_stages_sooner():
    single, *_ = deployments(cases()["single-gpu"])
    for stage in deployments(cases()["pipeline-on-unlike-gpus"]):
        assert env(stage)["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"] == "60"
    assert "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS" not in env(single)


def test_the_sides_of_a_kv_transfer_meet_at_pod_addresses():
    for deployment in deployments(cases()["prefill-and-decode"]):
        host = env(deployment)["VLLM_NIXL_SIDE_CHANNEL_HOST"]
        assert host == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_hub_models_get_a_cache_and_the_token_from_its_secret():
    (deployment,) = deployments(cases()["single-gpu"])
    reference = {"secretKeyRef": {"name": "hub-token", "key": "token"}}
    assert env(deployment)["HF_TOKEN"] == reference
    mounts = {m["name"]: m["mountPath"] for m in container(deployment)["volumeMounts"]}
    assert env(deployment)["HF_HOME"].startswith(mounts["model-cache"])


def test_mounted_weights_are_read_only_and_never_looked_for_on_the_hub():
    (deployment,) = deployments(cases()["claim-on-gpu-without-bf16"])
    volumes = {v["name"]: v for v in pod(deployment)["volumes"]}
    assert volumes["model"]["persistentVolumeClaim"] == {"claimName": "weights", "readOnly": True}
    assert env(deployment)["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("cache", "volume"),
    [
        ({}, {"emptyDir": {}}),
        ({"sizeLimit": "200Gi"}, {"emptyDir": {"sizeLimit": "200Gi"}}),
        ({"claimName": "hub"}, {"persistentVolumeClaim": {"claimName": "hub"}}),
        ({"hostPath": "/mnt/hub"}, {"hostPath": {"path": "/mnt/hub", "type": "DirectoryOrCreate"}}),
    ],
)
def test_the_cache_lies_where_the_user_wants_it(cache, volume):
    case = Case(
        service=service_with("llama-8b", {"huggingFace": "a/b"}, podTemplate={"cache": cache}),
        model=served("llama-8b", LLAMA_8B),
        instances=(instance("x", "llama-8b", [(32, "L4", "node")]),),
    )
    (deployment,) = deployments(case)
    assert {"name": "model-cache", **volume} in pod(deployment)["volumes"]


def test_an_elastic_stage_goes_to_any_node_of_its_pool():
    (deployment,) = deployments(cases()["image-on-elastic-amd-pool"])
    affinity = pod(deployment)["affinity"]["nodeAffinity"]
    assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {
            "matchExpressions": [
                {"key": "pool", "operator": "In", "values": ["mi300x"]},
                {"key": "tier", "operator": "In", "values": ["burst"]},
            ]
        }
    ]
    assert {"key": "burst", "operator": "Exists"} in pod(deployment)["tolerations"]


def test_pod_template_and_engine_of_the_user_are_honoured():
    (deployment,) = deployments(cases()["user-settings"])
    spec = pod(deployment)
    assert container(deployment)["image"] == "registry.example/vllm:0.32.0-ours"
    assert container(deployment)["resources"]["requests"]["cpu"] == "6"
    assert container(deployment)["resources"]["requests"]["memory"] == "48Gi"
    assert env(deployment)["NCCL_DEBUG"] == "WARN"
    assert spec["serviceAccountName"] == "models"
    assert spec["automountServiceAccountToken"] is True
    assert spec["priorityClassName"] == "serving"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["tolerations"][-1]["value"] == "search"
    metadata = deployment["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "search"
    assert metadata["annotations"] == {"example.com/owner": "search"}


def test_a_users_label_cannot_take_the_place_of_ours():
    case = cases()["single-gpu"]
    hostile = {"app": "x", labels.OPENCOST_MODEL: "other"}
    service = service_with("llama-8b", {"huggingFace": "a/b"}, podTemplate={"labels": hostile})
    (deployment,) = deployments(replace(case, service=service))
    found = deployment["spec"]["template"]["metadata"]["labels"]
    assert (found["app"], found[labels.OPENCOST_MODEL]) == ("x", "llama-8b")


@every_pod
def test_the_selector_finds_the_pod_and_never_changes_with_its_form(name, deployment):
    selector = deployment["spec"]["selector"]["matchLabels"]
    found = deployment["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= found.items()
    assert labels.GROUP_DIGEST not in selector
    assert labels.PHASE not in selector


def test_the_image_is_that_of_the_version_that_was_checked():
    (deployment,) = deployments(cases()["single-gpu"])
    assert container(deployment)["image"] == DEFAULT_IMAGE
    assert VLLM_VERSION in DEFAULT_IMAGE
