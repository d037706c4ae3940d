"""Plans are made when they are needed, once, and a fault costs nothing but time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fake_kube import FakeKube
from operator_builders import (
    allocation,
    changed,
    clock,
    instance,
    model,
    node,
    outcome,
    service,
    template,
)

from coral_api.conditions import Reason
from coral_operator.kube.kinds import (
    GPU_POOLS,
    MULTI_LLM_SERVICES,
    NODES,
    PLANNING_POLICIES,
    SERVING_PLANS,
)
from coral_operator.observe.store import WATCHED, Store
from coral_operator.observe.view import read_view
from coral_operator.planning.messages import PlanningAnswer
from coral_operator.planning.planner import (
    FIRST_RETRY_S,
    VISIBLE_WITHIN_S,
    ChainPlanner,
    changed_services,
)
from coral_operator.planning.process import WorkerCrashedError
from coral_operator.planning.records import Chain
from coral_operator.settings import Settings
from coral_operator.status.metrics import Metrics
from coral_solver.domain.plan import PeerOutcome


class FakeProcess:
    """Gives each model one instance of one GPU on the first node that has one free."""

    def __init__(self) -> None:
        self.problems = []
        self.fault: Exception | None = None

    async def plan(self, request, *, limit_s):
        self.problems.append(request.problem)
        if self.fault is not None:
            raise self.fault
        free = {n.name: n.free_gpus for p in request.problem.pools for n in p.nodes}
        made, outcomes = [], []
        for served in request.problem.models:
            where = next((name for name, gpus in sorted(free.items()) if gpus), None)
            short = where is None
            if where is not None:
                free[where] -= 1
                made.append(instance(f"{served.id}-1", where, of=template(served.id)))
            outcomes.append(
                outcome(
                    served.id,
                    demand_req_per_s=served.demand_req_per_s,
                    reason="CapacityShort" if short else "Served",
                    unmet_req_per_s=served.demand_req_per_s if short else 0.0,
                )
            )
        return PlanningAnswer(
            plan=allocation(*made, outcomes=tuple(outcomes)),
            baselines={
                "homogeneous": PeerOutcome(
                    rent_usd_per_hour=5.0, unmet_req_per_s=0.5, least_served_share=0.9
                )
            },
            templates_s=0.0,
            allocation_s=0.0,
            baselines_s=0.0,
        )


class World:
    """A cluster of dictionaries, and the planner on it."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.clock = clock()
        self.process = FakeProcess()
        self.restart()

    def restart(self) -> None:
        self.planner = ChainPlanner(
            kube=self.kube,
            clock=self.clock,
            settings=Settings(plan_history=2),
            process=self.process,
            counters=Metrics(),
            beat=lambda: None,
        )

    def put(self, kind, *manifests: dict) -> None:
        for manifest in manifests:
            self.kube.put(kind, manifest)

    def view(self):
        store = Store(self.clock, lambda: None)
        indices = {watched.index_id: {} for watched in WATCHED}
        by_plural = {watched.kind.plural: watched for watched in WATCHED}
        for (plural, namespace, name), body in self.kube.objects.items():
            watched = by_plural.get(plural)
            if watched is not None:
                indices[watched.index_id][namespace, name] = [watched.trim(body)]
        store.attach(indices)
        return read_view(store, None, lambda manifest: manifest)

    def plan(self, chain: Chain = Chain.ACTIVE):
        async def scenario():
            view = self.view()
            self.planner.adopt(view)
            made = await self.planner.plan(chain, view)
            await self.planner.prune(view)
            return made

        return asyncio.run(scenario())

    def state(self, chain: Chain = Chain.ACTIVE):
        return self.planner.states[chain]

    def plans(self) -> list[str]:
        return self.kube.names(SERVING_PLANS)


@pytest.fixture
def world() -> World:
    made = World()
    made.put(NODES, node("a"))
    return made


def test_the_first_plan_is_written_and_then_in_force(world):
    world.put(MULTI_LLM_SERVICES, service())
    made = world.plan()
    assert made is not None
    assert made.plan.spec.trigger.reason == "FirstPlan"
    peer = made.plan.spec.baselines["homogeneous"]
    assert (peer.rent_usd_per_hour, peer.unmet_requests_per_second) == (5.0, 0.5)
    assert world.plans() == [made.name]
    assert world.plan() is None
    assert len(world.process.problems) == 1


