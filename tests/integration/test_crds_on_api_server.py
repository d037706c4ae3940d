"""A real API server takes the CRDs and holds to them."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from coral_api.conditions import Reason
from coral_api.crds import RESOURCES, write_crds
from coral_api.multillmservice import MultiLLMService
from coral_api.plans import instances_from, serving_plan
from coral_api.servingplan import PlanTrigger, ServingPlan
from coral_solver.domain.hardware import CapacityKind, Link, NodeConfig, PoolKey
from coral_solver.domain.plan import (
    AllocationPlan,
    NodeSlice,
    ObjectiveLevel,
    PeerOutcome,
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

if TYPE_CHECKING:
    from coral_localcluster import LocalCluster

from coral_localcluster import LocalClusterError

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
CASES = yaml.safe_load(
    (ROOT / "tests/unit/api/data/bad_manifests.yaml").read_text(encoding="utf-8")
)
SERVICE = CASES["parts"]["service"]


@pytest.fixture(scope="module")
def api(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> LocalCluster:
    """Return a cluster that serves our kinds."""
    folder = tmp_path_factory.mktemp("crds")
    write_crds(folder)
    cluster.kubectl("apply", "--server-side", "-f", str(folder))
    names = [f"crd/{resource.crd.plural}.serving.coral.dev" for resource in RESOURCES]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    return cluster


def _applied(api: LocalCluster, manifest: dict[str, Any]) -> dict[str, Any]:
    """Send a manifest as a server-side dry run and return what would be stored."""
    text = json.dumps(manifest)
    arguments = ("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-")
    stored: dict[str, Any] = json.loads(api.kubectl(*arguments, stdin=text))
    return stored


def test_no_condition_of_a_crd_complains(api: LocalCluster) -> None:
    """A schema that is not structural is accepted, and NonStructuralSchema says so."""
    for resource in RESOURCES:
        name = f"{resource.crd.plural}.serving.coral.dev"
        crd = json.loads(api.kubectl("get", "crd", name, "-o", "json"))
        status = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
        assert status.get("NonStructuralSchema", "False") == "False"
        assert (status["Established"], status["NamesAccepted"]) == ("True", "True")


@pytest.mark.parametrize(
    "case",
    [case for case in CASES["bad"] if case["server"] != "not-json"],
    ids=lambda case: case["name"],
)
def test_a_bad_manifest_is_refused(api: LocalCluster, case: dict[str, Any]) -> None:
    with pytest.raises(LocalClusterError) as raised:
        _applied(api, case["manifest"])
    message = str(raised.value)
    if case["server"] == "rule":
        assert case["says"].removeprefix("match pattern") in message
    elif case["server"] == "key":
        assert "uplicate" in message
    else:
        assert "is invalid" in message or "failed to create typed patch object" in message


def test_an_unknown_field_is_refused(api: LocalCluster) -> None:
    manifest = deepcopy(SERVICE)
    manifest["spec"]["models"][0]["replicas"] = 3
    with pytest.raises(LocalClusterError, match="field not declared in schema"):
        _applied(api, manifest)


@pytest.mark.parametrize("manifest", CASES["good"], ids=lambda manifest: manifest["kind"])
def test_what_is_stored_has_the_defaults_of_the_model(
    api: LocalCluster, manifest: dict[str, Any]
) -> None:
    resource = next(r for r in RESOURCES if r.crd.kind == manifest["kind"])
    stored = resource.from_manifest(_applied(api, manifest))
    assert stored.model_dump(include={"spec"}) == resource.from_manifest(manifest).model_dump(
        include={"spec"}
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name
)
def test_an_example_is_accepted(api: LocalCluster, path: Path) -> None:
    api.kubectl("apply", "--server-side", "--dry-run=server", "-f", str(path))


def test_rules_hold_where_every_bound_is_reached(api: LocalCluster) -> None:
    """A rule that costs more than its budget fails at run time, with the largest legal input."""
    manifest = deepcopy(SERVICE)
    model = manifest["spec"]["models"][0]
    model["engine"] = {"args": [f"--{'x' * 1000}{k}" for k in range(64)]}
    model["podTemplate"] = {"labels": {f"{'a' * 60}.b/{'c' * 40}{k}": "x" for k in range(32)}}
    model["workload"] = {
        name: {"quantiles": [{"q": k / 32, "tokens": k + 1} for k in range(32)]}
        for name in ("inputTokens", "outputTokens")
    }
    manifest["spec"]["models"] = [{**model, "name": f"m{k}"} for k in range(6)]
    _applied(api, manifest)


def test_kubectl_explain_shows_the_text_of_a_field(api: LocalCluster) -> None:
    text = api.kubectl("explain", "mls.spec.models.slo.ttftMilliseconds")
    assert "Target for the time to the first token, queueing included." in text


def test_kubectl_get_shows_the_columns(api: LocalCluster) -> None:
    with api.namespace() as namespace:
        manifest = deepcopy(SERVICE)
        manifest["metadata"]["namespace"] = namespace
        api.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
        status = MultiLLMService.from_manifest(
            {
                **manifest,
                "status": {
                    "instances": 3,
                    "readyInstances": 2,
                    "usdPerHour": 4.25,
                    "conditions": [
                        {
                            "type": "Planned",
                            "status": "True",
                            "reason": "Planned",
                            "lastTransitionTime": "2026-11-22T12:00:00Z",
                        }
                    ],
                },
            }
        ).status.to_json()
        patch = json.dumps({"status": status})
        arguments = ("patch", "mls", "chat", "-n", namespace, "--subresource=status")
        api.kubectl(*arguments, "--type=merge", "-p", patch)
        header, row = api.kubectl("get", "coral", "-n", namespace).splitlines()[:2]
        assert header.split()[:7] == [
            "NAME", "MODE", "PLANNED", "READY", "INSTANCES", "SERVING", "USD/H",
        ]  # fmt: skip
        assert row.split()[:6] == [
            "multillmservice.serving.coral.dev/chat",
            "Shadow",
            "True",
            "3",
            "2",
            "4.25",
        ]


def test_a_status_is_written_only_through_its_own_door(api: LocalCluster) -> None:
    with api.namespace() as namespace:
        manifest = deepcopy(SERVICE)
        manifest["metadata"]["namespace"] = namespace
        text = json.dumps({**manifest, "status": {"instances": 7}})
        api.kubectl("create", "-f", "-", stdin=text)
        stored = json.loads(api.kubectl("get", "mls", "chat", "-n", namespace, "-o", "json"))
        assert "status" not in stored


def _large_plan() -> AllocationPlan:
    """Return a plan of 300 instances with amounts that have no short decimal form."""
    engine = EngineSettings(
        tensor_parallel=2,
        pipeline_parallel=2,
        layers_per_stage=(25, 15),
        max_model_len_tokens=8192,
        max_num_seqs=32,
        max_num_batched_tokens=2048,
        gpu_memory_utilization=0.9,
    )
    configs = (NodeConfig("L40S", 2, Link.PCIE), NodeConfig("L4", 2, Link.PCIE))
    pools = tuple(
        PoolKey(config.gpu, 4, config.link, "us-east-2", CapacityKind.SPOT) for config in configs
    )
    instances = tuple(
        ServingInstance(
            name=f"default-chat-phi-4-{k:08x}",
            template=ServingTemplate(
                model_id=f"default/chat/m{k % 7}",
                phase=Phase.WHOLE,
                stages=(StagePlacement(25, configs[:1]), StagePlacement(15, configs[1:])),
                prediction=Prediction(
                    capacity_req_per_s=10 / (k % 7 + 3),
                    ttft_s=1 / 3,
                    tpot_s=1e-7 / 3,
                    batch_per_stage=16.0,
                    source="physical model",
                    error_share=None if k % 2 else 0.1,
                ),
                made_for="0123456789abcdef",
                engine=engine,
            ),
            region="us-east-2",
            slices=(NodeSlice(pools[0], f"n{k}"), NodeSlice(pools[1], None)),
            usd_per_hour=k / 7,
        )
        for k in range(300)
    )
    return AllocationPlan(
        status=SolveStatus.FEASIBLE,
        instances=instances,
        outcomes=(),
        objective=(
            ObjectiveLevel(level="cost", sense="min", value=1 / 3, bound=-math.inf, gap=math.inf),
        ),
        bound_scope="all templates",
        rent_usd_per_hour=1 / 3,
        switching_usd_per_hour=0.0,
        opened_nodes={str(pools[1]): 2},
        solve_s=0.1 + 0.2,
    )


def test_a_plan_comes_back_from_the_api_server_exactly(api: LocalCluster) -> None:
    plan = _large_plan()
    service = MultiLLMService.from_manifest(SERVICE)
    written = serving_plan(
        "active-000001",
        plan,
        services=[service],
        trigger=PlanTrigger(reason=Reason.FIRST_PLAN),
        baselines={
            "homogeneous": PeerOutcome(
                rent_usd_per_hour=2 / 3, unmet_req_per_s=0.1, least_served_share=0.9
            )
        },
    )
    text = json.dumps(written.to_json())
    api.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    try:
        stored = json.loads(api.kubectl("get", "servingplan", "active-000001", "-o", "json"))
        columns = api.kubectl("get", "splan", "active-000001").splitlines()
    finally:
        api.kubectl("delete", "servingplan", "active-000001")
    read = ServingPlan.from_manifest(stored)
    assert read.spec == written.spec
    assert instances_from(read) == plan.instances
    assert columns[0].split() == ["NAME", "STATUS", "USD/H", "READY", "TRIGGER", "AGE"]
    assert columns[1].split()[:2] == ["active-000001", "FEASIBLE"]
