"""Error bars: the nearest evidence decides, in words and in width."""

import math
from dataclasses import replace

import pytest

from coral_solver.catalog import gpu_type, gpu_types, model_arch
from coral_solver.domain.hardware import Precision
from coral_solver.performance.evidence import (
    MEASURED_DEPLOYMENTS,
    Correction,
    evidence,
    uncertainty,
)

LLAMA = model_arch("llama-3-70b")
QWEN = model_arch("qwen3-32b")
MIXTURE = model_arch("qwen3-235b-a22b")


def bar(arch, gpu, size=4, stages=1, precision=Precision.FP8):
    return evidence(arch, precision, gpu_type(gpu), size, stages).error_share


def test_what_was_measured_has_the_narrowest_bar():
    # exp(0.06) - 1: the part that no measurement removes.
    assert bar(LLAMA, "H100") == pytest.approx(math.expm1(0.06))


def test_the_bar_widens_with_the_distance_from_the_evidence():
    of_size = bar(LLAMA, "H100", 1)
    of_gpu = bar(QWEN, "H200", precision=Precision.BF16)
    of_model = bar(QWEN, "H100")
    of_mixture = bar(MIXTURE, "H100")
    assert bar(LLAMA, "H100") < of_size < of_gpu
    assert of_size < of_model < of_mixture
    assert bar(QWEN, "H100") < bar(QWEN, "A100-80GB") < bar(QWEN, "A10G") < 1.0


def test_parts_add_in_squares():
    # A dense model that was not measured, on H100: 0.06 within, 0.05 model, 0.04 split.
    found = uncertainty(QWEN, Precision.FP8, gpu_type("H100"), 2)
    assert found.width == pytest.approx(math.sqrt(0.06**2 + 0.05**2 + 0.04**2))


def test_another_precision_is_another_model_but_bf16_and_fp16_are_one():
    assert bar(QWEN, "H100", precision=Precision.BF16) < bar(QWEN, "H100", precision=Precision.FP8)
    assert bar(QWEN, "H100", precision=Precision.FP16) == bar(
        QWEN, "H100", precision=Precision.BF16
    )


def test_pipelines_pcie_and_unpacked_weights_are_less_certain():
    assert bar(LLAMA, "H100", stages=2) > bar(LLAMA, "H100")
    assert bar(QWEN, "L40S", 2) > bar(QWEN, "L40S", 1)
    assert bar(QWEN, "A100-80GB") > bar(QWEN, "A100-80GB", precision=Precision.BF16)


def test_another_size_of_a_measured_mixture_shares_its_router():
    small = model_arch("gpt-oss-20b")
    stranger = replace(small, name="somebody-else-20b")
    kept = evidence(small, Precision.MXFP4, gpu_type("H100"), 1)
    assert kept.error_share < bar(stranger, "H100", 1, precision=Precision.MXFP4)
    assert "another size" in kept.rests_on


def test_a_card_of_the_same_family_but_another_board_is_less_certain():
    assert bar(QWEN, "H100") < bar(QWEN, "H100-PCIe", 1)


@pytest.mark.parametrize("gpu", [gpu.name for gpu in gpu_types()])
def test_every_gpu_has_a_bar_and_says_what_it_rests_on(gpu):
    found = evidence(QWEN, Precision.BF16, gpu_type(gpu), 2, 2)
    assert 0.05 < found.error_share < 0.6
    assert found.rests_on
    assert (found.compute_time_factor, found.memory_time_factor) == (1.0, 1.0)


def test_the_measured_deployments_are_those_of_the_catalogue():
    for (name, _precision), by_gpu in MEASURED_DEPLOYMENTS.items():
        assert model_arch(name).name == name
        assert all(gpu_type(gpu).name == gpu for gpu in by_gpu)


def test_a_fast_site_has_shorter_times():
    correction = Correction(memory_time_factor=1.2, error_share=0.1, rests_on="x").at_site(2.0)
    assert correction.compute_time_factor == pytest.approx(0.5)
    assert correction.memory_time_factor == pytest.approx(0.6)
    assert correction.error_share == 0.1