def test_a_restarted_operator_goes_on_with_the_plan_in_force(world):
    world.put(MULTI_LLM_SERVICES, service())
    made = world.plan()
    world.restart()
    assert world.plan() is None
    assert world.state().record == made
    assert len(world.process.problems) == 1


def test_a_change_of_demand_is_planned_at_once_with_what_runs_in_force(world):
    world.put(MULTI_LLM_SERVICES, service())
    before = world.plan()
    world.put(MULTI_LLM_SERVICES, service("chat", model(demand=2.0), generation=2))
    after = world.plan()
    assert after is not None
    assert after.plan.spec.diff.previous_plan == before.name
    assert [i.name for i in world.process.problems[-1].in_force] == ["default/chat/phi-4-1"]
    assert (after.sequence, changed_services(before, after)) == (2, set())


def test_new_nodes_wait_for_the_minimum_interval_and_the_same_plan_is_not_written_again(world):
    world.put(MULTI_LLM_SERVICES, service())
    world.plan()
    world.put(NODES, node("b"))
    assert world.plan() is None
    # The default interval is 30 s.
    assert world.state().wait_s == pytest.approx(30.0)
    world.clock.advance(31)
    assert world.plan() is None
    assert (len(world.process.problems), len(world.plans())) == (2, 1)
    assert world.plan() is None
    assert len(world.process.problems) == 2


def test_a_lost_node_is_planned_around_at_once(world):
    world.put(NODES, node("b"))
    world.put(MULTI_LLM_SERVICES, service())
    world.plan()
    world.kube.objects.pop(("nodes", "", "a"))
    after = world.plan()
    assert after is not None
    assert after.plan.spec.trigger.reason == "CapacityChanged"
    assert [i.slices[0].node for i in after.instances] == ["b"]


def test_a_crash_keeps_the_plan_and_is_tried_again_later_and_later(world):
    world.put(MULTI_LLM_SERVICES, service())
    before = world.plan()
    world.put(MULTI_LLM_SERVICES, service("chat", model(demand=2.0), generation=2))
    world.process.fault = WorkerCrashedError("killed")
    assert world.plan() is None
    assert world.state().record == before
    assert world.state().problem.reason is Reason.WORKER_CRASHED
    assert world.state().wait_s == FIRST_RETRY_S
    assert world.plan() is None
    assert len(world.process.problems) == 2
    world.clock.advance(FIRST_RETRY_S + 1)
    assert world.plan() is None
    assert world.state().wait_s == 2 * FIRST_RETRY_S
    world.process.fault = None
    world.clock.advance(2 * FIRST_RETRY_S + 1)
    assert world.plan() is not None
    assert world.state().problem is None


def test_after_a_crash_a_new_spec_is_tried_at_once(world):
    world.put(MULTI_LLM_SERVICES, service())
    world.process.fault = WorkerCrashedError("killed")
    world.plan()
    world.process.fault = None
    world.put(MULTI_LLM_SERVICES, service("chat", model(demand=2.0), generation=2))
    assert world.plan() is not None


def test_an_unknown_fault_gets_a_reason_that_is_documented(world):
    from coral_solver.domain.errors import CoralError

    world.put(MULTI_LLM_SERVICES, service())
    world.process.fault = CoralError("strange", reason="NobodyKnowsThis")
    world.plan()
    assert world.state().problem.reason is Reason.INTERNAL_ERROR


def test_without_gpus_nothing_is_planned_and_the_last_plan_stays(world):
    world.put(MULTI_LLM_SERVICES, service())
    before = world.plan()
    world.kube.objects.pop(("nodes", "", "a"))
    assert world.plan() is None
    assert world.state().record == before
    problem = world.view().problem
    assert problem is not None
    assert problem.reason is Reason.NO_GPU_NODES


def test_a_cluster_of_refused_nodes_says_why(world):
    world.put(NODES, node("a", unschedulable=True), node("b", gpu="Mystery-GPU-9000"))
    problem = world.view().problem
    assert problem is not None
    assert "1 Cordoned, 1 UnknownGpuLabel" in problem.message


