"""Bad input through the planner: a typed error that says why, or a checked plan; never a hang."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ortools.math_opt.python import mathopt
from tests.unit.planning.small_problem import GOOD, OPTIONS, checked, l4_pool, served

from coral_solver.domain.errors import CatalogError, InvalidInputError
from coral_solver.domain.hardware import (
    CapacityKind,
    PoolNode,
    PoolScaling,
)
from coral_solver.domain.plan import PlanningProblem, Policy, SolveStatus
from coral_solver.planning.planner import Planner

if TYPE_CHECKING:
    from collections.abc import Callable


NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
def planner() -> Planner:
    """One planner: what it refuses must not spoil what comes after."""
    return Planner(OPTIONS)


def with_model(**changes: Any) -> PlanningProblem:
    return replace(GOOD, models=(replace(GOOD.models[0], **changes),))


def with_pool(**changes: Any) -> PlanningProblem:
    return replace(GOOD, pools=(replace(GOOD.pools[0], **changes),))


def with_slo(**changes: Any) -> PlanningProblem:
    return with_model(slo=replace(GOOD.models[0].slo, **changes))


def with_workload(**changes: Any) -> PlanningProblem:
    return with_model(workload=replace(GOOD.models[0].workload, **changes))


def with_lengths(field: str, **changes: Any) -> PlanningProblem:
    lengths = getattr(GOOD.models[0].workload, field)
    return with_workload(**{field: replace(lengths, **changes)})


NUMBERS: dict[str, tuple[Callable[[float], PlanningProblem], tuple[float, ...]]] = {
    # What takes the number, and values beyond NaN, infinities and -1 that mean nothing there.
    "demand": (lambda x: with_model(demand_req_per_s=x), (-1.0, 1e7)),
    "headroom": (lambda x: with_model(headroom=x), (-1.0, 1e3)),
    "min_replicas": (lambda x: with_model(min_replicas=x), (-1, 10**6)),
    "ttft_s": (lambda x: with_slo(ttft_s=x), (-1.0, 0.0, 1e9)),
    "tpot_s": (lambda x: with_slo(tpot_s=x), (-1.0, 0.0, 1e9)),
    "attainment": (lambda x: with_slo(attainment=x), (-1.0, 0.0, 1.0, 95.0)),
    "burstiness": (lambda x: with_workload(burstiness=x), (-1.0, 1e6)),
    "input_tokens": (lambda x: with_lengths("input_tokens", mean_tokens=x), (-1.0, 0.0, 1e12)),
    "output_tokens": (
        lambda x: with_lengths("output_tokens", points_tokens=(x,) * 20),
        (-1.0, 0.0, 1e12),
    ),
    "price": (lambda x: with_pool(node_usd_per_hour=x), (-1.0, 1e9)),
    "start_time_s": (lambda x: with_pool(start_time_s=x), (-1.0, 1e9)),
    "site_factor": (lambda x: with_pool(site_factor=x), (-1.0, 0.0, 1e3)),
    "max_nodes": (
        lambda x: with_pool(scaling=PoolScaling.ELASTIC, max_nodes=x),
        (-1, 10**9),
    ),
    "free GPUs": (lambda x: with_pool(nodes=(PoolNode("n", x),)), (-1, 5)),
    "GPUs per node": (
        lambda x: with_pool(key=GOOD.pools[0].key._replace(gpus_per_node=x), nodes=()),
        (-1, 0, 10**6),
    ),
    "payback_horizon_s": (lambda x: replace(GOOD, policy=Policy(payback_horizon_s=x)), (-1.0, 0.0)),
    "robustness": (lambda x: replace(GOOD, policy=Policy(robustness=x)), (-1.0, 30.0)),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, x) for name, (_, absurd) in NUMBERS.items() for x in (NAN, INF, -INF, *absurd)],
)
def test_a_number_that_cannot_mean_anything_is_refused_by_name(
    planner: Planner, name: str, value: float
) -> None:
    make, _ = NUMBERS[name]
    with pytest.raises(InvalidInputError) as caught:
        planner.plan(make(value))
    said = str(caught.value)
    assert name.split("_")[0].lower() in said.lower()
    assert caught.value.reason == "InvalidInput"


def test_all_faults_are_told_at_once(planner: Planner) -> None:
    broken = replace(
        GOOD,
        models=(replace(served(), demand_req_per_s=NAN), replace(served(), headroom=-1.0)),
        pools=(l4_pool(usd=-3.0), l4_pool()),
    )
    with pytest.raises(InvalidInputError) as caught:
        planner.plan(broken)
    # The id twice, the pool twice, and three numbers.
    assert len(caught.value.problems) == 5


def test_a_node_that_is_in_two_pools_would_be_used_twice_and_is_refused(planner: Planner) -> None:
    twin = replace(l4_pool(), key=l4_pool().key._replace(kind=CapacityKind.SPOT))
    with pytest.raises(InvalidInputError, match="here-0000"):
        planner.plan(replace(GOOD, pools=(l4_pool(), twin)))


def test_an_unknown_gpu_type_is_named_with_what_is_near(planner: Planner) -> None:
    pool = with_pool(key=GOOD.pools[0].key._replace(gpu="L5"))
    with pytest.raises(CatalogError, match="L4") as caught:
        planner.plan(pool)
    assert caught.value.reason == "UnknownGpuType"


def test_what_runs_for_an_unknown_model_or_in_an_unknown_pool_goes(planner: Planner) -> None:
    running = checked(planner, GOOD).instances
    elsewhere = tuple(
        replace(
            item,
            name="elsewhere-1",
            slices=tuple(s._replace(pool=s.pool._replace(region="gone")) for s in item.slices),
        )
        for item in running[:1]
    )
    other = replace(GOOD, models=(served("phi-4-14b"),), in_force=running + elsewhere)
    plan = checked(planner, other)
    assert not {item.name for item in plan.instances} & {item.name for item in other.in_force}


@pytest.mark.parametrize(
    ("problem", "reasons"),
    [
        (PlanningProblem(models=(), pools=()), []),
        (PlanningProblem(models=(), pools=(l4_pool(),)), []),
        (PlanningProblem(models=(served(),), pools=()), ["NoTemplate"]),
        (PlanningProblem(models=(served(),), pools=(l4_pool(0),)), ["CapacityShort"]),
        (with_pool(nodes=(PoolNode("n", 0),)), ["CapacityShort"]),
        (with_model(allowed_gpus=frozenset()), ["NoTemplate"]),
        (with_model(demand_req_per_s=0.0), ["NoDemand"]),
        (with_slo(ttft_s=1e-6), ["NoTemplate"]),
        (with_slo(tpot_s=1e-6), ["NoTemplate"]),
        (with_lengths("input_tokens", points_tokens=(1e7,) * 20, mean_tokens=1e7), ["NoTemplate"]),
    ],
)
def test_nothing_to_plan_with_is_an_answer_with_a_reason(
    planner: Planner, problem: PlanningProblem, reasons: list[str]
) -> None:
    plan = checked(planner, problem)
    assert [outcome.reason for outcome in plan.outcomes] == reasons
    assert plan.instances == ()
    assert plan.status is SolveStatus.OPTIMAL


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 0},
        {"hidden_size": -64},
        {"attention_heads": 0},
        {"kv_heads": 0},
        {"kv_heads": 7},
        {"head_dim": 0},
        {"vocab_size": -1},
        {"experts": 8, "experts_per_token": 9, "moe_intermediate_size": 64},
        {"experts": 8},
        {"sliding_window_tokens": 128, "sliding_layers": 10_000},
        {"max_context_tokens": 0},
    ],
)
def test_a_model_shape_that_cannot_be_is_refused(planner: Planner, changes: dict[str, int]) -> None:
    arch = replace(GOOD.models[0].arch, **changes)
    with pytest.raises(InvalidInputError, match=next(iter(changes)).split("_")[0]):
        planner.plan(with_model(arch=arch))


def test_prices_nine_orders_of_magnitude_apart_are_told_apart(planner: Planner) -> None:
    # One L4 node carries the model; the dear pools must not hide the cheap one's price.
    pools = tuple(
        l4_pool(2, usd=usd, region=f"r{i}") for i, usd in enumerate((1e5, 1e-4, 1e-9, 4.6))
    )
    plan = checked(planner, replace(GOOD, pools=pools))
    assert plan.status is SolveStatus.OPTIMAL
    assert {item.region for item in plan.instances} == {"r2"}
    with pytest.raises(InvalidInputError, match=r"price 1000000000\.0"):
        planner.plan(replace(GOOD, pools=(l4_pool(usd=1e9), *pools)))


def test_gpus_for_nothing_serve_for_nothing(planner: Planner) -> None:
    plan = checked(planner, with_pool(node_usd_per_hour=0.0))
    assert plan.outcomes[0].reason == "Served"
    assert plan.rent_usd_per_hour == 0.0


def test_a_demand_of_a_million_is_served_as_far_as_it_goes(planner: Planner) -> None:
    plan = checked(planner, with_model(demand_req_per_s=1e6))
    assert plan.outcomes[0].reason == "CapacityShort"
    assert 0 < plan.outcomes[0].capacity_req_per_s < 1e3
    assert plan.status in (SolveStatus.OPTIMAL, SolveStatus.FEASIBLE)


def test_a_tiny_demand_gets_one_instance(planner: Planner) -> None:
    plan = checked(planner, with_model(demand_req_per_s=1e-9))
    assert len(plan.instances) == 1
    assert plan.outcomes[0].reason == "Served"


def test_a_thousand_nodes_are_planned(planner: Planner) -> None:
    pools = tuple(l4_pool(250, region=f"r{i}") for i in range(4))
    models = (served(demand_req_per_s=300.0), served("llama-2-7b", 40.0))
    plan = checked(planner, PlanningProblem(models=models, pools=pools))
    assert {outcome.reason for outcome in plan.outcomes} == {"Served"}
    assert plan.objective[-1].gap <= 1e-3


@pytest.mark.parametrize("limit_s", [-1.0, 0.0, 1e-9, 1e-4])
def test_without_time_there_is_a_checked_plan_with_an_honest_status(limit_s: float) -> None:
    best = checked(Planner(OPTIONS), GOOD)
    plan = checked(Planner(replace(OPTIONS, time_limit_s=limit_s)), GOOD)
    assert plan.status is not SolveStatus.ERROR
    assert plan.objective[0].bound >= best.objective[0].value - 1e-6
    if plan.objective[0].value >= 1.0:
        assert plan.objective[-1].bound <= best.objective[-1].value + 1e-6


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("SCIP: error in LP solver"),
        AttributeError("'NoneType' object has no attribute 'objective_value'"),
        ValueError("invalid model"),
        MemoryError("bad allocation"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_solver_that_fails_leaves_a_checked_plan_that_says_so(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, planner: Planner
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise fault

    monkeypatch.setattr(mathopt, "solve", fail)
    plan = checked(planner, GOOD)
    assert plan.status is SolveStatus.ERROR
    assert str(fault) in plan.bound_scope
    assert plan.instances


BAD_OPTIONS = [
    {"time_limit_s": NAN},
    {"relative_gap": -1.0},
    {"relative_gap": NAN},
    {"max_nodes": 0},
    {"max_nodes": 1000},
    {"rho": 0.0},
    {"rho": NAN},
]


@pytest.mark.parametrize("changes", BAD_OPTIONS, ids=str)
def test_options_that_cannot_mean_anything_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(changes))):
        Planner(replace(OPTIONS, **changes)).plan(GOOD)


floats = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, 1e-12, 1e-3, 1.0, 50.0, 1e6, 1e9]
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(floats, floats, floats, floats, st.integers(-2, 6), st.integers(-1, 3))
def test_any_numbers_give_a_typed_error_or_a_checked_plan(
    planner: Planner,
    demand: float,
    usd: float,
    headroom: float,
    factor: float,
    free: int,
    replicas: int,
) -> None:
    model = replace(
        GOOD.models[0], demand_req_per_s=demand, headroom=headroom, min_replicas=replicas
    )
    pool = replace(
        GOOD.pools[0],
        node_usd_per_hour=usd,
        site_factor=factor,
        nodes=(PoolNode("a", free), PoolNode("b", 4)),
    )
    try:
        plan = checked(planner, PlanningProblem(models=(model,), pools=(pool,)))
    except InvalidInputError as fault:
        told = fault.problems
    else:
        told = (plan.status,)
    assert told
    assert SolveStatus.ERROR not in told
