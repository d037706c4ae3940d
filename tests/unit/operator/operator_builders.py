"""Small objects for the operator's tests, each with only what a test varies."""

from __future__ import annotations

from datetime import UTC, datetime

from coral_api.planningpolicy import PlanningPolicySpec
from coral_api.plans import serving_plan
from coral_api.servingplan import PlanTrigger
from coral_operator.children import labels
from coral_operator.children.names import deployment_name, instance_label
from coral_operator.planning.inputs import read_services
from coral_operator.planning.problem import chain_inputs
from coral_operator.planning.records import (
    Chain,
    Hashes,
    PlanRecord,
    labelled,
    plan_name,
    read_plan,
)
from coral_solver.domain.clock import ManualClock
from coral_solver.domain.hardware import CapacityKind, GpuPool, Link, NodeConfig, PoolKey, PoolNode
from coral_solver.domain.plan import (
    AllocationPlan,
    ModelOutcome,
    NodeSlice,
    ServingInstance,
    SolveStatus,
)
from coral_solver.domain.template import (
    EngineSettings,
    Prediction,
    ServingTemplate,
    StagePlacement,
)
from coral_solver.domain.workload import Phase

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
L4 = PoolKey("L4", 4, Link.PCIE, "us-east-1", CapacityKind.ON_DEMAND)


def clock() -> ManualClock:
    return ManualClock(NOW)


def node(name: str, *, gpu: str = "NVIDIA-L4", gpus: int = 4, **spec: object) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {
                "nvidia.com/gpu.product": gpu,
                "nvidia.com/gpu.count": str(gpus),
                "topology.kubernetes.io/region": "us-east-1",
            },
        },
        "spec": spec,
        "status": {
            "capacity": {"nvidia.com/gpu": str(gpus)},
            "allocatable": {"nvidia.com/gpu": str(gpus)},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(
    name: str, node_name: str, gpus: int, *, namespace: str = "default", **pod_labels: str
) -> dict:
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": pod_labels},
        "spec": {
            "nodeName": node_name,
            "containers": [
                {"name": "main", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
            ],
        },
        "status": {"phase": "Running", "conditions": [], "containerStatuses": []},
    }


def model(name: str = "phi-4", *, demand: float = 1.0, hub: str = "microsoft/phi-4") -> dict:
    return {
        "name": name,
        "source": {"huggingFace": hub},
        "slo": {"ttftMilliseconds": 1200, "tpotMilliseconds": 60},
        "workload": {"inputTokens": {"mean": 1000}, "outputTokens": {"mean": 200}},
        "demand": {"requestsPerSecond": demand},
    }


def service(
    name: str = "chat",
    *models: dict,
    namespace: str = "default",
    mode: str = "Active",
    generation: int = 1,
    uid: str | None = None,
    **spec: object,
) -> dict:
    return {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "MultiLLMService",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{namespace}-{name}",
            "generation": generation,
            "resourceVersion": "7",
        },
        "spec": {"mode": mode, "models": list(models) or [model()], **spec},
    }


def inputs_of(*manifests: dict):
    return read_services(manifests, PlanningPolicySpec())


def template(
    model_id: str = "default/chat/phi-4",
    *,
    gpus: int = 1,
    stages: int = 1,
    capacity: float = 1.0,
    phase: Phase = Phase.WHOLE,
) -> ServingTemplate:
    layers = (40,) if stages == 1 else (20, 20)
    config = NodeConfig("L4", gpus, Link.PCIE)
    return ServingTemplate(
        model_id=model_id,
        phase=phase,
        stages=tuple(StagePlacement(n, (config,)) for n in layers),
        prediction=Prediction(
            capacity_req_per_s=capacity,
            ttft_s=0.5,
            tpot_s=0.05,
            batch_per_stage=8.0,
            source="test",
        ),
        made_for="test",
        engine=EngineSettings(
            tensor_parallel=gpus,
            pipeline_parallel=stages,
            layers_per_stage=layers,
            max_model_len_tokens=8192,
            max_num_seqs=16,
            max_num_batched_tokens=2048,
            gpu_memory_utilization=0.9,
        ),
    )


