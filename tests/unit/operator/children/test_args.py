"""Arguments say what the plan decided, in flags that vLLM has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from engine_pod_cases import LLAMA_8B, Case, cases, instance, served, service_with

from coral_operator.children import labels
from coral_operator.children.settings import VLLM_VERSION
from coral_solver.domain.hardware import Precision

RECORDED = json.loads(
    (Path(__file__).parents[3] / "vllm" / "serve_flags.json").read_text(encoding="utf-8")
)
PODS = [
    (name, deployment, container)
    for name, case in cases().items()
    for deployment, container in case.containers().items()
]


def flags_of(args):
    """Map each flag to the values that follow it."""
    found, current = {}, None
    for arg in args[1:]:
        if arg.startswith("--"):
            assert arg not in found, f"{arg} is given twice"
            current = found.setdefault(arg, [])
        else:
            current.append(arg)
    return found


def only_container(case):
    (container,) = case.containers().values()
    return container


def test_the_recorded_flags_are_those_of_the_version_in_use():
    assert RECORDED["vllm"] == VLLM_VERSION


@pytest.mark.parametrize(("name", "deployment", "container"), PODS)
def test_every_flag_and_every_choice_is_one_that_vllm_has(name, deployment, container):
    for flag, values in flags_of(container["args"]).items():
        assert flag in RECORDED["flags"], f"{name}, {deployment}"
        known = RECORDED["flags"][flag]
        assert len(values) == (0 if known["nargs"] == 0 else 1)
        assert known["choices"] is None or set(values) <= set(known["choices"])


@pytest.mark.parametrize(("name", "deployment", "container"), PODS)
def test_every_vllm_variable_is_one_that_vllm_has(name, deployment, container):
    ours = {v["name"] for v in container["env"] if v["name"].startswith("VLLM_")}
    assert ours
    assert ours <= set(RECORDED["variables"]), f"{name}, {deployment}"


def test_engine_settings_of_the_template_become_arguments():
    flags = flags_of(only_container(cases()["tensor-parallel-online-fp8"])["args"])
    assert flags["--tensor-parallel-size"] == ["2"]
    assert flags["--pipeline-parallel-size"] == ["1"]
    assert flags["--max-model-len"] == ["8192"]
    assert flags["--max-num-seqs"] == ["64"]
    assert flags["--max-num-batched-tokens"] == ["2048"]
    assert flags["--gpu-memory-utilization"] == ["0.9"]


def test_stages_of_a_pipeline_differ_in_their_rank_only():
    leader, worker = cases()["pipeline-on-unlike-gpus"].containers().values()
    ours, theirs = flags_of(leader["args"]), flags_of(worker["args"])
    assert (ours.pop("--node-rank"), theirs.pop("--node-rank")) == (["0"], ["1"])
    assert "--headless" not in ours
    assert theirs.pop("--headless") == []
    assert ours == theirs
    assert ours["--nnodes"] == ["2"]
    assert ours["--master-addr"] == ["assistants-llama-70b-0-leader.chat.svc"]


def test_prefill_produces_and_decode_consumes_the_kv_cache():
    roles = {
        name: json.loads(flags_of(container["args"])["--kv-transfer-config"][0])["kv_role"]
        for name, container in cases()["prefill-and-decode"].containers().items()
    }
    assert roles == {
        "assistants-llama-8b-d0-s0": "kv_consumer",
        "assistants-llama-8b-p0-s0": "kv_producer",
        "assistants-llama-8b-p0-s1": "kv_producer",
    }


@pytest.mark.parametrize(
    ("precision", "native", "gpu", "dtype", "quantization"),
    [
        (Precision.BF16, Precision.BF16, "L4", "bfloat16", None),
        (Precision.FP16, Precision.BF16, "L4", "float16", None),
        (Precision.BF16, Precision.BF16, "T4", "float16", None),
        (Precision.FP8, Precision.BF16, "L4", "bfloat16", ["fp8_per_tensor"]),
        (Precision.FP8, Precision.FP8, "L4", "bfloat16", None),
        (Precision.MXFP4, Precision.MXFP4, "L4", "bfloat16", None),
    ],
)
def test_precision_becomes_dtype_and_quantisation(precision, native, gpu, dtype, quantization):
    arch = replace(LLAMA_8B, native_precision=native)
    case = Case(
        service=service_with("llama-8b", {"huggingFace": "a/b"}),
        model=served("llama-8b", arch, precision),
        instances=(instance("x", "llama-8b", [(32, gpu, "node")]),),
    )
    flags = flags_of(only_container(case)["args"])
    assert flags["--dtype"] == [dtype]
    assert flags.get("--quantization") == quantization


def test_one_stage_without_bf16_turns_all_stages_to_fp16():
    case = Case(
        service=service_with("llama-8b", {"huggingFace": "a/b"}),
        model=served("llama-8b", LLAMA_8B),
        instances=(instance("x", "llama-8b", [(20, "L4", "a"), (12, "T4", "b")]),),
    )
    dtypes = [flags_of(c["args"])["--dtype"] for c in case.containers().values()]
    assert dtypes == [["float16"], ["float16"]]


@pytest.mark.parametrize(
    ("source", "model"),
    [
        ({"huggingFace": "meta-llama/Llama-3.1-8B"}, "meta-llama/Llama-3.1-8B"),
        ({"pvc": {"claimName": "weights"}}, "/model"),
        ({"pvc": {"claimName": "weights", "path": "a/b"}}, "/model/a/b"),
        ({"image": {"reference": "models.example/m:1", "path": "m"}}, "/model/m"),
    ],
)
def test_the_model_is_a_hub_id_or_a_mounted_folder(source, model):
    case = Case(
        service=service_with("llama-8b", source, catalogModel="llama-3.1-8b"),
        model=served("llama-8b", LLAMA_8B),
        instances=(instance("x", "llama-8b", [(32, "L4", "node")]),),
    )
    assert only_container(case)["args"][0] == model


def test_a_users_arguments_come_last_on_every_stage():
    extra = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    base = cases()["pipeline-on-unlike-gpus"]
    service = service_with("llama-70b", {"huggingFace": "a/b"}, engine={"args": extra})
    for container in replace(base, service=service).containers().values():
        assert container["args"][-3:] == extra


def test_worker_has_no_port_and_leader_has_the_label_of_stage_0():
    manifests = cases()["pipeline-on-unlike-gpus"].children().manifests
    stages = {
        m["metadata"]["labels"][labels.STAGE]: m["spec"]["template"]["spec"]["containers"][0]
        for m in manifests
        if m["kind"] == "Deployment"
    }
    assert [port["name"] for port in stages["0"]["ports"]] == ["http", "master"]
    assert "ports" not in stages["1"]
