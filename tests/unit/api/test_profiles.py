"""PerformanceProfiles become measured points; those that cannot be true are left out and told."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from coral_api.conditions import Reason
from coral_api.performanceprofile import PerformanceProfile
from coral_api.profiles import profile_manifest, read_profiles
from coral_solver.domain.hardware import Precision


def profile(name: str = "one", *points: dict[str, Any], **spec: Any) -> PerformanceProfile:
    return PerformanceProfile.from_manifest(
        {
            "apiVersion": "serving.coral.dev/v1alpha1",
            "kind": "PerformanceProfile",
            "metadata": {"name": name},
            "spec": {
                "model": "Qwen/Qwen3-32B",
                "gpuType": "H100-SXM",
                "tensorParallel": 2,
                "points": list(points) or [point()],
                **spec,
            },
        }
    )


def point(**fields: Any) -> dict[str, Any]:
    given = {"inputTokens": 1024, "outputTokens": 128, "concurrency": 8, "tpotMilliseconds": 18}
    return {k: v for k, v in {**given, **fields}.items() if v is not None}


def test_a_profile_gives_its_points_in_the_units_and_names_of_the_domain() -> None:
    read = read_profiles(
        [
            profile(
                "one",
                point(ttftMilliseconds=154.2, outputTokensPerSecond=400, requests=80),
                point(concurrency=None, requestsPerSecond=2.5),
                point(concurrency=None, allAtOnce=True, requests=1000),
            )
        ]
    )
    first, second, third = read.points["one"]
    assert (first.model, first.gpu, first.precision) == ("qwen3-32b", "H100", Precision.BF16)
    assert (first.tensor_parallel, first.pipeline_parallel) == (2, 1)
    assert first.ttft_s == pytest.approx(0.1542)
    assert (first.tpot_s, first.output_tokens_per_s) == (0.018, 400.0)
    assert (first.concurrency, first.num_requests) == (8, 80)
    assert (second.concurrency, second.request_rate_req_per_s) == (None, 2.5)
    assert third.concurrency == math.inf
    assert first.source == "PerformanceProfile one, point 0"


@pytest.mark.parametrize(
    ("spec", "reason", "said"),
    [
        ({"model": "Qwen/Qwen3-33B"}, Reason.UNKNOWN_MODEL, "did you mean"),
        ({"model": "config.json"}, Reason.UNKNOWN_MODEL, "is a path"),
        ({"gpuType": "H101"}, Reason.UNKNOWN_GPU_TYPE, "did you mean"),
        ({"precision": "mxfp4"}, Reason.UNSUPPORTED_PRECISION, "published in bf16"),
        ({"tensorParallel": 64, "pipelineParallel": 64}, Reason.INVALID_PROFILE, "1024 GPUs"),
        ({"tensorParallel": 3}, Reason.INVALID_PROFILE, "does not divide 64 attention heads"),
        (
            {"model": "microsoft/phi-4", "pipelineParallel": 64, "tensorParallel": 1},
            Reason.INVALID_PROFILE,
            "phi-4-14b has 40 layers",
        ),
        ({"gpuType": "L4", "tensorParallel": 2}, Reason.INVALID_PROFILE, "61 GiB of weights"),
        (
            {"points": [point(), point(tpotMilliseconds=60)]},
            Reason.CONTRADICTORY_PROFILE,
            "tpot_s is 0.018 (PerformanceProfile one, point 0) and 0.06",
        ),
    ],
)
def test_a_profile_that_cannot_be_used_is_left_out_with_a_reason(
    spec: dict[str, Any], reason: Reason, said: str
) -> None:
    read = read_profiles([profile("one", **spec), profile("good")])
    assert list(read.points) == ["good"]
    assert read.problems["one"].reason is reason
    assert said in read.problems["one"].message


def test_of_two_profiles_that_contradict_each_other_none_is_used() -> None:
    fast, slow = profile("fast"), profile("slow", point(tpotMilliseconds=60))
    other = profile("other", tensorParallel=4)
    for order in ([fast, slow, other], [other, slow, fast]):
        read = read_profiles(order)
        assert list(read.points) == ["other"]
        assert set(read.problems) == {"fast", "slow"}
        assert {p.reason for p in read.problems.values()} == {Reason.CONTRADICTORY_PROFILE}
        assert "PerformanceProfile slow" in read.problems["fast"].message


def test_all_points_come_in_the_order_of_the_profiles_names() -> None:
    a, b = profile("a"), profile("b", tensorParallel=4)
    assert read_profiles([b, a]).all_points == read_profiles([a, b]).all_points


def test_points_survive_being_written_as_a_manifest() -> None:
    given = profile(
        "one",
        point(ttftMilliseconds=154.2, outputTokensPerSecond=400.5, requests=80),
        point(concurrency=4, requestsPerSecond=2.5),
        point(concurrency=None, allAtOnce=True),
        pipelineParallel=2,
        precision="fp8",
        source="by hand",
    )
    points = read_profiles([given]).points["one"]
    manifest = profile_manifest("one", points, model="Qwen/Qwen3-32B", source="by hand")
    again = PerformanceProfile.from_manifest(yaml.safe_load(yaml.safe_dump(manifest)))
    assert read_profiles([again]).points["one"] == points
    assert again.spec.points == given.spec.points
    assert "status" not in manifest
