"""Input that cannot mean anything is refused before any number of it is used."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import (
    CapacityKind,
    GpuPool,
    Link,
    NodeConfig,
    PoolKey,
    PoolNode,
    PoolScaling,
    Precision,
)
from coral_solver.domain.plan import NodeSlice, PlanningProblem, Policy, ServingInstance
from coral_solver.domain.template import Prediction, ServingTemplate, StagePlacement
from coral_solver.domain.validate import validate_problem
from coral_solver.domain.workload import (
    LengthDistribution,
    ModelArch,
    Phase,
    ServedModel,
    Slo,
    Workload,
)

ARCH = ModelArch(
    name="tiny",
    hub_id=None,
    layers=4,
    hidden_size=64,
    attention_heads=4,
    kv_heads=2,
    head_dim=16,
    intermediate_size=128,
    vocab_size=1000,
    max_context_tokens=4096,
    native_precision=Precision.BF16,
    source="made for this test",
)
MODEL = ServedModel(
    id="default/chat/tiny",
    arch=ARCH,
    precision=Precision.BF16,
    slo=Slo(ttft_s=1.0, tpot_s=0.05),
    workload=Workload(
        input_tokens=LengthDistribution.from_mean(100.0),
        output_tokens=LengthDistribution.from_mean(20.0),
    ),
    demand_req_per_s=1.0,
)
POOL = GpuPool(
    key=PoolKey("L4", 4, Link.PCIE, "here", CapacityKind.ON_DEMAND),
    node_usd_per_hour=4.0,
    nodes=(PoolNode("a", 4), PoolNode("b", 0)),
)
PROBLEM = PlanningProblem(models=(MODEL,), pools=(POOL,))
RUNNING = ServingInstance(
    name="tiny-1",
    template=ServingTemplate(
        model_id=MODEL.id,
        phase=Phase.WHOLE,
        stages=(StagePlacement(4, (NodeConfig("L4", 1, Link.PCIE),)),),
        prediction=Prediction(
            capacity_req_per_s=1.0, ttft_s=0.5, tpot_s=0.02, batch_per_stage=1.0, source="made up"
        ),
        made_for=MODEL.targets_digest,
    ),
    region="here",
    slices=(NodeSlice(POOL.key, "a"),),
    usd_per_hour=1.0,
)


def test_a_sound_problem_passes() -> None:
    validate_problem(PROBLEM)


def test_zero_demand_is_legal() -> None:
    validate_problem(replace(PROBLEM, models=(replace(MODEL, demand_req_per_s=0.0),)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"demand_req_per_s": math.nan}, "demand nan"),
        ({"demand_req_per_s": -1.0}, "demand -1"),
        ({"demand_req_per_s": 1e12}, "demand 1000000000000"),
        ({"demand_req_per_s": math.inf}, "demand inf"),
        ({"headroom": -0.1}, "headroom -0.1"),
        ({"min_replicas": -1}, "min_replicas -1"),
        ({"slo": Slo(ttft_s=0.0, tpot_s=0.05)}, "ttft_s 0.0"),
        ({"slo": Slo(ttft_s=1.0, tpot_s=math.nan)}, "tpot_s nan"),
        ({"slo": Slo(ttft_s=1.0, tpot_s=0.05, attainment=1.0)}, "attainment 1.0"),
        ({"workload": replace(MODEL.workload, burstiness=-1.0)}, "burstiness -1"),
        (
            {
                "workload": replace(
                    MODEL.workload,
                    input_tokens=LengthDistribution(mean_tokens=0.0, points_tokens=(0.0,)),
                )
            },
            "input_tokens must be positive",
        ),
    ],
)
def test_each_absurd_number_of_a_model_is_named(change: dict[str, object], said: str) -> None:
    broken = replace(PROBLEM, models=(replace(MODEL, **change),))
    with pytest.raises(InvalidInputError, match=r"default/chat/tiny") as caught:
        validate_problem(broken)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node_usd_per_hour": math.nan}, "price nan"),
        ({"node_usd_per_hour": -0.01}, "price -0.01"),
        ({"start_time_s": math.inf}, "start_time_s inf"),
        ({"site_factor": 0.0}, "site_factor 0.0"),
        ({"max_nodes": 3}, "elastic pools only"),
        ({"scaling": PoolScaling.ELASTIC, "max_nodes": -1}, "max_nodes -1"),
        ({"nodes": (PoolNode("a", 5),)}, "5 free GPUs of 4"),
        ({"nodes": (PoolNode("a", -1),)}, "-1 free GPUs of 4"),
        ({"nodes": (PoolNode("a", 1), PoolNode("a", 2))}, "node a is listed 2 times"),
    ],
)
def test_each_absurd_number_of_a_pool_is_named(change: dict[str, object], said: str) -> None:
    broken = replace(PROBLEM, pools=(replace(POOL, **change),))
    with pytest.raises(InvalidInputError, match="L4x4") as caught:
        validate_problem(broken)
    assert said in str(caught.value)


def test_every_fault_is_reported_at_once() -> None:
    broken = PlanningProblem(
        models=(MODEL, MODEL),
        pools=(POOL, POOL),
        policy=Policy(payback_horizon_s=0.0),
        in_force=(RUNNING, RUNNING),
    )
    with pytest.raises(InvalidInputError) as caught:
        validate_problem(broken)
    # a model twice, a pool twice, the horizon, an instance twice
    assert len(caught.value.problems) == 4
    assert "instance in force tiny-1: the name is used 2 times" in str(caught.value)
