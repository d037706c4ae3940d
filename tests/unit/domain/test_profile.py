"""Measured points that cannot mean anything, or cannot be true together, are told apart."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.unit.domain.test_validate import ARCH, MODEL, PROBLEM

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import Precision
from coral_solver.domain.plan import Policy, with_measurements
from coral_solver.domain.profile import (
    MeasuredPoint,
    contradictions,
    point_faults,
    points_of_models,
    profile_faults,
)
from coral_solver.domain.validate import validate_problem

POINT = MeasuredPoint(
    model=ARCH.name,
    precision=Precision.BF16,
    gpu="L4",
    tensor_parallel=1,
    input_tokens=512.0,
    output_tokens=101.0,
    concurrency=8.0,
    num_requests=80,
    ttft_s=1.0,
    tpot_s=0.04,
    output_tokens_per_s=160.0,
    source="a",
)
"""A request takes 1 + 0.04 x 100 = 5 s: 8 clients get 8 x 101 / 5 = 161.6 tokens/s."""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": ""}, "model is empty"),
        ({"gpu": ""}, "gpu is empty"),
        ({"tensor_parallel": 0}, "tensor_parallel 0"),
        ({"tensor_parallel": 64, "pipeline_parallel": 64}, "at most 1024 GPUs"),
        ({"input_tokens": 0.0}, "input_tokens 0.0"),
        ({"output_tokens": math.nan}, "output_tokens nan"),
        ({"concurrency": -1.0}, "concurrency -1.0"),
        ({"concurrency": math.nan}, "concurrency nan"),
        ({"request_rate_req_per_s": math.inf}, "request_rate_req_per_s inf"),
        ({"num_requests": 0}, "num_requests 0"),
        ({"ttft_s": 0.0}, "ttft_s 0.0"),
        ({"tpot_s": 3601.0}, "tpot_s 3601.0"),
        ({"output_tokens_per_s": -5.0}, "output_tokens_per_s -5.0"),
        ({"concurrency": None}, "the load is not known"),
        ({"ttft_s": None, "tpot_s": None, "output_tokens_per_s": None}, "nothing was measured"),
    ],
)
def test_a_point_with_a_number_that_cannot_be_is_told(fields: dict, said: str) -> None:
    (fault,) = point_faults(replace(POINT, **fields))
    assert said in fault


def test_a_good_point_has_no_fault_alone_or_beside_others() -> None:
    others = (
        replace(POINT, concurrency=math.inf, num_requests=1000, ttft_s=60.0),
        replace(POINT, concurrency=None, request_rate_req_per_s=1.0, tpot_s=0.03),
        # 8 clients at other lengths, or on other GPUs, say nothing about each other.
        replace(POINT, input_tokens=4096.0, tpot_s=0.08, output_tokens_per_s=None),
        replace(POINT, tensor_parallel=2, tpot_s=0.01, output_tokens_per_s=None),
    )
    assert profile_faults((POINT, *others)) == []


def test_all_faults_of_all_points_are_told_with_their_sources() -> None:
    bad = (replace(POINT, ttft_s=-1.0), replace(POINT, tpot_s=0.0, gpu="", source=""))
    faults = profile_faults(bad)
    assert [fault.split(":")[0] for fault in faults] == [
        "measured point 0 (a)",
        "measured point 1 (no source)",
        "measured point 1 (no source)",
    ]


def test_two_runs_of_one_thing_that_differ_too_much_contradict_each_other() -> None:
    # 0.04 x 1.5 = 0.06 is the limit.
    near = replace(POINT, tpot_s=0.059, output_tokens_per_s=None, source="b")
    far = replace(POINT, tpot_s=0.061, output_tokens_per_s=None, source="b")
    assert contradictions([POINT, near]) == []
    (said,) = contradictions([POINT, far])
    assert "tpot_s is 0.04 (a) and 0.061 (b)" in said


def test_more_clients_cannot_be_much_faster() -> None:
    more = replace(POINT, concurrency=16.0, tpot_s=0.02, output_tokens_per_s=None, source="b")
    (said,) = contradictions([more, POINT])
    assert "falls from 0.04 at 8 clients (a) to 0.02 at 16 (b)" in said


def test_a_throughput_that_the_latencies_leave_no_time_for_contradicts_them() -> None:
    # 1.5 x 161.6 = 242.4 tokens/s is the limit.
    assert contradictions([replace(POINT, output_tokens_per_s=242.0)]) == []
    (said,) = contradictions([replace(POINT, output_tokens_per_s=243.0)])
    assert "161.6 at most" in said


def test_the_clients_of_a_run_are_at_most_its_requests() -> None:
    # One request at a time gets 101 / 5 = 20.2 tokens/s.
    assert contradictions([replace(POINT, num_requests=1, output_tokens_per_s=31.0)])


def test_how_long_requests_queue_depends_on_how_many_there_are() -> None:
    burst = replace(POINT, concurrency=math.inf, num_requests=1000, ttft_s=60.0)
    small = replace(burst, num_requests=10, ttft_s=1.0, tpot_s=0.01)
    assert contradictions([burst, small]) == []
    assert contradictions([burst, replace(small, num_requests=1000)])


def test_a_contradiction_is_found_in_any_order() -> None:
    far = replace(POINT, ttft_s=10.0, source="b")
    assert sorted(contradictions([POINT, far])) == sorted(contradictions([far, POINT]))


def test_points_belong_to_models_of_their_architecture_and_precision() -> None:
    other = replace(POINT, precision=Precision.FP8)
    assert points_of_models([POINT, other], [MODEL]) == (POINT,)


def test_a_problem_with_bad_points_or_margin_is_refused() -> None:
    bad = replace(
        PROBLEM, profiles=(replace(POINT, tpot_s=-1.0),), policy=Policy(robustness=math.nan)
    )
    with pytest.raises(InvalidInputError) as raised:
        validate_problem(bad)
    assert [
        said for said in ("robustness nan", "tpot_s -1.0") if said not in str(raised.value)
    ] == []


@pytest.mark.parametrize("robustness", [-0.1, 1.1, math.inf])
def test_a_margin_is_a_share_of_the_error_bar(robustness: float) -> None:
    with pytest.raises(InvalidInputError, match="robustness"):
        validate_problem(replace(PROBLEM, policy=Policy(robustness=robustness)))


def test_models_carry_what_their_predictions_are_made_with() -> None:
    fp8 = replace(MODEL, id="default/chat/fp8", precision=Precision.FP8)
    problem = replace(
        PROBLEM, models=(MODEL, fp8), profiles=(POINT,), policy=Policy(robustness=0.5)
    )
    plain, other = with_measurements(problem).models
    assert plain.measured == (replace(POINT, source=""),)
    assert (other.measured, other.robustness) == ((), 0.5)
    assert with_measurements(with_measurements(problem)) == with_measurements(problem)


def test_a_digest_changes_with_measurements_and_only_with_those_of_the_model() -> None:
    digest = MODEL.targets_digest
    (measured,) = with_measurements(replace(PROBLEM, models=(MODEL,), profiles=(POINT,))).models
    assert measured.targets_digest != digest
    renamed = replace(POINT, source="another name")
    (same,) = with_measurements(replace(PROBLEM, models=(MODEL,), profiles=(renamed,))).models
    assert same.targets_digest == measured.targets_digest
    elsewhere = replace(POINT, model="another")
    (untouched,) = with_measurements(
        replace(PROBLEM, models=(MODEL,), profiles=(elsewhere,))
    ).models
    assert untouched.targets_digest == digest
