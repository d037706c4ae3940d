"""The checker accepts what is true and rejects every kind of lie."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.unit.allocation.support import config, model, pool, problem, running, source, template

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.check import check_plan
from coral_solver.allocation.options import AllocationOptions
from coral_solver.domain.errors import PlanCheckError
from coral_solver.domain.hardware import PoolNode
from coral_solver.domain.plan import NodeSlice, Policy, ScarcityPolicy, SolveStatus
from coral_solver.domain.template import EngineSettings
from coral_solver.domain.workload import Phase, ServingMode

L4, L4X2, T4 = config("L4"), config("L4", 2), config("T4")

POOLS = (
    pool("L4", 4, [4, 3], start_time_s=360),
    pool("L4", 4, [4, 1], region="r2", max_nodes=4, gpu_usd=0.9, start_time_s=360),
    pool("T4", 1, [1, 1], gpu_usd=0.5, start_time_s=360),
)
PIPELINE = replace(
    template("a", 1, L4X2, L4X2),
    engine=EngineSettings(
        tensor_parallel=2,
        pipeline_parallel=2,
        layers_per_stage=(6, 6),
        max_model_len_tokens=4096,
        max_num_seqs=8,
        max_num_batched_tokens=2048,
        gpu_memory_utilization=0.9,
    ),
)
TEMPLATES = (
    PIPELINE,
    template("b", 1, T4),
    template("c", 1, L4X2, phase=Phase.PREFILL),
    template("c", 1, L4, phase=Phase.DECODE),
)
OLD = running("b-0000-1", TEMPLATES[1], POOLS[2], POOLS[2].nodes[0].name)
PROBLEM = problem(
    [
        model("a", 1, headroom=1.0),
        model("b", 3, min_replicas=1),
        model("c", 1, serving=ServingMode.DISAGGREGATED, allowed=frozenset({"L4", "H100"})),
        model("d", 1),
    ],
    POOLS,
    in_force=[OLD],
)


@pytest.fixture(scope="module")
def plan():
    return allocate(PROBLEM, source(*TEMPLATES))


def test_the_plan_under_test_has_all_that_can_be_wrong(plan):
    assert plan.status is SolveStatus.OPTIMAL
    assert OLD in plan.instances
    assert plan.opened_nodes
    assert {o.reason for o in plan.outcomes} == {"Served", "CapacityShort", "NoTemplate"}
    assert len(plan.objective) == 4
    check_plan(PROBLEM, plan)


def change_instance(plan, pick, **changes):
    """Return the plan with the first instance of one model changed."""
    index = next(
        i for i, instance in enumerate(plan.instances) if instance.template.model_id.endswith(pick)
    )
    changed = replace(plan.instances[index], **changes)
    return replace(plan, instances=(*plan.instances[:index], changed, *plan.instances[index + 1 :]))


def first(plan, pick):
    return next(i for i in plan.instances if i.template.model_id.endswith(pick))


def change_template(plan, pick, **changes):
    return change_instance(plan, pick, template=replace(first(plan, pick).template, **changes))


def change_slice(plan, pick, **changes):
    slices = first(plan, pick).slices
    return change_instance(plan, pick, slices=(slices[0]._replace(**changes), *slices[1:]))


def change_outcome(plan, index, **changes):
    outcomes = list(plan.outcomes)
    outcomes[index] = replace(outcomes[index], **changes)
    return replace(plan, outcomes=tuple(outcomes))


def change_level(plan, index, **changes):
    levels = list(plan.objective)
    levels[index] = replace(levels[index], **changes)
    return replace(plan, objective=tuple(levels))


def without(plan, pick):
    return replace(plan, instances=tuple(i for i in plan.instances if i is not first(plan, pick)))


MUTATIONS = {
    "an instance less": (lambda p: without(p, "a"), "capacity"),
    "an instance more": (
        lambda p: replace(p, instances=(*p.instances, replace(p.instances[-1], name="z-1"))),
        "free GPUs|opens|opened",
    ),
    "instances out of order": (lambda p: replace(p, instances=p.instances[::-1]), "not sorted"),
    "a name twice": (lambda p: change_instance(p, "a", name=first(p, "b").name), "given 2 times"),
    "a name that is no label": (lambda p: change_instance(p, "a", name="A_1"), "DNS"),
    "a long name": (lambda p: change_instance(p, "a", name="a" * 41), "DNS"),
    "an unknown model": (lambda p: change_template(p, "a", model_id="x"), "not in the problem"),
    "a phase not allowed": (lambda p: change_template(p, "a", phase=Phase.DECODE), "serving mode"),
    "another template": (
        lambda p: change_instance(p, "b", template=TEMPLATES[3]),
        "cannot be cut",
    ),
    "a GPU not allowed": (
        lambda p: change_template(p, "c", stages=TEMPLATES[1].stages),
        "not allowed",
    ),
    "layers that do not add up": (
        lambda p: change_template(p, "b", stages=(PIPELINE.stages[0],)),
        "layers",
    ),
    "a stage without GPUs": (
        lambda p: change_template(p, "b", stages=(TEMPLATES[1].stages[0]._replace(configs=()),)),
        "no GPUs",
    ),
    "a capacity that is no number": (
        lambda p: change_template(
            p, "b", prediction=replace(TEMPLATES[1].prediction, capacity_req_per_s=math.nan)
        ),
        "not a rate",
    ),
    "more capacity than said": (
        lambda p: change_template(
            p, "b", prediction=replace(TEMPLATES[1].prediction, capacity_req_per_s=1.5)
        ),
        "capacity is",
    ),
    "an engine with another split": (
        lambda p: change_template(p, "a", engine=replace(PIPELINE.engine, layers_per_stage=(5, 7))),
        "splits layers",
    ),
    "an engine with another depth": (
        lambda p: change_template(p, "a", engine=replace(PIPELINE.engine, pipeline_parallel=1)),
        "stages of",
    ),
    "an engine with another width": (
        lambda p: change_template(p, "a", engine=replace(PIPELINE.engine, tensor_parallel=4)),
        "tensor parallelism",
    ),
    "a slice less": (
        lambda p: change_instance(p, "a", slices=first(p, "a").slices[:1]),
        "slices for",
    ),
    "an unknown pool": (
        lambda p: change_slice(p, "b", pool=POOLS[2].key._replace(region="r9")),
        "not in the problem",
    ),
    "another region": (lambda p: change_instance(p, "b", region="r2"), "belongs to an instance"),
    "another GPU": (
        lambda p: change_slice(p, "b", pool=POOLS[0].key, node=POOLS[0].nodes[0].name),
        "cannot be cut",
    ),
    "an unknown node": (lambda p: change_slice(p, "b", node="nowhere"), "not in pool"),
    "a new node in a fixed pool": (lambda p: change_slice(p, "b", node=None), "cannot open"),
    "a full node": (
        lambda p: change_slice(p, "b", node=POOLS[2].nodes[1].name),
        "free GPUs, the plan takes 2",
    ),
    "a wrong rent of an instance": (lambda p: change_instance(p, "b", usd_per_hour=9.0), "rent is"),
    "a wrong rent": (lambda p: replace(p, rent_usd_per_hour=p.rent_usd_per_hour - 0.1), "the rent"),
    "a wrong switching charge": (lambda p: replace(p, switching_usd_per_hour=0.0), "charge"),
    "a rent that is no number": (lambda p: replace(p, rent_usd_per_hour=math.nan), "the rent"),
    "fewer opened nodes": (lambda p: replace(p, opened_nodes={}), "opened nodes"),
    "an opened pool that is not there": (
        lambda p: replace(p, opened_nodes={**p.opened_nodes, "x": 1}),
        "not in the problem",
    ),
    "an outcome less": (lambda p: replace(p, outcomes=p.outcomes[1:]), "outcomes are for"),
    "outcomes out of order": (lambda p: replace(p, outcomes=p.outcomes[::-1]), "outcomes are for"),
    "a smaller demand": (lambda p: change_outcome(p, 1, demand_req_per_s=2.0), "demand is"),
    "more capacity in the outcome": (
        lambda p: change_outcome(p, 1, capacity_req_per_s=3.0),
        "capacity is",
    ),
    "less unmet": (lambda p: change_outcome(p, 1, unmet_req_per_s=0.0), "unmet demand is"),
    "a wrong rent of a model": (lambda p: change_outcome(p, 1, usd_per_hour=0.0), "rent is"),
    "a wrong reason": (lambda p: change_outcome(p, 1, reason="Served"), "reason"),
    "no template though it runs": (lambda p: change_outcome(p, 1, reason="NoTemplate"), "reason"),
    "no message": (lambda p: change_outcome(p, 1, message=""), "no message"),
    "a level less": (lambda p: replace(p, objective=p.objective[1:]), "levels are"),
    "a level's other name": (lambda p: change_level(p, 0, level="goodput"), "levels are"),
    "a level's other sense": (lambda p: change_level(p, 0, sense="min"), "sense"),
    "a level's other value": (lambda p: change_level(p, 0, value=0.9), "value"),
    "a bound on the wrong side": (
        lambda p: change_level(p, -1, bound=p.cost_usd_per_hour + 1, gap=0.0),
        "wrong side",
    ),
    "a bound that is no number": (lambda p: change_level(p, -1, bound=math.nan), "wrong side"),
    "a gap that does not follow": (
        lambda p: change_level(p, -1, bound=p.cost_usd_per_hour / 2),
        "does not follow",
    ),
    "an open gap in an optimal plan": (
        lambda p: change_level(p, -1, bound=p.cost_usd_per_hour / 2, gap=0.5),
        "called optimal",
    ),
}


@pytest.mark.parametrize("kind", MUTATIONS)
def test_every_kind_of_lie_is_found(plan, kind):
    mutate, words = MUTATIONS[kind]
    with pytest.raises(PlanCheckError, match=words) as caught:
        check_plan(PROBLEM, mutate(plan))
    assert caught.value.violations


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (replace(PROBLEM, pools=POOLS[1:]), "not in the problem"),
        (
            replace(
                PROBLEM,
                pools=(
                    replace(POOLS[0], nodes=tuple(PoolNode(n.name, 1) for n in POOLS[0].nodes)),
                    *POOLS[1:],
                ),
            ),
            "has 1 free GPUs",
        ),
        (replace(PROBLEM, pools=(POOLS[0], replace(POOLS[1], max_nodes=1), POOLS[2])), "at most 1"),
        (replace(PROBLEM, policy=Policy(payback_horizon_s=60)), "charge"),
        (replace(PROBLEM, policy=Policy(scarcity=ScarcityPolicy.PRIORITY)), "levels are"),
        (replace(PROBLEM, in_force=()), "charge"),
        (replace(PROBLEM, in_force=(replace(OLD, template=TEMPLATES[0]),)), "for something else"),
        (replace(PROBLEM, models=PROBLEM.models[1:]), "not in the problem"),
        (replace(PROBLEM, pools=(*POOLS[:2], replace(POOLS[2], site_factor=0.5))), "capacity"),
    ],
)
def test_a_plan_for_another_problem_is_found(plan, given, words):
    with pytest.raises(PlanCheckError, match=words):
        check_plan(given, plan)


def test_rules_of_the_options_are_checked(plan):
    with pytest.raises(PlanCheckError, match="does not match nodes"):
        check_plan(PROBLEM, plan, options=AllocationOptions(whole_nodes_only=True))


def test_slices_that_wait_for_nodes_are_packed_too():
    # Three slices of 2 need two nodes of 4; one of them may use what a kept instance leaves.
    elastic = pool("L4", 4, [4], max_nodes=2)
    given = problem([model("a", 3)], [elastic])
    what = template("a", 1, L4X2)
    plan = allocate(given, source(what))
    check_plan(given, plan)
    loose = tuple(replace(i, slices=(NodeSlice(elastic.key, None),)) for i in plan.instances)
    check_plan(given, replace(plan, instances=loose))
    tight = replace(given, pools=(replace(elastic, max_nodes=1),))
    with pytest.raises(PlanCheckError, match="opens 2 nodes beside 0 of at most 1"):
        check_plan(tight, replace(plan, instances=loose))
