"""Measured points correct predictions: fully at their deployment, less the further away."""

import math
from dataclasses import replace

import numpy as np
import pytest
from deployments import served

from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import Link, NodeConfig, Precision
from coral_solver.domain.profile import MeasuredPoint
from coral_solver.domain.template import StagePlacement
from coral_solver.domain.workload import Phase
from coral_solver.performance.anchors import (
    corrections,
    measured_corrections,
    template_evidence,
)
from coral_solver.performance.capacity import joint_tables, separable_tables
from coral_solver.performance.closed_loop import predict_closed_loop
from coral_solver.performance.evidence import Correction, evidence
from coral_solver.performance.sites import site_factor

QWEN = model_arch("qwen3-32b")
A100 = gpu_type("A100-80GB")
H100 = gpu_type("H100")
MODEL = served("qwen3-32b", ttft_s=4.0, tpot_s=0.1, input_tokens=800, output_tokens=200)


def predicted(point, correction=None):
    return predict_closed_loop(
        QWEN,
        gpu_type(point.gpu),
        tensor_parallel=point.tensor_parallel,
        precision=point.precision,
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        concurrency=point.concurrency,
        correction=correction,
    )


def slow_point(factor=1.3, *, gpu="A100-80GB", size=2, clients=16.0, ttft=True):
    """Return a point whose times are ``factor`` times as long as predicted."""
    point = MeasuredPoint(
        model=QWEN.name,
        precision=Precision.BF16,
        gpu=gpu,
        tensor_parallel=size,
        input_tokens=1000.0,
        output_tokens=200.0,
        concurrency=clients,
        tpot_s=1.0,
        source="test",
    )
    found = predicted(point)
    return replace(
        point,
        tpot_s=factor * found.tpot_ms / 1e3,
        ttft_s=factor * found.ttft_ms / 1e3 if ttft else None,
    )


def derived(*points, **changes):
    return corrections(points, QWEN, Precision.BF16, **changes)


def test_without_points_predictions_stay_as_they_are():
    none = derived()
    assert none.digest == ""
    assert none.of(A100, 2) == evidence(QWEN, Precision.BF16, A100, 2)


def test_points_of_other_models_and_precisions_are_not_used():
    other = replace(slow_point(), precision=Precision.FP8)
    assert derived(other, replace(slow_point(), model="llama-3-70b")) == derived()


def test_one_point_moves_the_prediction_most_of_the_way_and_narrows_the_bar():
    point = slow_point(1.3)
    correction = derived(point).of(A100, 2)
    tpot_ms = predicted(point, correction).tpot_ms
    assert 1.15 < tpot_ms / predicted(point).tpot_ms < 1.3
    assert correction.error_share < 0.8 * evidence(QWEN, Precision.BF16, A100, 2).error_share
    assert "1 measured point of this model on A100-80GB TP 2" in correction.rests_on


def test_a_point_that_agrees_changes_nothing_but_the_bar():
    correction = derived(slow_point(1.0)).of(A100, 2)
    assert correction.compute_time_factor == pytest.approx(1.0, abs=1e-3)
    assert correction.memory_time_factor == pytest.approx(1.0, abs=1e-3)
    assert correction.error_share < evidence(QWEN, Precision.BF16, A100, 2).error_share


def test_the_correction_spreads_to_other_sizes_and_less_to_other_gpus():
    found = derived(slow_point(1.3))
    here, size, gpu = found.of(A100, 2), found.of(A100, 8), found.of(H100, 2)
    logs = [math.log(c.memory_time_factor) for c in (here, size, gpu)]
    assert logs[0] > logs[1] > logs[2] > 0.0
    assert here.error_share < size.error_share


def test_no_bar_is_wider_than_without_measurements():
    found = derived(slow_point(1.3), slow_point(0.9, gpu="H100", size=4))
    for gpu in ("A100-80GB", "H100", "L4"):
        for size in (1, 2, 4):
            for stages in (1, 2):
                plain = evidence(QWEN, Precision.BF16, gpu_type(gpu), size, stages)
                assert found.of(gpu_type(gpu), size, stages).error_share <= plain.error_share + 1e-9


def test_throughput_alone_is_enough():
    point = slow_point(1.3)
    tokens = predicted(point).output_tokens_per_s / 1.3
    fast = replace(point, tpot_s=None, ttft_s=None, output_tokens_per_s=tokens)
    assert derived(fast).of(A100, 2).memory_time_factor > 1.1


def test_an_open_loop_point_counts_as_the_clients_that_it_keeps_busy():
    closed = slow_point(1.3, ttft=False)
    rate = predicted(closed).requests_per_s / 1.3
    open_loop = replace(closed, concurrency=None, request_rate_req_per_s=rate)
    assert derived(open_loop).of(A100, 2).memory_time_factor == pytest.approx(
        derived(closed).of(A100, 2).memory_time_factor, rel=0.05
    )


