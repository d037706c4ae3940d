"""``coral profile import``: benchmark results become manifests, or are refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.unit.cli.support import ROOT

from coral_api.performanceprofile import PerformanceProfile
from coral_cli.benchmark_results import read_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cli.support import Coral, Finished

DATA = Path(__file__).parent / "data"
VLLM = json.loads((DATA / "vllm-bench-serve.json").read_text(encoding="utf-8"))
GUIDELLM = json.loads((DATA / "guidellm-report.json").read_text(encoding="utf-8"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Return a function that writes a value as the file result.json."""

    def write(value: Any) -> Path:
        path = tmp_path / "result.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    return write


@pytest.fixture
def imported(coral: Coral, write: Callable[[Any], Path]) -> Callable[..., Finished]:
    """Return a function that imports a value as a result of an H100 pair."""

    def imported(value: Any, *options: str) -> Finished:
        return coral("profile", "import", write(value), "--gpu", "H100", "--tp", "2", *options)

    return imported


def test_a_run_of_vllm_becomes_a_manifest_that_the_api_takes(coral: Coral) -> None:
    done = coral("profile", "import", DATA / "vllm-bench-serve.json", "--gpu", "H100", "--tp", "2")
    assert (done.exit_code, done.stderr) == (0, "")
    manifest = yaml.safe_load(done.stdout)
    assert manifest == {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "PerformanceProfile",
        "metadata": {"name": "qwen3-32b-h100-tp2"},
        "spec": {
            "model": "Qwen/Qwen3-32B",
            "precision": "bf16",
            "gpuType": "H100",
            "tensorParallel": 2,
            "source": "vllm bench serve: vllm-bench-serve.json",
            "points": [
                {
                    # 655,360 / 640 and 163,840 / 640
                    "inputTokens": 1024.0,
                    "outputTokens": 256.0,
                    "concurrency": 64,
                    "requests": 640,
                    "ttftMilliseconds": 352.41,
                    "tpotMilliseconds": 24.87,
                    "outputTokensPerSecond": 2399.48,
                }
            ],
        },
    }
    PerformanceProfile.from_manifest(manifest)


def test_a_report_of_guidellm_gives_a_point_for_each_of_its_benchmarks(coral: Coral) -> None:
    done = coral("profile", "import", DATA / "guidellm-report.json", "--gpu", "L4", "-o", "json")
    points = json.loads(done.stdout)["spec"]["points"]
    loads = [(p.get("concurrency"), p.get("requestsPerSecond")) for p in points]
    # Without a limit of its own, as many requests were under way as the report counted.
    assert loads == [(1, None), (16, None), (None, 1.0), (241, None)]
    # The time per output token is the one without the first token.
    assert [p["tpotMilliseconds"] for p in points] == [60.2, 64.1, 62.3, 105.3]
    assert [p.get("ttftMilliseconds") for p in points] == [221.4, 902.7, 331.5, None]
    assert "how long they queued is left out" in done.stderr


@pytest.mark.parametrize("place", ["config", "scheduler", "args"])
def test_the_strategy_is_found_where_each_version_of_guidellm_has_it(
    place: str, write: Callable[[Any], Path]
) -> None:
    run = GUIDELLM["benchmarks"][1]
    older = {k: v for k, v in run.items() if k != "config"}
    older[place] = {"strategy": run["config"]["strategy"]}
    (read,) = read_results(write({"benchmarks": [older]}))
    assert (read.concurrency, read.completed) == (16, 106)


def test_several_files_make_one_profile(coral: Coral, tmp_path: Path) -> None:
    files = []
    for clients in (16, 64):
        path = tmp_path / f"{clients}.json"
        scaled = {"max_concurrency": clients, "output_throughput": 37.0 * clients}
        path.write_text(json.dumps({**VLLM, **scaled}), encoding="utf-8")
        files.append(path)
    done = coral("profile", "import", *files, "--gpu", "H100", "--tp", "2", "--name", "mine")
    manifest = yaml.safe_load(done.stdout)
    assert manifest["metadata"]["name"] == "mine"
    assert [p["concurrency"] for p in manifest["spec"]["points"]] == [16, 64]


