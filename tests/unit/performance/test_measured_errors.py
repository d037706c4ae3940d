"""The published error table: regression limits, and that it beats the peer on the same rows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from statistics import median

import pytest


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[3] / "benchmarks" / "performance_errors.py"
    spec = importlib.util.spec_from_file_location("performance_errors", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def points(benchmark):
    return benchmark.vllm_points()


def test_the_filter_keeps_most_rows(points):
    assert len(points) > 300


@pytest.mark.parametrize(
    ("figure", "limit"), [(0, 0.03), (1, 0.125), (2, 0.03)], ids=["TPOT", "TTFT", "throughput"]
)
def test_median_errors_stay_within_their_limits_and_below_the_peers(
    benchmark, points, figure, limit
):
    ours = median(benchmark.errors(points, figure))
    assert ours < limit
    assert ours < 0.5 * median(benchmark.errors(points, figure, peer=True))


def test_clear_gaps_between_deployments_are_ranked_right(benchmark, points):
    right, pairs = benchmark.ranked_right(points)
    assert right > 0.95 * pairs
