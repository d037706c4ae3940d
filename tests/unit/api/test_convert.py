"""Services, policies and pools in the words of the domain."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from coral_api.conditions import Reason
from coral_api.convert import (
    ModelProblem,
    ModelRef,
    policy_from,
    pool_override,
    served_models,
    spec_hash,
)
from coral_api.gpupool import GPUPool
from coral_api.multillmservice import MultiLLMService
from coral_api.planningpolicy import PlanningPolicySpec, PriorityCeiling
from coral_solver.domain.hardware import CapacityKind, Link, PoolScaling, Precision
from coral_solver.domain.plan import Policy, ScarcityPolicy
from coral_solver.domain.workload import ServingMode

if TYPE_CHECKING:
    from pathlib import Path

Manifest = dict[str, Any]


def _problem(manifest: Manifest, **changes: Any) -> ModelProblem:
    """Return the one problem of the service's one model after some changes."""
    manifest["spec"]["models"][0] |= changes
    converted = served_models(MultiLLMService.from_manifest(manifest))
    assert converted.models == ()
    (problem,) = converted.problems
    return problem


def test_a_model_in_the_planners_units(service_manifest: Manifest) -> None:
    service_manifest["spec"]["models"][0] |= {
        "demand": {"requestsPerSecond": 7.5, "headroom": 0.2},
        "priority": 40,
        "minReplicas": 2,
        "serving": "Auto",
        "gpuTypes": {"allow": ["l4", "L40S"], "deny": ["h100"]},
        "maxModelLenTokens": 8192,
    }
    (model,), problems = served_models(MultiLLMService.from_manifest(service_manifest))
    assert problems == ()
    assert model.id == "default/chat/phi-4"
    assert model.arch.hub_id == "microsoft/phi-4"
    assert model.precision is Precision.BF16
    # 1200 ms and 60 ms
    assert (model.slo.ttft_s, model.slo.tpot_s, model.slo.attainment) == (1.2, 0.06, 0.95)
    assert model.workload.input_tokens.mean_tokens == 1155
    assert (model.demand_req_per_s, model.headroom) == (7.5, 0.2)
    assert (model.priority, model.min_replicas) == (40, 2)
    assert model.serving is ServingMode.AUTO
    # Names are those of the catalogue, however they were written.
    assert (model.allowed_gpus, model.denied_gpus) == ({"L4", "L40S"}, {"H100"})
    assert model.max_model_len_tokens == 8192


def test_quantiles_become_the_distribution(service_manifest: Manifest) -> None:
    service_manifest["spec"]["models"][0]["workload"]["inputTokens"] = {
        "quantiles": [{"q": 0.0, "tokens": 100}, {"q": 1.0, "tokens": 300}]
    }
    (model,), _ = served_models(MultiLLMService.from_manifest(service_manifest))
    # Linear from 100 to 300: the mean of the middles of equal slices is 200.
    assert model.workload.input_tokens.mean_tokens == pytest.approx(200)
    assert model.workload.input_tokens.points_tokens[0] == pytest.approx(105)


def test_models_come_sorted_by_id(service_manifest: Manifest) -> None:
    model = service_manifest["spec"]["models"][0]
    service_manifest["spec"]["models"] = [{**model, "name": name} for name in ("b", "c", "a")]
    models, _ = served_models(MultiLLMService.from_manifest(service_manifest))
    assert [m.id for m in models] == ["default/chat/a", "default/chat/b", "default/chat/c"]


def test_one_bad_model_keeps_the_others(service_manifest: Manifest) -> None:
    bad = deepcopy(service_manifest["spec"]["models"][0])
    bad |= {"name": "bad", "source": {"huggingFace": "microsoft/phi-44"}}
    service_manifest["spec"]["models"].insert(0, bad)
    models, problems = served_models(MultiLLMService.from_manifest(service_manifest))
    assert [m.id for m in models] == ["default/chat/phi-4"]
    assert [(p.model, p.reason) for p in problems] == [("bad", Reason.UNKNOWN_MODEL)]
    assert "did you mean microsoft/phi-4" in problems[0].message
    assert "catalogModel" in problems[0].message