@pytest.mark.parametrize(
    "text",
    [json.dumps([VLLM, VLLM]), json.dumps(VLLM) + "\n" + json.dumps(VLLM) + "\n"],
    ids=["a list", "an object a line"],
)
def test_several_runs_may_stand_in_one_file(text: str, write: Callable[[Any], Path]) -> None:
    assert [run.place.rsplit(", ")[-1] for run in read_results(write(text))] == ["run 1", "run 2"]


@pytest.mark.parametrize(
    ("fields", "load"),
    [
        ({"max_concurrency": None}, {"allAtOnce": True}),
        ({"max_concurrency": 1000}, {"allAtOnce": True}),  # more than there are requests
        ({"max_concurrency": None, "request_rate": 3.5}, {"requestsPerSecond": 3.5}),
        ({"request_rate": 3.5}, {"requestsPerSecond": 3.5, "concurrency": 64}),
    ],
)
def test_the_load_of_a_run_is_read_as_it_was(
    fields: dict[str, Any], load: dict[str, Any], imported: Callable[..., Finished]
) -> None:
    (point,) = yaml.safe_load(imported({**VLLM, **fields}).stdout)["spec"]["points"]
    names = ("allAtOnce", "requestsPerSecond", "concurrency")
    assert {name: point[name] for name in names if name in point} == load


NOT_READABLE = [
    ("not json", "not JSON"),
    ("", "neither a result of"),
    ("[]", "neither a result of"),
    ("7", "neither a result of"),
    ({"some": "thing"}, "neither a result of"),
    ({"benchmarks": []}, "the report has no benchmark"),
    ({"benchmarks": [{"metrics": {}}]}, "strategy: this key is missing"),
    ({"benchmarks": ["text"]}, "strategy: this key is missing"),
    ({**VLLM, "completed": 0}, "no request was answered"),
    ({**VLLM, "mean_ttft_ms": float("nan")}, "mean_ttft_ms: input should be a finite number"),
    ({**VLLM, "output_throughput": float("inf")}, "output_throughput"),
    ({**VLLM, "mean_tpot_ms": -3.0}, "mean_tpot_ms"),
    ({**VLLM, "mean_tpot_ms": "24"}, "mean_tpot_ms: input should be a valid number"),
    ({**VLLM, "max_concurrency": 0}, "max_concurrency"),
    ({k: v for k, v in VLLM.items() if k != "total_input_tokens"}, "total_input_tokens: this key"),
    ({**VLLM, "ramp_up_strategy": "linear"}, "ramped up"),
    (
        {**VLLM, "mean_ttft_ms": 0.0, "mean_tpot_ms": 0.0, "output_throughput": 0.0},
        "nothing was measured",
    ),
    # 64 clients x 256 tokens in 6.694 s are 2,447 tokens/s; 1.5 times as much is too much.
    ({**VLLM, "output_throughput": 3700.0}, "more than 64 clients can get"),
    ([VLLM, {**VLLM, "mean_tpot_ms": 40.0}], "keep the run that was made right"),
]


@pytest.mark.parametrize(("content", "said"), NOT_READABLE, ids=[said for _, said in NOT_READABLE])
def test_a_file_that_cannot_be_used_is_refused_and_nothing_is_printed(
    content: Any, said: str, imported: Callable[..., Finished]
) -> None:
    done = imported(content)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_strategy_that_is_not_known_is_refused(imported: Callable[..., Finished]) -> None:
    (run, *_) = GUIDELLM["benchmarks"]
    strange = {**run, "config": {"strategy": {"type_": "replay"}}}
    assert "strategy 'replay' is not known" in imported({"benchmarks": [strange]}).stderr