def test_the_last_service_gone_leaves_an_empty_plan_without_asking_the_solver(world):
    world.put(MULTI_LLM_SERVICES, service())
    world.plan()
    gone = changed(service(), deletionTimestamp="2026-11-22T11:00:00Z")
    world.put(MULTI_LLM_SERVICES, gone)
    after = world.plan()
    assert after is not None
    assert (after.instances, after.plan.spec.services) == ((), ())
    assert len(world.process.problems) == 1


def test_a_paused_service_is_carried_from_plan_to_plan(world):
    world.put(MULTI_LLM_SERVICES, service("a"), service("b"))
    before = world.plan()
    world.put(MULTI_LLM_SERVICES, service("b", model(demand=9.0), generation=2, paused=True))
    after = world.plan()
    assert after is not None
    assert [m.id for m in world.process.problems[-1].models] == ["default/a/phi-4"]
    assert {i.name for i in after.instances} == {i.name for i in before.instances}
    assert [(s.name, s.generation) for s in after.plan.spec.services] == [("a", 1), ("b", 1)]
    assert {o.model_id for o in after.plan.spec.outcomes} == {"default/a/phi-4", "default/b/phi-4"}


def test_shadow_services_are_planned_on_what_active_ones_leave_and_apart(world):
    world.put(NODES, node("a", gpus=1))
    world.put(MULTI_LLM_SERVICES, service("run"), service("dream", mode="Shadow"))
    active = world.plan()
    shadow = world.plan(Chain.SHADOW)
    assert [len(active.instances), len(shadow.instances)] == [1, 0]
    assert [o.reason for o in shadow.plan.spec.outcomes] == ["CapacityShort"]
    assert [name.split("-")[0] for name in world.plans()] == ["active", "shadow"]


def test_a_policy_that_changes_calls_for_a_plan(world):
    world.put(MULTI_LLM_SERVICES, service())
    world.plan()
    policy = {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "PlanningPolicy",
        "metadata": {"name": "default"},
        "spec": {"paybackHorizonSeconds": 60.0},
    }
    world.put(PLANNING_POLICIES, policy)
    after = world.plan()
    assert after is not None
    assert after.plan.spec.trigger.message == "the policy, a pool or a profile was changed"


def test_a_price_that_changes_calls_for_a_plan(world):
    world.put(MULTI_LLM_SERVICES, service())
    world.plan()
    pool = {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "GPUPool",
        "metadata": {"name": "l4"},
        "spec": {
            "nodeSelector": {"matchLabels": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
            "pricing": {"onDemandUsdPerHour": 9.5},
        },
    }
    world.put(GPU_POOLS, pool)
    assert world.plan() is not None
    assert world.process.problems[-1].pools[0].node_usd_per_hour == 9.5


def test_a_deleted_plan_is_made_anew_with_its_instances_in_force(world):
    world.put(MULTI_LLM_SERVICES, service())
    before = world.plan()
    world.kube.objects.pop(("servingplans", "", before.name))
    # The watch gets its time first.
    assert world.plan() is None
    world.clock.advance(VISIBLE_WITHIN_S + 1)
    after = world.plan()
    assert after is not None
    assert (after.sequence, after.instances) == (2, before.instances)
    assert [i.name for i in world.process.problems[-1].in_force] == ["default/chat/phi-4-1"]


def test_the_history_is_bounded(world):
    for generation in range(1, 6):
        manifest = service("chat", model(demand=float(generation)), generation=generation)
        world.put(MULTI_LLM_SERVICES, manifest)
        world.plan()
    world.plan()
    assert [name.split("-")[1] for name in world.plans()] == ["000004", "000005"]


def test_changed_services_are_those_with_other_instances():
    from operator_builders import record

    two = [service("a"), service("b")]
    a, b = (instance(n, of=template(f"default/{n}/phi-4")) for n in ("a", "b"))
    moved = replace(b, slices=(b.slices[0]._replace(node="z"),))
    before, after = record(two, a, b), record(two, a, moved)
    assert {str(ref) for ref in changed_services(before, after)} == {"default/b"}
    assert {str(ref) for ref in changed_services(None, after)} == {"default/a", "default/b"}