def test_an_unknown_gpu_type_is_a_problem_with_a_suggestion(service_manifest: Manifest) -> None:
    problem = _problem(service_manifest, gpuTypes={"deny": ["L40SS"]})
    assert problem.reason is Reason.UNKNOWN_GPU_TYPE
    assert problem.message.startswith("gpuTypes.deny: ")
    assert "did you mean L40S" in problem.message


def test_all_problems_of_a_model_are_reported(service_manifest: Manifest) -> None:
    service_manifest["spec"]["models"][0] |= {
        "source": {"huggingFace": "nobody/nothing"},
        "gpuTypes": {"allow": ["L40SS"], "deny": ["H1000"]},
    }
    _, problems = served_models(MultiLLMService.from_manifest(service_manifest))
    assert [p.reason for p in problems] == [
        Reason.UNKNOWN_GPU_TYPE,
        Reason.UNKNOWN_GPU_TYPE,
        Reason.UNKNOWN_MODEL,
    ]


@pytest.mark.parametrize(
    ("hub_id", "precision", "served"),
    [
        ("microsoft/phi-4", None, Precision.BF16),
        ("microsoft/phi-4", "fp8", Precision.FP8),
        ("Qwen/Qwen3-32B-FP8", None, Precision.FP8),
        ("openai/gpt-oss-20b", None, Precision.MXFP4),
    ],
)
def test_the_precision_is_the_published_one_unless_another_can_be_served(
    service_manifest: Manifest, hub_id: str, precision: str | None, served: Precision
) -> None:
    model = service_manifest["spec"]["models"][0]
    model["source"] = {"huggingFace": hub_id}
    if precision is not None:
        model["precision"] = precision
    (converted,), _ = served_models(MultiLLMService.from_manifest(service_manifest))
    assert converted.precision is served


@pytest.mark.parametrize(
    ("hub_id", "precision", "says"),
    [
        ("openai/gpt-oss-20b", "bf16", "set precision to mxfp4"),
        ("Qwen/Qwen3-32B-FP8", "bf16", "set precision to fp8"),
        ("microsoft/phi-4", "mxfp4", "set precision to bf16 or fp16 or fp8"),
    ],
)
def test_a_precision_that_the_engine_cannot_serve_is_a_problem(
    service_manifest: Manifest, hub_id: str, precision: str, says: str
) -> None:
    problem = _problem(service_manifest, source={"huggingFace": hub_id}, precision=precision)
    assert problem.reason is Reason.UNSUPPORTED_PRECISION
    assert says in problem.message


def test_requests_longer_than_the_context_window_are_a_problem(
    service_manifest: Manifest,
) -> None:
    # phi-4 takes 16384 tokens.
    problem = _problem(service_manifest, maxModelLenTokens=20_000)
    assert problem.reason is Reason.CONTEXT_TOO_LONG
    assert "maxModelLenTokens is 20000 tokens" in problem.message


def test_a_mean_request_longer_than_the_context_window_is_a_problem(
    service_manifest: Manifest,
) -> None:
    workload = {"inputTokens": {"mean": 16_000}, "outputTokens": {"mean": 400}}
    problem = _problem(service_manifest, workload=workload)
    assert problem.reason is Reason.CONTEXT_TOO_LONG
    assert "the mean request has 16400 tokens" in problem.message


def test_a_fine_tuned_model_takes_the_architecture_of_the_catalogue(
    service_manifest: Manifest,
) -> None:
    service_manifest["spec"]["models"][0] |= {
        "source": {"pvc": {"claimName": "weights", "path": "ours/v3"}},
        "catalogModel": "qwen3-32b",
    }
    (model,), problems = served_models(MultiLLMService.from_manifest(service_manifest))
    assert problems == ()
    assert model.arch.name == "qwen3-32b"


def test_only_a_persons_own_files_are_read(service_manifest: Manifest, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "architectures": ["LlamaForCausalLM"],
                "model_type": "llama",
                "num_hidden_layers": 4,
                "hidden_size": 256,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "intermediate_size": 512,
                "vocab_size": 1000,
                "max_position_embeddings": 16384,
                "torch_dtype": "bfloat16",
            }
        )
    )
    service_manifest["spec"]["models"][0]["catalogModel"] = str(config)
    service = MultiLLMService.from_manifest(service_manifest)
    (model,), _ = served_models(service, may_read_files=True)
    assert model.arch.layers == 4
    models, (problem,) = served_models(service)
    assert models == ()
    assert "is a path" in problem.message


