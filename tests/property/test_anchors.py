"""Properties of measured points: they narrow bars and pull towards what was measured."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.hardware import Precision
from coral_solver.domain.profile import MeasuredPoint
from coral_solver.performance.anchors import corrections
from coral_solver.performance.closed_loop import predict_closed_loop
from coral_solver.performance.evidence import evidence

ARCH = model_arch("qwen3-32b")
GPUS = ("A100-80GB", "H100", "H200", "L40S")


@st.composite
def points(draw):
    """Draw a point of a deployment that can run, with its predicted time per token and a factor."""
    gpu, size = draw(st.sampled_from(GPUS)), draw(st.sampled_from([2, 4, 8]))
    clients = float(draw(st.sampled_from([1, 8, 64])))
    factor = draw(st.floats(0.5, 2.0))
    found = predict_closed_loop(
        ARCH,
        gpu_type(gpu),
        tensor_parallel=size,
        precision=Precision.BF16,
        input_tokens=500,
        output_tokens=50,
        concurrency=clients,
    )
    return factor, MeasuredPoint(
        model=ARCH.name,
        precision=Precision.BF16,
        gpu=gpu,
        tensor_parallel=size,
        input_tokens=500.0,
        output_tokens=50.0,
        concurrency=clients,
        tpot_s=factor * found.tpot_ms / 1e3,
    )


@given(points(), st.sampled_from(GPUS), st.sampled_from([1, 2, 4]), st.integers(1, 3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_point_narrows_every_bar_and_moves_factors_its_way_and_not_beyond(
    drawn, gpu, size, stages
):
    factor, point = drawn
    derived = corrections([point], ARCH, Precision.BF16)
    found = derived.of(gpu_type(gpu), size, stages)
    plain = evidence(ARCH, Precision.BF16, gpu_type(gpu), size, stages)
    assert 0.0 < found.error_share <= plain.error_share + 1e-12
    here = derived.of(gpu_type(point.gpu), point.tensor_parallel)
    for name in ("compute_time_factor", "memory_time_factor"):
        log, own = math.log(getattr(found, name)), math.log(getattr(here, name))
        assert log * math.log(factor) >= -1e-9
        assert abs(log) <= abs(own) + 1e-9
        # Where the step is half computing, a factor has to go further than its half of the time.
        assert abs(own) <= 1.5 * abs(math.log(factor)) + 1e-9
