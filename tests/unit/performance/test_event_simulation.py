"""The oracle itself, on cases that can be worked out by hand."""

from __future__ import annotations

import pytest
from event_simulation import Request, engine, simulate

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.workload import Phase
from coral_solver.performance.steps import StepLoad, step_model
from coral_solver.performance.tables import StageRole, role_of

ARCH = model_arch("llama-3.1-8b")
STEPS = step_model(ARCH, gpu_type("H100"), precision=ARCH.native_precision, tensor_parallel=1)


def stage_s(layers, role, load):
    return float(layers * STEPS.layer_s(load) + STEPS.extra_s(role, load))


def setup(layers, **changes):
    settings = {"max_num_seqs": 8, "budget_tokens": 1000} | changes
    return engine([STEPS] * len(layers), layers, **settings)


def test_a_lone_request_takes_its_prompt_step_and_one_step_per_further_token():
    request = Request(1.0, 500, 3)
    simulate(setup([32]), [request])
    prompt_s = stage_s(32, StageRole.ONLY, StepLoad(0.0, 0.0, 500.0, 250.0, 1.0))
    assert request.first_s - 1.0 == pytest.approx(prompt_s)
    # The second and third token attend to 501 and 502.
    rest_s = sum(
        stage_s(32, StageRole.ONLY, StepLoad(1.0, context, 0.0, 0.0, 1.0))
        for context in (500.0, 501.0)
    )
    assert request.last_s - request.first_s == pytest.approx(rest_s, rel=1e-3)


def test_chunks_of_a_long_prompt_follow_each_other_through_the_stages():
    request = Request(0.0, 2000, 1)
    simulate(setup([16, 16]), [request])
    times = [
        [stage_s(16, role_of(s, 2), StepLoad(0.0, 0.0, 1000.0, context, last)) for s in range(2)]
        for context, last in ((500.0, 1.0), (1500.0, 1.0))
    ]
    (a0, a1), (b0, b1) = times
    assert request.first_s == pytest.approx(max(a0 + a1, a0 + b0) + b1, rel=1e-6)


def test_no_more_than_max_num_seqs_run_at_once():
    requests = [Request(0.0, 10, 50) for _ in range(3)]
    simulate(setup([32], max_num_seqs=2), requests)
    assert requests[2].first_s > requests[0].last_s


def test_a_full_kv_cache_preempts_the_youngest_and_it_still_finishes():
    requests = [Request(0.0, 100, 100) for _ in range(2)]
    simulate(setup([32], kv_limit_tokens=300), requests)
    assert [r.preempted for r in requests] == [0, 1]
    assert [r.produced for r in requests] == [100, 100]
    assert requests[1].last_s > requests[0].last_s


def test_a_decode_engine_takes_over_the_cache_and_computes_no_prompt():
    request = Request(0.0, 900, 2)
    simulate(setup([32], phase=Phase.DECODE), [request])
    step_s = stage_s(32, StageRole.ONLY, StepLoad(1.0, 900.0, 0.0, 0.0, 1.0))
    assert request.last_s == pytest.approx(2 * step_s, rel=1e-3)