def test_every_problem_of_every_run_is_told(imported: Callable[..., Finished]) -> None:
    done = imported([{**VLLM, "completed": 0}, {**VLLM, "mean_ttft_ms": "x", "failed": -1}])
    for said in ("run 1: no request", "run 2: mean_ttft_ms", "run 2: failed"):
        assert said in done.stderr


def test_a_file_that_is_not_there_is_told(coral: Coral, tmp_path: Path) -> None:
    done = coral("profile", "import", tmp_path / "none.json", "--gpu", "H100")
    assert done.exit_code == 2
    assert "No such file" in done.stderr


SUSPICIOUS = [
    ({"failed": 3, "completed": 637}, "3 of 640 requests failed"),
    ({"failed": None, "completed": 630}, "10 of 640 requests failed"),
    ({"completed": 100, "num_prompts": 100}, "only 100 requests for 64 clients"),
    ({"median_ttft_ms": 60.0}, "5.9 times the median"),
    # 2,447 tokens/s are expected.
    ({"output_throughput": 1500.0}, "1500 output tokens/s, and 64 clients"),
    ({"mean_ttft_ms": 5.0, "median_ttft_ms": 5.0}, "was the prefix cache warm?"),
    ({"spec_decode_acceptance_rate": 71.2}, "speculative decoding was on"),
    ({"model_id": "microsoft/phi-4"}, "the file is of microsoft/phi-4"),
]


@pytest.mark.parametrize(("fields", "said"), SUSPICIOUS, ids=[said for _, said in SUSPICIOUS])
def test_what_looks_wrong_is_told_beside_the_manifest(
    fields: dict[str, Any], said: str, imported: Callable[..., Finished]
) -> None:
    done = imported({**VLLM, **fields}, "--model", "Qwen/Qwen3-32B")
    assert done.exit_code == 0
    assert said in done.stderr
    assert yaml.safe_load(done.stdout)["kind"] == "PerformanceProfile"


def test_the_name_that_a_server_was_given_is_no_reason_to_doubt(
    imported: Callable[..., Finished],
) -> None:
    done = imported({**VLLM, "model_id": "chat"}, "--model", "Qwen/Qwen3-32B")
    assert (done.exit_code, done.stderr) == (0, "")


def test_files_without_a_known_model_need_it_named(imported: Callable[..., Finished]) -> None:
    assert "give --model" in imported({**VLLM, "model_id": None}).stderr
    assert "'chat' is not in the catalogue" in imported({**VLLM, "model_id": "chat"}).stderr


def test_a_precision_that_the_engine_cannot_serve_the_model_in_is_refused(
    imported: Callable[..., Finished],
) -> None:
    done = imported(VLLM, "--precision", "mxfp4")
    assert done.exit_code == 2
    assert "--precision is bf16 or fp16 or fp8" in done.stderr


def test_a_profile_that_the_api_would_refuse_is_refused(imported: Callable[..., Finished]) -> None:
    done = imported(VLLM, "--name", "My Profile")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "name: string should match pattern" in done.stderr
    assert "at most 256 items" in imported([VLLM] * 257).stderr


def test_a_deployment_that_cannot_run_is_told(coral: Coral, write: Callable[[Any], Path]) -> None:
    done = coral("profile", "import", write(VLLM), "--gpu", "L4")
    assert "should not run at all" in done.stderr


PROFILE = ROOT / "examples" / "performance-profile.yaml"


def test_measured_points_are_set_beside_the_predictions(coral: Coral) -> None:
    done = coral("profile", "check", PROFILE)
    assert done.exit_code == 0
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    assert [row[3].strip() for row in rows] == ["18.0 ms", "22.2 ms", "29.4 ms", "46.0 ms"]
    assert all("ms" in row[4] and "ms" in row[5] and "±" in row[6] for row in rows)
    assert "H100: site factor" in done.stdout


def test_files_without_a_profile_have_nothing_to_check(coral: Coral) -> None:
    done = coral("profile", "check", ROOT / "examples" / "policy.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no PerformanceProfile" in done.stderr
