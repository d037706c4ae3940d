"""One small service for every kind of engine pod; shared by the tests and the check with vLLM."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coral_api.multillmservice import MultiLLMService
from coral_operator.children.build import Children, desired_children
from coral_operator.children.settings import ChildSettings, PoolAccess
from coral_solver.domain.hardware import (
    CapacityKind,
    GpuType,
    Link,
    NodeConfig,
    PoolKey,
    Precision,
)
from coral_solver.domain.plan import NodeSlice, ServingInstance
from coral_solver.domain.template import (
    EngineSettings,
    Prediction,
    ServingTemplate,
    StagePlacement,
)
from coral_solver.domain.workload import (
    LengthDistribution,
    ModelArch,
    Phase,
    ServedModel,
    ServingMode,
    Slo,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMESPACE = "chat"
SERVICE = "assistants"
REGION = "eu-west-1"


def gpu_type(name: str, memory_gib: float, capability: tuple[int, int], **extra: str) -> GpuType:
    """Return a GPU type; only names, memory and number formats matter to pods."""
    formats = {Precision.FP16: 1e14}
    if capability >= (8, 0):
        formats[Precision.BF16] = 1e14
    if capability >= (8, 9):
        formats[Precision.FP8] = 2e14
    return GpuType(
        name=name,
        memory_gib=memory_gib,
        memory_bandwidth_bytes_per_s=1e12,
        flops_per_s=formats,
        compute_capability=capability,
        link=Link.PCIE,
        link_bytes_per_s={Link.PCIE: 3e10, Link.NVLINK: 3e11},
        product_labels=(name,),
        source="test",
        **extra,
    )


GPU_TYPES = {
    gpu.name: gpu
    for gpu in (
        gpu_type("T4", 15.0, (7, 5)),
        gpu_type("L4", 22.0, (8, 9)),
        gpu_type("L40S", 44.0, (8, 9)),
        gpu_type("A100-80GB", 79.0, (8, 0)),
        gpu_type("H100-80GB", 79.0, (9, 0)),
        gpu_type("MI300X", 191.0, (9, 4), device_resource="amd.com/gpu"),
    )
}

# Shapes as in the models' public config.json.
LLAMA_8B = ModelArch(
    name="llama-3.1-8b",
    hub_id="meta-llama/Llama-3.1-8B-Instruct",
    layers=32,
    hidden_size=4096,
    attention_heads=32,
    kv_heads=8,
    head_dim=128,
    intermediate_size=14336,
    vocab_size=128256,
    max_context_tokens=131072,
    native_precision=Precision.BF16,
    source="config.json",
)
LLAMA_70B = ModelArch(
    name="llama-3.1-70b",
    hub_id="meta-llama/Llama-3.1-70B-Instruct",
    layers=80,
    hidden_size=8192,
    attention_heads=64,
    kv_heads=8,
    head_dim=128,
    intermediate_size=28672,
    vocab_size=128256,
    max_context_tokens=131072,
    native_precision=Precision.BF16,
    source="config.json",
)
GPT_OSS_20B = ModelArch(
    name="gpt-oss-20b",
    hub_id="openai/gpt-oss-20b",
    layers=24,
    hidden_size=2880,
    attention_heads=64,
    kv_heads=8,
    head_dim=64,
    intermediate_size=2880,
    vocab_size=201088,
    experts=32,
    experts_per_token=4,
    moe_intermediate_size=2880,
    sliding_window_tokens=128,
    sliding_layers=12,
    attention_bias=True,
    max_context_tokens=131072,
    native_precision=Precision.MXFP4,
    source="config.json",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A service with one model, and the instances that a plan gives it."""

    service: MultiLLMService
    model: ServedModel
    instances: tuple[ServingInstance, ...]
    settings: ChildSettings = field(default_factory=lambda: ChildSettings(gpu_types=GPU_TYPES))

    def children(self) -> Children:
        """Build the children."""
        models = {self.model.id: self.model}
        return desired_children(self.service, self.instances, models=models, settings=self.settings)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return the container of each engine pod by the name of its Deployment."""
        return {
            manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]["containers"][0]
            for manifest in self.children().manifests
            if manifest["kind"] == "Deployment"
        }


def model_id(name: str) -> str:
    """Return the id of a model of the test service."""
    return f"{NAMESPACE}/{SERVICE}/{name}"


def service_with(name: str, source: Mapping[str, Any], **fields: Any) -> MultiLLMService:
    """Return a service with one model; ``fields`` are further camelCase fields of the model."""
    spec = {
        "name": name,
        "source": dict(source),
        "slo": {"ttftMilliseconds": 1000.0, "tpotMilliseconds": 50.0},
        "workload": {"inputTokens": {"mean": 1000.0}, "outputTokens": {"mean": 200.0}},
        "demand": {"requestsPerSecond": 4.0},
        **fields,
    }
    return MultiLLMService.from_manifest(
        {
            "apiVersion": "serving.coral.dev/v1alpha1",
            "kind": "MultiLLMService",
            "metadata": {
                "name": SERVICE,
                "namespace": NAMESPACE,
                "uid": "6f1c1a53-7a51-4f0e-9d3b-1d1f6c6f5a10",
                "generation": 3,
            },
            "spec": {"mode": "Active", "models": [spec]},
        }
    )


def served(name: str, arch: ModelArch, precision: Precision | None = None) -> ServedModel:
    """Return the model as the planner sees it."""
    return ServedModel(
        id=model_id(name),
        arch=arch,
        precision=precision or arch.native_precision,
        slo=Slo(ttft_s=1.0, tpot_s=0.05),
        workload=Workload(
            input_tokens=LengthDistribution.from_mean(1000.0),
            output_tokens=LengthDistribution.from_mean(200.0),
        ),
        demand_req_per_s=4.0,
        serving=ServingMode.AUTO,
    )


def pool(gpu: str, gpus_per_node: int) -> PoolKey:
    """Return the key of a pool of on-demand nodes."""
    return PoolKey(gpu, gpus_per_node, Link.PCIE, REGION, CapacityKind.ON_DEMAND)


def instance(
    name: str,
    model_name: str,
    stages: Sequence[tuple[int, str, str | None]],
    *,
    tensor_parallel: int = 1,
    phase: Phase = Phase.WHOLE,
) -> ServingInstance:
    """Return an instance; each stage is (layers, GPU type, node)."""
    configs = [NodeConfig(gpu, tensor_parallel, Link.PCIE) for _, gpu, _ in stages]
    template = ServingTemplate(
        model_id=model_id(model_name),
        phase=phase,
        stages=tuple(
            StagePlacement(layers, (config,))
            for (layers, _, _), config in zip(stages, configs, strict=True)
        ),
        prediction=Prediction(
            capacity_req_per_s=2.0, ttft_s=0.5, tpot_s=0.03, batch_per_stage=8.0, source="test"
        ),
        made_for="test",
        engine=EngineSettings(
            tensor_parallel=tensor_parallel,
            pipeline_parallel=len(stages),
            layers_per_stage=tuple(layers for layers, _, _ in stages),
            max_model_len_tokens=8192,
            max_num_seqs=64,
            max_num_batched_tokens=2048,
            gpu_memory_utilization=0.9,
        ),
    )
    slices = tuple(NodeSlice(pool(gpu, 4), node) for _, gpu, node in stages)
    return ServingInstance(
        name=name, template=template, region=REGION, slices=slices, usd_per_hour=1.0
    )


def _hub(arch: ModelArch) -> dict[str, str]:
    return {"huggingFace": str(arch.hub_id)}


def cases() -> dict[str, Case]:
    """Return one case for every kind of engine pod, by name."""
    return {
        "single-gpu": Case(
            service=service_with(
                "llama-8b",
                _hub(LLAMA_8B),
                revision="0e9e39f249a16976918f6564b8830bc894c89659",
                podTemplate={"hubTokenSecret": {"name": "hub-token"}},
            ),
            model=served("llama-8b", LLAMA_8B),
            instances=(instance("assistants-llama-8b-0", "llama-8b", [(32, "L4", "l4-a")]),),
        ),
        "tensor-parallel-online-fp8": Case(
            service=service_with("llama-70b", _hub(LLAMA_70B), precision="fp8"),
            model=served("llama-70b", LLAMA_70B, Precision.FP8),
            instances=(
                instance(
                    "assistants-llama-70b-0",
                    "llama-70b",
                    [(80, "H100-80GB", "h100-a")],
                    tensor_parallel=2,
                ),
            ),
        ),
        "pipeline-on-unlike-gpus": Case(
            service=service_with("llama-70b", _hub(LLAMA_70B)),
            model=served("llama-70b", LLAMA_70B),
            instances=(
                instance(
                    "assistants-llama-70b-0",
                    "llama-70b",
                    [(24, "L40S", "l40s-a"), (56, "A100-80GB", "a100-a")],
                    tensor_parallel=2,
                ),
            ),
        ),
        "prefill-and-decode": Case(
            service=service_with("llama-8b", _hub(LLAMA_8B), serving="Auto"),
            model=served("llama-8b", LLAMA_8B),
            instances=(
                instance(
                    "assistants-llama-8b-p0",
                    "llama-8b",
                    [(16, "L4", "l4-a"), (16, "L4", "l4-b")],
                    phase=Phase.PREFILL,
                ),
                instance(
                    "assistants-llama-8b-d0",
                    "llama-8b",
                    [(32, "A100-80GB", "a100-a")],
                    phase=Phase.DECODE,
                ),
            ),
        ),
        "published-mxfp4": Case(
            service=service_with("gpt-oss", _hub(GPT_OSS_20B)),
            model=served("gpt-oss", GPT_OSS_20B),
            instances=(instance("assistants-gpt-oss-0", "gpt-oss", [(24, "H100-80GB", "h100-a")]),),
        ),
        "claim-on-gpu-without-bf16": Case(
            service=service_with(
                "llama-8b",
                {"pvc": {"claimName": "weights", "path": "llama/8b"}},
                catalogModel="llama-3.1-8b",
            ),
            model=served("llama-8b", LLAMA_8B),
            instances=(
                instance(
                    "assistants-llama-8b-0",
                    "llama-8b",
                    [(32, "T4", "t4-a")],
                    tensor_parallel=2,
                ),
            ),
        ),
        "image-on-elastic-amd-pool": Case(
            service=service_with(
                "llama-8b",
                {"image": {"reference": "models.example/llama-8b:1"}},
                catalogModel="llama-3.1-8b",
            ),
            model=served("llama-8b", LLAMA_8B),
            instances=(instance("assistants-llama-8b-0", "llama-8b", [(32, "MI300X", None)]),),
            settings=ChildSettings(
                gpu_types=GPU_TYPES,
                image="vllm/vllm-openai-rocm:v0.32.0",
                pools={
                    pool("MI300X", 4): PoolAccess(
                        node_labels={"pool": "mi300x", "tier": "burst"},
                        tolerated_taint_keys=("burst",),
                    )
                },
            ),
        ),
        "user-settings": Case(
            service=service_with(
                "llama-8b",
                _hub(LLAMA_8B),
                engine={
                    "image": "registry.example/vllm:0.32.0-ours",
                    "args": ["--enable-auto-tool-choice", "--tool-call-parser", "llama3_json"],
                    "env": [{"name": "NCCL_DEBUG", "value": "WARN"}],
                },
                podTemplate={
                    "labels": {"team": "search"},
                    "annotations": {"example.com/owner": "search"},
                    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "search"}],
                    "serviceAccountName": "models",
                    "priorityClassName": "serving",
                    "imagePullSecrets": ["registry"],
                    "resources": {"cpu": "6", "memory": "48Gi"},
                    "cache": {"claimName": "hub-cache"},
                },
            ),
            model=served("llama-8b", LLAMA_8B),
            instances=(instance("assistants-llama-8b-0", "llama-8b", [(32, "L4", "l4-a")]),),
        ),
    }
