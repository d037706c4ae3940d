"""The GPU catalogue: figures that hang together, and names that mean one type."""

import tomllib
from importlib.resources import files

import pytest

from coral_solver.catalog import (
    gpu_type,
    gpu_type_of_karpenter,
    gpu_type_of_label,
    gpu_types,
)
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import Link, Precision

MEASURED_NAMES = {
    # As the measured points name them (data/measured).
    "H100-SXM": "H100",
    "A100-SXM-40GB": "A100-40GB",
    "A100-SXM-80GB": "A100-80GB",
    "H200-SXM": "H200",
    "V100-16GB": "V100-16GB",
    "GH200": "GH200",
    "L4": "L4",
    "L40S": "L40S",
    "T4": "T4",
    "A10G": "A10G",
}


@pytest.mark.parametrize("gpu", gpu_types(), ids=lambda gpu: gpu.name)
def test_precisions_follow_the_compute_capability(gpu):
    capability = gpu.compute_capability
    is_amd = gpu.device_resource == "amd.com/gpu"
    assert Precision.FP16 in gpu.flops_per_s
    # Tensor cores for bf16 came with Ampere (8.0), for fp8 with Ada (8.9), for fp4 with 10.0.
    assert (Precision.BF16 in gpu.flops_per_s) == (capability >= (8, 0))
    assert (Precision.FP8 in gpu.flops_per_s) == (capability >= (8, 9))
    assert (Precision.MXFP4 in gpu.flops_per_s) == (capability >= (10, 0) and not is_amd)


@pytest.mark.parametrize("gpu", gpu_types(), ids=lambda gpu: gpu.name)
def test_narrower_formats_are_about_twice_as_fast(gpu):
    flops = gpu.flops_per_s
    assert flops.get(Precision.BF16, flops[Precision.FP16]) == flops[Precision.FP16]
    if Precision.FP8 in flops:
        assert flops[Precision.FP8] == pytest.approx(2 * flops[Precision.FP16], rel=0.02)
    if Precision.MXFP4 in flops:
        # Blackwell Ultra raised dense fp4 to three times fp8.
        assert 2 <= flops[Precision.MXFP4] / flops[Precision.FP8] * 1.001 <= 3.2


@pytest.mark.parametrize("gpu", gpu_types(), ids=lambda gpu: gpu.name)
def test_links_are_of_one_direction_and_nvlink_is_the_faster(gpu):
    pcie = gpu.link_bytes_per_s[Link.PCIE]
    # PCIe 3, 4 and 5 with 16 lanes.
    assert pcie in (16e9, 32e9, 64e9)
    assert gpu.link_bytes_per_s.get(Link.NVLINK, 1e12) > pcie


def test_usable_memory_is_a_little_less_than_the_name_says():
    for name, nominal_gb in {
        "H100": 80, "A100-80GB": 80, "A100-40GB": 40, "V100-16GB": 16, "V100-32GB": 32, "T4": 16,
        "L4": 24, "A10G": 24, "L40S": 48, "H200": 141 / 1.0737, "B200": 192 / 1.0737,
    }.items():  # fmt: skip
        gpu = gpu_type(name)
        assert 0.89 * nominal_gb < gpu.memory_gib <= 1.07 * nominal_gb, name


def test_figures_that_everything_rests_on():
    # NVIDIA's data sheets: 3.35 TB/s and 1,979 sparse TFLOPS; 300 GB/s and 242 sparse; 2.039 TB/s.
    assert gpu_type("H100").memory_bandwidth_bytes_per_s == 3.35e12
    assert gpu_type("H100").flops_per_s[Precision.BF16] == 989e12
    assert gpu_type("L4").memory_bandwidth_bytes_per_s == 300e9
    assert gpu_type("L4").flops_per_s[Precision.BF16] == 121e12
    assert gpu_type("A100-80GB").memory_bandwidth_bytes_per_s == 2.039e12
    assert Precision.BF16 not in gpu_type("T4").flops_per_s


def test_labels_and_names_mean_one_type_each():
    # GKE writes nvidia-l4 and GPU feature discovery NVIDIA-L4: one label, one type.
    pairs = {(label.casefold(), gpu.name) for gpu in gpu_types() for label in gpu.product_labels}
    assert len(pairs) == len({label for label, _ in pairs})
    assert len({gpu.name.casefold() for gpu in gpu_types()}) == len(gpu_types())
    for gpu in gpu_types():
        assert gpu_type(gpu.name) == gpu
        for label in gpu.product_labels:
            assert gpu_type_of_label(label) == gpu


def test_no_key_of_the_file_is_lost():
    text = (files("coral_solver.catalog") / "data" / "gpus.toml").read_text(encoding="utf-8")
    assert len(tomllib.loads(text)["gpu"]) == len(gpu_types()) >= 25


def test_names_of_the_measured_points_are_known():
    for name, expected in MEASURED_NAMES.items():
        assert gpu_type(name).name == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("h100", "H100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("h100_sxm", "H100"),
        ("a100_sxm", "A100-80GB"),
        ("Tesla T4", "T4"),
        ("nvidia l40s", "L40S"),
        ("h100-pcie", "H100-PCIe"),
        ("AMD_Instinct_MI300X_OAM", "MI300X"),
    ],
)
def test_case_blanks_and_vendor_do_not_matter(written, expected):
    assert gpu_type(written).name == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("A100", "A100-80GB or A100-40GB"),
        ("NVIDIA V100", "V100-16GB or V100-32GB"),
        ("H1OO", "H100"),
        ("L5", "L4"),
        ("GPU-series-1", "known are"),
    ],
)
def test_a_name_that_is_not_exact_gets_a_proposal(written, expected):
    with pytest.raises(CatalogError, match=expected) as caught:
        gpu_type(written)
    assert caught.value.reason == "UnknownGpuType"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("NVIDIA-H100-80GB-HBM3", "H100"),
        ("A100-SXM4-80GB", "A100-80GB"),  # drivers before 470
        ("Tesla-T4", "T4"),
        ("NVIDIA-Tesla-T4", "T4"),
        ("nvidia-tesla-a100", "A100-40GB"),
        ("nvidia-h100-mega-80gb", "H100"),
        ("NVIDIA-GeForce-RTX-4090", None),
        ("NVIDIA-A100", None),
    ],
)
def test_labels_are_read_as_the_device_plugins_write_them(label, expected):
    gpu = gpu_type_of_label(label)
    assert (gpu.name if gpu else None) == expected


@pytest.mark.parametrize(
    ("name", "memory_mib", "expected"),
    [
        ("a100", 40960, "A100-40GB"),
        ("a100", 81920, "A100-80GB"),
        ("a100", None, None),
        ("v100", 32768, "V100-32GB"),
        ("a10g", 22888, "A10G"),
        ("b200", 183359, "B200"),
        ("h100", None, "H100"),
        ("radeon-pro-v520", 8192, None),
    ],
)
def test_karpenter_needs_the_memory_to_tell_two_sizes_apart(name, memory_mib, expected):
    gpu = gpu_type_of_karpenter(name, memory_mib)
    assert (gpu.name if gpu else None) == expected
