"""The children of a service as a whole: which there are, when they change, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_pod_cases import (
    GPU_TYPES,
    LLAMA_8B,
    NAMESPACE,
    SERVICE,
    Case,
    cases,
    instance,
    model_id,
    pool,
    served,
    service_with,
)

from coral_api.conditions import Reason
from coral_api.multillmservice import MultiLLMService
from coral_operator.children import labels
from coral_operator.children.build import desired_children
from coral_operator.children.identity import ChildKey, child_key, is_ours, model_of
from coral_operator.children.settings import ChildSettings, PoolAccess
from coral_solver.domain.workload import LengthDistribution, Phase, Slo, Workload

SETTINGS = ChildSettings(gpu_types=GPU_TYPES)
HUB = {"huggingFace": "meta-llama/Llama-3.1-8B-Instruct"}


def one_model(*instances, **fields):
    """Return the case of one small model with these instances."""
    return Case(
        service=service_with("llama-8b", HUB, **fields),
        model=served("llama-8b", LLAMA_8B),
        instances=instances,
    )


def two_models(first_args=()):
    """Return a service with two models, the first with arguments of its own."""
    one = service_with("first", HUB).to_json()
    two = service_with("second", HUB).to_json()
    one["spec"]["models"][0]["engine"] = {"args": list(first_args)}
    one["spec"]["models"] += two["spec"]["models"]
    return MultiLLMService.from_manifest(one)


def digests(case):
    return {
        child["metadata"]["name"]: child["spec"]["template"]["metadata"]["labels"][
            labels.GROUP_DIGEST
        ]
        for child in case.children().manifests
        if child["kind"] == "Deployment"
    }


PIPELINE = instance("pipe", "llama-8b", [(20, "L4", "a"), (12, "L4", "b")])
SINGLE = instance("single", "llama-8b", [(32, "L4", "c")])


@pytest.mark.parametrize("name", sorted(cases()))
def test_the_same_input_gives_the_same_children(name):
    assert cases()[name].children() == cases()[name].children()


def test_the_order_of_the_plans_instances_does_not_matter():
    assert one_model(PIPELINE, SINGLE).children() == one_model(SINGLE, PIPELINE).children()


@pytest.mark.parametrize("name", sorted(cases()))
def test_children_are_ours_owned_by_their_service_and_made_once(name):
    manifests = cases()[name].children().manifests
    assert len({child_key(child) for child in manifests}) == len(manifests)
    for child in manifests:
        assert is_ours(child)
        assert model_of(child) == cases()[name].model.id
        assert child["metadata"]["namespace"] == NAMESPACE
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("MultiLLMService", SERVICE)


def test_instances_of_other_services_are_left_out():
    other = replace(SINGLE.template, model_id=f"{NAMESPACE}/{SERVICE}-2/llama-8b")
    found = one_model(SINGLE, replace(SINGLE, name="other", template=other)).children()
    assert [c["metadata"]["name"] for c in found.manifests if c["kind"] == "Deployment"] == [
        "single-s0"
    ]


def test_demand_targets_and_traffic_do_not_touch_running_instances():
    before = one_model(SINGLE)
    after = Case(
        service=service_with(
            "llama-8b",
            HUB,
            demand={"requestsPerSecond": 400.0, "headroom": 0.5},
            slo={"ttftMilliseconds": 100.0, "tpotMilliseconds": 10.0},
            workload={"inputTokens": {"mean": 9.0}, "outputTokens": {"mean": 9000.0}},
            priority=7,
            minReplicas=3,
        ),
        model=replace(
            before.model,
            demand_req_per_s=400.0,
            slo=Slo(ttft_s=0.1, tpot_s=0.01),
            workload=Workload(
                input_tokens=LengthDistribution.from_mean(9.0),
                output_tokens=LengthDistribution.from_mean(9000.0),
            ),
        ),
        instances=(SINGLE,),
    )
    assert after.children() == before.children()


def test_another_instance_does_not_touch_those_that_run():
    few = one_model(SINGLE).children().manifests
    many = one_model(SINGLE, PIPELINE).children().manifests
    assert [child for child in many if child in few] == list(few)


def test_a_change_to_one_stage_replaces_all_stages_and_no_other_instance():
    moved = replace(PIPELINE, slices=(PIPELINE.slices[0], PIPELINE.slices[1]._replace(node="z")))
    before = digests(one_model(PIPELINE, SINGLE))
    after = digests(one_model(moved, SINGLE))
    assert {name for name in before if before[name] != after[name]} == {"pipe-s0", "pipe-s1"}
    assert after["pipe-s0"] == after["pipe-s1"]


def test_workers_find_only_a_leader_of_their_own_form():
    case = one_model(PIPELINE)
    (service,) = (
        child for child in case.children().manifests if child["metadata"]["name"] == "pipe-leader"
    )
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"][labels.GROUP_DIGEST] == digests(case)["pipe-s0"]
    assert service["spec"]["selector"][labels.STAGE] == "0"


@pytest.mark.parametrize(
    ("serving", "names"),
    [
        ("Aggregated", ["assistants-llama-8b"]),
        ("Disaggregated", ["assistants-llama-8b-prefill", "assistants-llama-8b-decode"]),
        (
            "Auto",
            ["assistants-llama-8b", "assistants-llama-8b-prefill", "assistants-llama-8b-decode"],
        ),
    ],
)
def test_a_model_has_its_services_before_it_has_an_instance(serving, names):
    manifests = one_model(serving=serving).children().manifests
    assert [child_key(child) for child in manifests] == [
        ChildKey("Service", NAMESPACE, name) for name in names
    ]


def test_a_models_service_selects_leaders_of_its_phase_only():
    case = cases()["prefill-and-decode"]
    manifests = case.children().manifests
    pods = {
        m["metadata"]["name"]: m["spec"]["template"]["metadata"]["labels"]
        for m in manifests
        if m["kind"] == "Deployment"
    }
    selected = {
        m["metadata"]["name"]: [
            name for name, found in pods.items() if m["spec"]["selector"].items() <= found.items()
        ]
        for m in manifests
        if m["kind"] == "Service"
    }
    assert selected == {
        "assistants-llama-8b": [],
        "assistants-llama-8b-prefill": ["assistants-llama-8b-p0-s0"],
        "assistants-llama-8b-decode": ["assistants-llama-8b-d0-s0"],
        "assistants-llama-8b-p0-leader": ["assistants-llama-8b-p0-s0"],
    }


def test_a_wrong_argument_refuses_its_model_and_no_other():
    first = instance("one", "first", [(32, "L4", "a")])
    second = instance("two", "second", [(32, "L4", "b")])
    models = {model_id(name): served(name, LLAMA_8B) for name in ("first", "second")}
    found = desired_children(
        two_models(["--tensor-par=2"]), [first, second], models=models, settings=SETTINGS
    )
    assert [(p.model_id, p.reason) for p in found.problems] == [
        (model_id("first"), Reason.INVALID_INPUT)
    ]
    assert "--tensor-parallel-size" in found.problems[0].message
    assert {model_of(child) for child in found.manifests} == {model_id("second")}


def test_a_model_that_was_taken_out_keeps_its_children_until_the_next_plan():
    gone = instance("gone", "gone", [(32, "L4", "a")])
    found = one_model(SINGLE, gone).children()
    assert [(p.model_id, p.reason) for p in found.problems] == [(model_id("gone"), Reason.PLANNING)]
    assert {model_of(child) for child in found.manifests} == {model_id("llama-8b")}


def test_a_model_that_is_refused_has_no_children_to_apply():
    case = one_model(SINGLE)
    found = desired_children(case.service, case.instances, models={}, settings=SETTINGS)
    assert found.manifests == ()
    assert found.problems[0].reason is Reason.INVALID_INPUT


def broken(template=None, **fields):
    base = replace(PIPELINE.template, **(template or {}))
    return replace(PIPELINE, template=base, **fields)


ENGINE = PIPELINE.template.engine


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (broken({"engine": None}), "no engine settings"),
        (broken({"engine": replace(ENGINE, pipeline_parallel=3)}), "must be the same number"),
        (broken(slices=PIPELINE.slices[:1]), "must be the same number"),
        (broken({"engine": replace(ENGINE, tensor_parallel=2)}), "tensor parallelism"),
        (broken({"engine": replace(ENGINE, layers_per_stage=(12, 20))}), "layers"),
        (instance("short", "llama-8b", [(20, "L4", "a"), (11, "L4", "b")]), "layers"),
        (instance("unknown", "llama-8b", [(32, "H900", "a")]), "not in the catalogue"),
        (broken({"phase": Phase.DECODE}), "decode"),
    ],
)
def test_a_template_that_vllm_cannot_run_is_refused(wrong, words):
    found = one_model(SINGLE, wrong).children()
    assert found.manifests == ()
    assert found.problems[0].reason is Reason.PLAN_REJECTED
    assert words in found.problems[0].message
    assert wrong.name in found.problems[0].message


def test_a_stage_without_a_node_needs_a_pool_with_labels():
    waiting = instance("waiting", "llama-8b", [(32, "L4", None)])
    refused = one_model(waiting).children()
    assert refused.problems[0].reason is Reason.INVALID_INPUT
    assert "GPUPool" in refused.problems[0].message
    access = {pool("L4", 4): PoolAccess(node_labels={"pool": "l4"})}
    known = replace(one_model(waiting), settings=ChildSettings(gpu_types=GPU_TYPES, pools=access))
    assert known.children().problems == ()


def test_prefill_and_decode_need_the_same_number_format():
    prefill = instance("p", "llama-8b", [(32, "T4", "a")], phase=Phase.PREFILL)
    decode = instance("d", "llama-8b", [(32, "L4", "b")], phase=Phase.DECODE)
    found = one_model(prefill, decode, serving="Auto").children()
    assert found.problems[0].reason is Reason.INVALID_INPUT
    assert "bf16" in found.problems[0].message


def test_two_children_never_share_a_name():
    # The instance's own Service would be called like that of the model: assistants-llama-8b-leader.
    manifest = service_with("llama-8b-leader", HUB).to_json()
    name = "assistants-llama-8b"
    pipeline = instance(name, "llama-8b-leader", [(20, "L4", "a"), (12, "L4", "b")])
    found = Case(
        service=MultiLLMService.from_manifest(manifest),
        model=served("llama-8b-leader", LLAMA_8B),
        instances=(pipeline,),
    ).children()
    assert found.problems[0].reason is Reason.INVALID_INPUT
    assert "assistants-llama-8b-leader" in found.problems[0].message


@pytest.mark.parametrize(
    "found",
    [{}, {labels.MANAGED_BY: "coral"}, {labels.MANAGED_BY: "helm", labels.SERVICE: "x"}, None],
)
def test_an_object_without_both_our_labels_is_not_ours(found):
    live = {"kind": "Deployment", "metadata": {"name": "x", "namespace": "y", "labels": found}}
    assert not is_ours(live)