def test_contradictory_points_are_refused_with_their_sources():
    with pytest.raises(InvalidInputError) as caught:
        derived(slow_point(1.0), replace(slow_point(2.0), source="other"))
    assert caught.value.reason == "ContradictoryProfile"
    assert "other" in str(caught.value)


def test_a_point_of_a_deployment_that_cannot_run_is_refused():
    # 65 GB of weights do not fit into 40 GiB.
    with pytest.raises(InvalidInputError) as caught:
        derived(replace(slow_point(), gpu="A100-40GB", tensor_parallel=1))
    assert caught.value.reason == "InvalidProfile"


def test_a_point_that_cannot_be_true_is_refused():
    with pytest.raises(InvalidInputError) as caught:
        derived(replace(slow_point(), tpot_s=-1.0))
    assert caught.value.reason == "InvalidProfile"


def test_order_of_points_does_not_matter():
    a, b = slow_point(1.3), slow_point(1.1, gpu="H100", size=4)
    one, two = derived(a, b).of(A100, 2), derived(b, a).of(A100, 2)
    assert one.memory_time_factor == pytest.approx(two.memory_time_factor)


@pytest.mark.parametrize("tables", [joint_tables, separable_tables])
def test_tables_follow_the_points_that_the_model_carries(tables):
    configs = [NodeConfig("A100-80GB", 2, Link.NVLINK)]
    plain = tables(MODEL, Phase.DECODE, configs, 2)
    slow = tables(replace(MODEL, measured=(slow_point(1.3),)), Phase.DECODE, configs, 2)
    if tables is joint_tables:
        # A longer time may take the last operating points off the table.
        points = slow.layer_s.shape[1]
        assert (slow.layer_s > 1.1 * plain.layer_s[:, :points]).all()
    else:
        usable = slow.rate_req_per_s > 0
        assert usable.any()
        assert (slow.rate_req_per_s[usable] < 0.9 * plain.rate_req_per_s[usable]).all()


def test_robustness_makes_times_longer_by_a_share_of_the_bar():
    configs = [NodeConfig("A100-80GB", 2, Link.NVLINK), NodeConfig("H100", 2, Link.NVLINK)]
    plain = joint_tables(MODEL, Phase.DECODE, configs, 2)
    robust = joint_tables(replace(MODEL, robustness=0.5), Phase.DECODE, configs, 2)
    for s in range(2):
        for c, gpu in enumerate((A100, H100)):
            bar = evidence(QWEN, Precision.BF16, gpu, 2, s + 1).error_share
            # A longer time may take the last operating points off the table.
            kept = robust.layer_s.shape[1]
            np.testing.assert_allclose(
                robust.layer_s[s, :, c], (1 + 0.5 * bar) * plain.layer_s[s, :kept, c]
            )
    np.testing.assert_array_equal(robust.stretch, plain.stretch[:, : robust.stretch.shape[1]])


def test_robustness_lowers_the_rates_of_the_paper_rule():
    configs = [NodeConfig("H100", 2, Link.NVLINK)]
    plain = separable_tables(MODEL, Phase.DECODE, configs, 1).rate_req_per_s
    robust = separable_tables(replace(MODEL, robustness=1.0), Phase.DECODE, configs, 1)
    bar = evidence(QWEN, Precision.BF16, H100, 2).error_share
    usable = robust.rate_req_per_s > 0
    assert usable.any()
    assert (robust.rate_req_per_s[usable] <= plain[usable] / (1 + 0.9 * bar)).all()


def test_a_template_is_as_uncertain_as_its_least_certain_stage():
    stages = (
        StagePlacement(32, (NodeConfig("H100", 2, Link.NVLINK),)),
        StagePlacement(32, (NodeConfig("L40S", 2, Link.PCIE),)),
    )
    found = template_evidence(MODEL, stages)
    assert found == measured_corrections(MODEL).of(gpu_type("L40S"), 2, 2)


def test_a_site_factor_is_learned_from_points_of_any_models():
    # Times 1.25 times as long as predicted, in two deployments: a speed of 0.8, drawn towards 1.
    found = site_factor([slow_point(1.25), slow_point(1.25, size=4)], "A100-80GB")
    assert 0.8 < found.factor < 0.9
    assert found.num_points == 2
    assert found.error_share < site_factor([], "A100-80GB").error_share


def test_without_points_a_site_is_as_predicted():
    found = site_factor([slow_point(1.25)], "H100")
    assert (found.factor, found.num_points) == (1.0, 0)


def test_a_correction_scales_every_part_of_a_step():
    twice = Correction(
        compute_time_factor=2.0, memory_time_factor=2.0, error_share=0.0, rests_on=""
    )
    point = slow_point()
    ratio = predicted(point, twice).tpot_ms / predicted(point).tpot_ms
    assert ratio == pytest.approx(2.0, rel=1e-6)
