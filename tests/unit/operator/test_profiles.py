"""PerformanceProfiles in the operator: used where they can be, told where they cannot."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from operator_builders import (
    NOW,
    allocation,
    inputs,
    inputs_of,
    instance,
    model,
    node,
    service,
)
from test_chain_planner import FakeProcess, World

from coral_api.conditions import ConditionStatus, Reason
from coral_api.planningpolicy import PlanningPolicySpec
from coral_operator.kube.kinds import (
    MULTI_LLM_SERVICES,
    NODES,
    PERFORMANCE_PROFILES,
    PLANNING_POLICIES,
)
from coral_operator.planning.inputs import Problem, read_performance_profiles
from coral_operator.planning.messages import PlanningAnswer, PlanningRequest
from coral_operator.planning.problem import margin_with_held
from coral_operator.planning.worker import read_message, serve, write_message
from coral_operator.status.cluster import profile_status
from coral_solver.domain.plan import PeerOutcome, PlanMargin, Policy
from coral_solver.planning.planner import PlanningResult


def profile(name: str = "measured", tpot: float = 60.0, **spec: object) -> dict:
    return {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "PerformanceProfile",
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": 3},
        "spec": {
            "model": "microsoft/phi-4",
            "gpuType": "L4",
            "tensorParallel": 2,
            "points": [
                {
                    "inputTokens": 512,
                    "outputTokens": 128,
                    "concurrency": 8,
                    "tpotMilliseconds": tpot,
                }
            ],
            **spec,
        },
    }


def points_of(*manifests: dict) -> tuple:
    points, _ = read_performance_profiles(manifests)
    return tuple(point for _, found in sorted(points.items()) for point in found)


def test_profiles_are_read_and_the_broken_ones_told_by_name():
    points, problems = read_performance_profiles(
        [
            profile("good"),
            profile("fast", 20.0, tensorParallel=10),
            profile("slow", 90.0, tensorParallel=10),
            profile("strange", model="nobody/knows-this"),
            profile("broken", points=[]),
        ]
    )
    assert list(points) == ["good"]
    assert {name: problem.reason for name, problem in problems.items()} == {
        "fast": Reason.CONTRADICTORY_PROFILE,
        "slow": Reason.CONTRADICTORY_PROFILE,
        "strange": Reason.UNKNOWN_MODEL,
        "broken": Reason.INVALID_PROFILE,
    }
    assert "spec.points" in problems["broken"].message


def test_the_problem_has_the_points_of_the_models_that_are_planned():
    mine, other = points_of(profile("a"), profile("b", model="Qwen/Qwen3-32B", gpuType="H100"))
    found = inputs([service()], profiles=(mine, other))
    assert found.problem.profiles == (mine,)


def test_a_profile_of_another_model_leaves_the_hashes_as_they_were():
    (mine,) = points_of(profile())
    (other,) = points_of(profile(model="Qwen/Qwen3-32B", gpuType="H100"))
    plain = inputs([service()]).hashes
    assert inputs([service()], profiles=(other,)).hashes == plain
    changed = inputs([service()], profiles=(mine,)).hashes
    assert changed.spec != plain.spec
    assert changed.inputs != plain.inputs


def test_the_policys_margin_reaches_the_problem():
    found = inputs([service()], policy=PlanningPolicySpec(robustness=0.5))
    assert found.problem.policy.robustness == 0.5


@pytest.fixture
def world() -> World:
    made = World()
    made.put(NODES, node("a"))
    made.put(MULTI_LLM_SERVICES, service())
    return made


def test_a_profile_of_a_planned_model_sets_off_a_plan_at_once(world: World):
    first = world.plan()
    world.put(PERFORMANCE_PROFILES, profile("other", model="Qwen/Qwen3-32B", gpuType="H100"))
    assert world.plan() is None
    world.put(PERFORMANCE_PROFILES, profile())
    second = world.plan()
    assert (first is not None, second is not None) == (True, True)
    assert second.plan.spec.trigger.reason == "SpecChanged"
    assert [p.model for p in world.process.problems[-1].profiles] == ["phi-4-14b"]


def test_a_contradictory_profile_is_left_out_and_the_rest_is_planned(world: World):
    world.plan()
    world.put(PERFORMANCE_PROFILES, profile("fast", 20.0), profile("slow", 90.0))
    assert world.plan() is None
    assert set(world.view().profile_problems) == {"fast", "slow"}
    world.put(PERFORMANCE_PROFILES, profile("good", tensorParallel=5))
    assert world.plan() is not None
    assert [p.tensor_parallel for p in world.process.problems[-1].profiles] == [5]


class RobustProcess(FakeProcess):
    """Says that the same plan without a margin would cost a quarter."""

    async def plan(self, request, *, limit_s):
        answer = await super().plan(request, limit_s=limit_s)
        without = PeerOutcome(rent_usd_per_hour=0.25, unmet_req_per_s=0.0, least_served_share=1.0)
        robustness = request.problem.policy.robustness
        return replace(answer, margin=PlanMargin(robustness, without) if robustness else None)


def test_the_serving_plan_says_what_the_margin_costs(world: World):
    world.process = RobustProcess()
    world.restart()
    without = world.plan()
    assert without.plan.spec.margin is None
    policy = {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "PlanningPolicy",
        "metadata": {"name": "default"},
        "spec": {"robustness": 1.0},
    }
    world.put(PLANNING_POLICIES, policy)
    margin = world.plan().plan.spec.margin
    assert (margin.robustness, margin.without.rent_usd_per_hour) == (1.0, 0.25)


def test_held_instances_cost_with_and_without_a_margin():
    without = PeerOutcome(rent_usd_per_hour=2.0, unmet_req_per_s=0.0, least_served_share=1.0)
    held = replace(inputs([service()]), held=(instance("h", usd_per_hour=3.0),))
    found = margin_with_held(PlanMargin(0.5, without), held)
    assert (found.robustness, found.without.rent_usd_per_hour) == (0.5, 5.0)
    assert margin_with_held(None, held) is None


def test_the_worker_answers_with_the_margin_that_the_planner_found():
    problem = replace(inputs([service()]).problem, policy=Policy(robustness=0.5))

    class Planner:
        def __init__(self, options):
            self.options = options

        def plan(self, _problem):
            plans = allocation(instance("i")), allocation(instance("j", usd_per_hour=0.5))
            return PlanningResult(plan=plans[0], without_margin=plans[1])

    source, sink = io.BytesIO(), io.BytesIO()
    write_message(source, PlanningRequest(problem=problem, time_limit_s=1.0, cache_dir=None))
    source.seek(0)
    serve(source, sink, Planner)
    sink.seek(0)
    answer = read_message(sink)
    assert isinstance(answer, PlanningAnswer)
    assert answer.margin is not None
    assert (answer.margin.robustness, answer.margin.without.rent_usd_per_hour) == (0.5, 0.5)


def statuses(*models: dict, problem: Problem | None = None):
    (read,) = inputs_of(service("chat", *models))
    points = () if problem is not None else points_of(profile())
    return profile_status(profile(), points, read.models, problem, now=NOW)


def test_a_used_profile_names_the_models_that_it_corrects():
    status = statuses(model("a"), model("b", hub="Qwen/Qwen3-32B"))
    (told,) = status.conditions
    assert (told.status, told.reason) == (ConditionStatus.TRUE, "InputsReady")
    assert "default/chat/a" in told.message
    assert (status.points, status.models, status.observed_generation) == (1, 1, 3)


def test_a_profile_without_a_model_to_correct_says_so():
    status = statuses(model("b", hub="Qwen/Qwen3-32B"))
    (told,) = status.conditions
    assert (told.status, status.points, status.models) == (ConditionStatus.TRUE, 1, 0)
    assert "no service" in told.message


def test_a_profile_that_is_not_used_says_why():
    status = statuses(model(), problem=Problem(Reason.CONTRADICTORY_PROFILE, "both cannot be"))
    (told,) = status.conditions
    assert (told.status, told.reason) == (ConditionStatus.FALSE, "ContradictoryProfile")
    assert (told.message, status.points, status.models) == ("both cannot be", 0, 0)