def test_priorities_are_cut_to_the_ceiling_of_the_namespace(service_manifest: Manifest) -> None:
    service_manifest["spec"]["models"][0]["priority"] = 100
    policy = PlanningPolicySpec(
        priority_ceilings=(PriorityCeiling(namespace="default", maximum=3),)
    )
    (model,), _ = served_models(MultiLLMService.from_manifest(service_manifest), policy)
    assert model.priority == 3


def test_the_policy_in_the_planners_words() -> None:
    spec = PlanningPolicySpec(scarcity=ScarcityPolicy.PRIORITY, payback_horizon_seconds=7200)
    assert policy_from(spec) == Policy(scarcity=ScarcityPolicy.PRIORITY, payback_horizon_s=7200)


def test_defaults_of_the_policy_are_those_of_the_planner() -> None:
    assert policy_from(PlanningPolicySpec()) == Policy()


def test_a_pool_that_says_little_leaves_the_rest_to_the_labels() -> None:
    pool = GPUPool.from_manifest(
        {
            "apiVersion": "serving.coral.dev/v1alpha1",
            "kind": "GPUPool",
            "metadata": {"name": "l4"},
            "spec": {"nodeSelector": {"matchLabels": {"pool": "l4"}}},
        }
    )
    override = pool_override(pool)
    assert override.selects({"pool": "l4", "zone": "a"})
    assert not override.selects({"pool": "a100"})
    assert (override.gpu, override.region, override.start_time_s) == (None, None, None)
    assert override.node_usd_per_hour == {}


def test_a_pool_that_says_everything() -> None:
    pool = GPUPool.from_manifest(
        {
            "apiVersion": "serving.coral.dev/v1alpha1",
            "kind": "GPUPool",
            "metadata": {"name": "h100"},
            "spec": {
                "nodeSelector": {"matchLabels": {"pool": "h100"}},
                "gpuType": "H100",
                "gpusPerNode": 8,
                "link": "nvlink",
                "region": "us-east-2",
                "capacityKind": "reserved",
                "scaling": {"type": "Elastic", "maxNodes": 3},
                "pricing": {"onDemandUsdPerHour": 55.04, "reservedUsdPerHour": 30},
                "startTimeSeconds": 900,
                "siteFactor": 0.9,
                "toleratedTaintKeys": ["gpu", "team"],
            },
        }
    )
    override = pool_override(pool)
    assert (override.gpu, override.gpus_per_node, override.link) == ("H100", 8, Link.NVLINK)
    assert (override.region, override.kind) == ("us-east-2", CapacityKind.RESERVED)
    assert override.node_usd_per_hour == {
        CapacityKind.ON_DEMAND: 55.04,
        CapacityKind.RESERVED: 30.0,
    }
    assert (override.scaling, override.max_nodes) == (PoolScaling.ELASTIC, 3)
    assert (override.start_time_s, override.site_factor) == (900.0, 0.9)
    assert override.tolerated_taint_keys == {"gpu", "team"}


def test_the_digest_of_a_spec_follows_its_content_only(service_manifest: Manifest) -> None:
    first = spec_hash(MultiLLMService.from_manifest(service_manifest))
    service_manifest["metadata"]["labels"] = {"a": "b"}
    spec = service_manifest["spec"]
    service_manifest["spec"] = {"mode": "Shadow", **dict(reversed(spec.items()))}
    assert spec_hash(MultiLLMService.from_manifest(service_manifest)) == first
    spec["models"][0]["demand"]["requestsPerSecond"] = 11
    assert spec_hash(MultiLLMService.from_manifest(service_manifest)) != first


def test_a_model_id_can_be_taken_apart() -> None:
    ref = ModelRef("prod", "chat", "phi-4")
    assert str(ref) == "prod/chat/phi-4"
    assert ModelRef.parse("prod/chat/phi-4") == ref
    with pytest.raises(ValueError, match="unpack"):
        ModelRef.parse("prod/chat")
