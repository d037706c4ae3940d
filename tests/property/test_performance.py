"""Properties of the capacity kernel that stage 1's exactness rests on."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coral_solver.domain.workload import LENGTH_POINTS, LengthDistribution
from coral_solver.performance import kernels
from coral_solver.performance.capacity import (
    joint_capacity,
    joint_capacity_above,
    rate_ceiling,
)

PHASES = (kernels.PHASE_PREFILL, kernels.PHASE_DECODE, kernels.PHASE_WHOLE)


@st.composite
def cases(draw):
    """Draw (stages, point, request, tau_s, stretch) as tables of all phases contain them."""
    phase = draw(st.sampled_from(PHASES))
    inputs = LengthDistribution.from_mean(draw(st.floats(20, 8000)), cv=draw(st.floats(0.1, 1.5)))
    outputs = LengthDistribution.from_mean(draw(st.floats(5, 1000)), cv=draw(st.floats(0.1, 1.5)))
    head = np.zeros(kernels.REQUEST_POINTS)
    head[kernels.REQUEST_PHASE] = phase
    head[kernels.REQUEST_TTFT] = draw(st.floats(0.1, 5.0))
    head[kernels.REQUEST_TPOT] = draw(st.floats(0.01, 0.3))
    head[kernels.REQUEST_ATTAINMENT] = draw(st.sampled_from([0.5, 0.9, 0.95, 0.99]))
    head[kernels.REQUEST_BURSTINESS] = draw(st.floats(0.2, 8.0))
    head[kernels.REQUEST_INPUT] = inputs.mean_tokens
    head[kernels.REQUEST_INPUT_CV2] = inputs.cv2
    head[kernels.REQUEST_OUTPUT] = outputs.mean_tokens
    head[kernels.REQUEST_OUTPUT_CV2] = outputs.cv2
    head[kernels.REQUEST_NUM_POINTS] = LENGTH_POINTS
    request = np.concatenate([head, inputs.points_tokens, outputs.points_tokens])
    seqs = float(draw(st.integers(1, 400)))
    budget = float(draw(st.sampled_from([512, 2048, 8192])))
    point = np.array([seqs, budget, draw(st.floats(0.01, 0.97)) * (budget - seqs)])
    if phase == kernels.PHASE_PREFILL:
        point = np.array([0.0, budget, budget])
    stretch = draw(st.floats(0.01, 1.0) if phase == kernels.PHASE_PREFILL else st.floats(1.0, 40.0))
    return draw(st.integers(1, 6)), point, request, draw(st.floats(1e-3, 0.2)), stretch


@given(cases(), st.floats(1.0, 3.0), st.floats(1.0, 3.0))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_capacity_never_rises_with_step_time_or_stretch(case, slower, stretched):
    stages, point, request, tau_s, stretch = case
    base = joint_capacity(stages, point, request, tau_s, stretch)
    slow = joint_capacity(stages, point, request, tau_s * slower, stretch)
    far = joint_capacity(stages, point, request, tau_s, stretch * stretched)
    # Bisection over an interval that depends on both ends the rate on a grid of 1e-9.
    assert slow <= base * (1 + 1e-6)
    if request[kernels.REQUEST_PHASE] != kernels.PHASE_PREFILL or stretch * stretched <= 1:
        assert far <= base * (1 + 1e-6)


@given(cases())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_capacity_is_finite_and_below_its_ceiling(case):
    stages, point, request, tau_s, stretch = case
    rate = joint_capacity(stages, point, request, tau_s, stretch)
    ceiling = rate_ceiling(stages, point, request, tau_s, stretch)
    assert 0.0 <= rate <= ceiling * (1 + 1e-9)
    assert np.isfinite(rate)


@given(cases(), st.floats(0.0, 2.0))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_floor_hides_capacities_below_it_and_changes_none_above(case, share):
    stages, point, request, tau_s, stretch = case
    plain = joint_capacity(stages, point, request, tau_s, stretch)
    floor = share * plain
    above = joint_capacity_above(stages, point, request, tau_s, stretch, floor)
    if plain > floor * (1 + 1e-6):
        assert above == plain
    elif plain < floor * (1 - 1e-6):
        assert above == 0.0