def instance(
    name: str,
    *nodes: str | None,
    of: ServingTemplate | None = None,
    region: str = "us-east-1",
    usd_per_hour: float = 1.0,
) -> ServingInstance:
    return ServingInstance(
        name=name,
        template=of or template(),
        region=region,
        slices=tuple(NodeSlice(L4, node_name) for node_name in nodes or ("a",)),
        usd_per_hour=usd_per_hour,
    )


def pool(*nodes: tuple[str, int], **fields: object) -> GpuPool:
    return GpuPool(
        key=L4,
        node_usd_per_hour=4.0,
        nodes=tuple(PoolNode(*item) for item in nodes or (("a", 4),)),
        **fields,
    )


def outcome(model_id: str = "default/chat/phi-4", **fields: object) -> ModelOutcome:
    given = {
        "demand_req_per_s": 1.0,
        "capacity_req_per_s": 1.0,
        "unmet_req_per_s": 0.0,
        "usd_per_hour": 1.0,
        "reason": "Served",
        "message": "all of it",
    }
    return ModelOutcome(model_id=model_id, **{**given, **fields})


def allocation(*instances: ServingInstance, outcomes: tuple = ()) -> AllocationPlan:
    return AllocationPlan(
        status=SolveStatus.OPTIMAL,
        instances=tuple(sorted(instances, key=lambda i: i.name)),
        outcomes=outcomes or (outcome(),),
        objective=(),
        bound_scope="test",
        rent_usd_per_hour=sum(i.usd_per_hour for i in instances),
        switching_usd_per_hour=0.0,
        opened_nodes={},
        solve_s=0.1,
    )


def plan_manifest(
    services: list[dict],
    *instances: ServingInstance,
    chain: Chain = Chain.ACTIVE,
    sequence: int = 1,
    hashes: Hashes | None = None,
    outcomes: tuple = (),
    previous: PlanRecord | None = None,
) -> dict:
    hashes = hashes or Hashes(spec="s", inputs="i")
    plan = serving_plan(
        plan_name(chain, sequence, hashes),
        allocation(*instances, outcomes=outcomes),
        services=[s.service for s in inputs_of(*services)],
        trigger=PlanTrigger(reason="FirstPlan"),
        baselines={},
        previous=previous.plan if previous else None,
    )
    return labelled(plan, chain, sequence, hashes)


def record(services: list[dict], *instances: ServingInstance, **fields) -> PlanRecord:
    read = read_plan(plan_manifest(services, *instances, **fields))
    assert read is not None
    return read


def inputs(
    manifests: list[dict],
    *,
    chain: Chain = Chain.ACTIVE,
    pools: tuple = (),
    current: PlanRecord | None = None,
    reserved: tuple = (),
    policy: PlanningPolicySpec | None = None,
    profiles: tuple = (),
):
    return chain_inputs(
        chain,
        inputs_of(*manifests),
        policy=policy or PlanningPolicySpec(),
        gpu_pools=(),
        profiles=profiles,
        pools=pools or (pool(),),
        current=current,
        reserved=reserved,
    )


def made_from(manifests: list[dict], *instances: ServingInstance, **fields) -> PlanRecord:
    """Return a plan in force that was made from exactly these services."""
    first = inputs(manifests, **fields)
    return record(manifests, *instances, hashes=first.hashes, chain=first.chain)


def deployment(of: ServingInstance, stage: int = 0, **status: object) -> dict:
    namespace, service_name, model_name = of.template.model_id.split("/")
    given = {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1}
    return {
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(of.name, stage),
            "namespace": namespace,
            "uid": f"uid-{of.name}-{stage}",
            "generation": 1,
            "labels": {
                labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
                labels.SERVICE: service_name,
                labels.MODEL: model_name,
                labels.INSTANCE: instance_label(of.name),
            },
        },
        "status": {**given, "conditions": [], **status},
    }


def changed(base: dict, **metadata: object) -> dict:
    return {**base, "metadata": {**base["metadata"], **metadata}}
