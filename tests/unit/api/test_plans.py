"""A plan written to a ServingPlan, through JSON, and read back gives the same instances."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coral_api.conditions import Reason
from coral_api.convert import spec_hash
from coral_api.multillmservice import MultiLLMService, OperatingMode
from coral_api.plans import instances_from, serving_plan
from coral_api.servingplan import PlanTrigger, ServingPlan
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import CapacityKind, Link, NodeConfig, PoolKey
from coral_solver.domain.plan import (
    AllocationPlan,
    ModelOutcome,
    NodeSlice,
    ObjectiveLevel,
    PeerOutcome,
    PlanMargin,
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

TRIGGER = PlanTrigger(reason=Reason.SPEC_CHANGED, message="default/chat changed")
L4_POOL = PoolKey("L4", 4, Link.PCIE, "us-east-2", CapacityKind.SPOT)
PREDICTION = Prediction(
    capacity_req_per_s=2.5, ttft_s=0.8, tpot_s=0.04, batch_per_stage=16, source="physical model"
)
TEMPLATE = ServingTemplate(
    model_id="default/chat/phi-4",
    phase=Phase.WHOLE,
    stages=(StagePlacement(40, (NodeConfig("L4", 2, Link.PCIE),)),),
    prediction=PREDICTION,
    made_for="0123456789abcdef",
    engine=EngineSettings(
        tensor_parallel=2,
        pipeline_parallel=1,
        layers_per_stage=(40,),
        max_model_len_tokens=8192,
        max_num_seqs=32,
        max_num_batched_tokens=2048,
        gpu_memory_utilization=0.9,
    ),
)


def _instance(name: str, node: str = "n1", template: ServingTemplate = TEMPLATE) -> ServingInstance:
    return ServingInstance(
        name=name,
        template=template,
        region="us-east-2",
        slices=(NodeSlice(L4_POOL, node),),
        usd_per_hour=0.8264,
    )


def _plan(*instances: ServingInstance, rent: float = 1.0) -> AllocationPlan:
    return AllocationPlan(
        status=SolveStatus.OPTIMAL,
        instances=instances,
        outcomes=(
            ModelOutcome(
                model_id="default/chat/phi-4",
                demand_req_per_s=10.0,
                capacity_req_per_s=7.5,
                unmet_req_per_s=2.5,
                usd_per_hour=2.0,
                reason="CapacityShort",
                message="4 more GPUs of type L4 would do.",
            ),
        ),
        objective=(
            ObjectiveLevel(level="served_share", sense="max", value=0.75, bound=0.75, gap=0.0),
            ObjectiveLevel(
                level="cost_usd_per_hour", sense="min", value=2.0, bound=-math.inf, gap=math.inf
            ),
        ),
        bound_scope="all templates",
        rent_usd_per_hour=rent,
        switching_usd_per_hour=0.1,
        opened_nodes={"us-east-2/H100x8-nvlink/on-demand": 1},
        solve_s=0.25,
    )


def _written(plan: AllocationPlan, **others: Any) -> ServingPlan:
    arguments = {"services": (), "trigger": TRIGGER, "baselines": {}, **others}
    return serving_plan("active-000001", plan, **arguments)


def _through_json(plan: ServingPlan) -> ServingPlan:
    return ServingPlan.from_manifest(json.loads(json.dumps(plan.to_json())))


names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,12}[a-z0-9])?", fullmatch=True)
amounts = st.floats(min_value=0, max_value=1e9, allow_nan=False)
counts = st.integers(min_value=1, max_value=1 << 20)
links = st.sampled_from(Link)
gpus = st.sampled_from(["H100", "A100-80GB", "L4", "RTX-PRO-6000"])
pools = st.builds(PoolKey, gpus, st.integers(1, 16), links, names, st.sampled_from(CapacityKind))
configs = st.builds(NodeConfig, gpus, st.sampled_from([1, 2, 4, 8]), links)
stages = st.builds(StagePlacement, counts, st.lists(configs, min_size=1, max_size=3).map(tuple))
engines = st.builds(
    EngineSettings,
    tensor_parallel=counts,
    pipeline_parallel=counts,
    layers_per_stage=st.lists(counts, min_size=1, max_size=4).map(tuple),
    max_model_len_tokens=counts,
    max_num_seqs=counts,
    max_num_batched_tokens=counts,
    gpu_memory_utilization=st.floats(min_value=0.01, max_value=1.0),
)
predictions = st.builds(
    Prediction,
    capacity_req_per_s=amounts,
    ttft_s=amounts,
    tpot_s=amounts,
    batch_per_stage=amounts,
    source=st.text(max_size=20),
    error_share=st.none() | amounts,
)
templates = st.builds(
    ServingTemplate,
    model_id=st.builds("{}/{}/{}".format, names, names, names),
    phase=st.sampled_from(Phase),
    stages=st.lists(stages, min_size=1, max_size=4).map(tuple),
    prediction=predictions,
    made_for=st.text(max_size=16),
    engine=st.none() | engines,
)
slices = st.lists(st.builds(NodeSlice, pools, st.none() | names), min_size=1, max_size=4)


@st.composite
def _instances(draw: st.DrawFn) -> tuple[ServingInstance, ...]:
    shared = draw(st.lists(templates, min_size=1, max_size=3))
    # The same template with a newer prediction has the same id.
    shared += [replace(shared[0], prediction=draw(predictions))]
    return tuple(
        ServingInstance(
            name=name,
            template=draw(st.sampled_from(shared)),
            region=draw(names),
            slices=tuple(draw(slices)),
            usd_per_hour=draw(amounts),
        )
        for name in draw(st.lists(names, max_size=6, unique=True))
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(_instances())
def test_instances_come_back_exactly(instances: tuple[ServingInstance, ...]) -> None:
    assert instances_from(_through_json(_written(_plan(*instances)))) == instances


def test_templates_and_pools_are_written_once() -> None:
    plan = _written(_plan(*(_instance(f"i{k}") for k in range(50))))
    assert len(plan.spec.templates) == 1
    assert [pool.name for pool in plan.spec.pools] == ["us-east-2/L4x4-pcie/spot"]


def test_a_large_plan_fits_into_etcd() -> None:
    plan = _written(_plan(*(_instance(f"default-chat-phi-4-{k:08x}") for k in range(4096))))
    # etcd takes requests of 1.5 MiB.
    assert len(json.dumps(plan.to_json(), separators=(",", ":"))) < 1.5 * 2**20


def test_figures_of_the_plan_are_written() -> None:
    spec = _written(
        _plan(_instance("a")),
        baselines={
            "homogeneous": PeerOutcome(
                rent_usd_per_hour=3.5, unmet_req_per_s=0.5, least_served_share=0.9
            )
        },
    ).spec
    assert spec.status is SolveStatus.OPTIMAL
    assert (spec.rent_usd_per_hour, spec.switching_usd_per_hour) == (1.0, 0.1)
    assert spec.solve_seconds == 0.25
    peer = spec.baselines["homogeneous"]
    assert (peer.rent_usd_per_hour, peer.unmet_requests_per_second) == (3.5, 0.5)
    assert peer.least_served_share == 0.9
    assert spec.opened_nodes == {"us-east-2/H100x8-nvlink/on-demand": 1}
    assert spec.outcomes[0].unmet_requests_per_second == 2.5
    assert spec.trigger.reason == "SpecChanged"


def test_what_the_margin_costs_is_written_where_there_is_one() -> None:
    assert _written(_plan()).spec.margin is None
    without = PeerOutcome(rent_usd_per_hour=0.8, unmet_req_per_s=0.0, least_served_share=1.0)
    written = _through_json(_written(_plan(), margin=PlanMargin(0.5, without))).spec.margin
    assert written is not None
    assert (written.robustness, written.without.rent_usd_per_hour) == (0.5, 0.8)


def test_a_level_without_a_bound_says_so() -> None:
    share, cost = _written(_plan()).spec.objective
    assert (share.bound, share.gap) == (0.75, 0.0)
    assert (cost.bound, cost.gap) == (None, None)


def test_services_are_recorded_as_they_were(service_manifest: dict[str, Any]) -> None:
    service_manifest["metadata"] |= {"uid": "8d7f", "generation": 3}
    service = MultiLLMService.from_manifest(service_manifest)
    (recorded,) = _written(_plan(), services=[service]).spec.services
    assert (recorded.namespace, recorded.name, recorded.uid) == ("default", "chat", "8d7f")
    assert (recorded.generation, recorded.mode) == (3, OperatingMode.SHADOW)
    assert recorded.hash == spec_hash(service)


def test_the_first_plan_adds_everything() -> None:
    diff = _written(_plan(_instance("b"), _instance("a"))).spec.diff
    assert diff.previous_plan is None
    assert (diff.added, diff.removed, diff.kept) == (("a", "b"), (), ())
    assert diff.usd_per_hour_before is None


def test_the_difference_to_the_plan_before() -> None:
    before = _written(_plan(_instance("a"), _instance("b"), _instance("c"), rent=3.0))
    after = _plan(_instance("a"), _instance("b", node="n2"), _instance("d"), rent=2.5)
    diff = _written(after, previous=before).spec.diff
    assert diff.previous_plan == "active-000001"
    # b moves to another node: it is stopped there and started here.
    assert diff.added == ("b", "d")
    assert diff.removed == ("b", "c")
    assert diff.kept == ("a",)
    assert (diff.usd_per_hour_before, diff.usd_per_hour_after) == (3.0, 2.5)


def test_a_new_prediction_does_not_restart_an_instance() -> None:
    before = _written(_plan(_instance("a")))
    newer = replace(TEMPLATE, prediction=replace(PREDICTION, capacity_req_per_s=2.0))
    diff = _written(_plan(_instance("a", template=newer)), previous=before).spec.diff
    assert diff.kept == ("a",)


def test_a_plan_that_was_edited_by_hand_is_refused() -> None:
    manifest = _written(_plan(_instance("a"))).to_json()
    manifest["spec"]["templates"] = []
    manifest["spec"]["pools"] = []
    with pytest.raises(InvalidInputError) as raised:
        instances_from(ServingPlan.from_manifest(manifest))
    assert len(raised.value.problems) == 2
    assert "names the template" in raised.value.problems[0]
    assert "delete the plan" in raised.value.problems[0]
