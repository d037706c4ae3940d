"""``coral predict``: one case for people, a CSV of cases for programs."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral

HEADER = "model,gpu,tp,pp,precision,input_tokens,output_tokens,concurrency,note"


def _predicted(coral: Coral, tmp_path: Path, *rows: str) -> list[dict[str, str]]:
    points, out = tmp_path / "in.csv", tmp_path / "out.csv"
    points.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    assert coral("predict", "--points", points, "--out", out).exit_code == 0
    with out.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


def test_one_case_is_shown_with_its_units(coral: Coral) -> None:
    done = coral("predict", "--model", "qwen3-32b", "--gpu", "H100", "--tp", "2")
    assert done.exit_code == 0
    for said in ("TTFT", "TPOT", "ms", "tokens/s", "req/s"):
        assert said in done.stdout


def test_a_row_keeps_its_columns_and_gets_its_prediction(coral: Coral, tmp_path: Path) -> None:
    (row,) = _predicted(
        coral, tmp_path, "meta-llama/Llama-3.1-8B,H100-SXM,1,1,bf16,1024,128,16,mine"
    )
    assert row["note"] == "mine"
    assert row["status"] == "ok"
    # In a closed loop the rates agree: output tokens per second over tokens per request.
    assert abs(float(row["output_tokens_per_s"]) / 128 / float(row["requests_per_s"]) - 1) < 1e-3


def test_all_requests_at_once_is_written_inf(coral: Coral, tmp_path: Path) -> None:
    (row,) = _predicted(coral, tmp_path, "qwen3-32b,H100,2,1,bf16,512,128,inf,")
    assert row["status"] == "ok"
    assert float(row["output_tokens_per_s"]) > 0


def test_a_row_that_cannot_be_predicted_says_why_and_the_others_go_on(
    coral: Coral, tmp_path: Path
) -> None:
    rows = _predicted(
        coral,
        tmp_path,
        "qwen3-33b,H100,1,1,bf16,512,128,1,",
        "qwen3-32b,H100,1,1,bf16,nan,128,1,",
        "qwen3-32b,T4,1,1,fp16,512,128,1,",
        "qwen3-32b,H100,2.5,1,bf16,512,128,1,",
        "qwen3-32b,H100,2,1,bf16,512,128,1,",
    )
    statuses = [row["status"] for row in rows]
    assert "qwen3-32b" in statuses[0]  # "did you mean"
    assert "input_tokens" in statuses[1]
    assert statuses[2] == "DoesNotFit"  # 65 GB of weights on a 16 GB GPU
    assert "tp" in statuses[3]
    assert statuses[4] == "ok"
    assert all(row["ttft_ms"] == "" for row in rows[:4])


def test_a_missing_column_is_named(coral: Coral, tmp_path: Path) -> None:
    points = tmp_path / "in.csv"
    points.write_text("model,gpu,tp\nphi-4,L4,1\n", encoding="utf-8")
    done = coral("predict", "--points", points)
    assert done.exit_code == 2
    assert "pp, precision" in done.stderr


def test_a_case_without_a_prediction_says_what_is_wrong(coral: Coral) -> None:
    done = coral("predict", "--model", "qwen3-32b", "--gpu", "H100", "--tp", "3")
    assert done.exit_code == 2
    assert "3 does not divide 64 attention heads" in done.stderr


def test_more_clients_than_can_be_meant_are_refused(coral: Coral, tmp_path: Path) -> None:
    rows = _predicted(
        coral,
        tmp_path,
        "qwen3-32b,H100,2,1,bf16,512,128,1e300,",
        "qwen3-32b,H100,2,1,bf16,512,128,0.5,",
    )
    assert "at most 100000" in rows[0]["status"]
    assert "whole number" in rows[1]["status"]


def test_a_csv_that_cannot_be_read_or_written_is_a_message(coral: Coral, tmp_path: Path) -> None:
    binary, good = tmp_path / "binary.csv", tmp_path / "good.csv"
    binary.write_bytes(bytes(range(256)))
    good.write_text(f"{HEADER}\nqwen3-32b,H100,2,1,bf16,512,128,1,\n", encoding="utf-8")
    for arguments, says in (
        (["--points", binary], "cannot be read"),
        (["--points", tmp_path / "none.csv"], "cannot be read"),
        (["--points", good, "--out", tmp_path / "none" / "out.csv"], "cannot be written"),
    ):
        done = coral("predict", *arguments)
        assert done.exit_code == 2
        assert says in done.stderr


def test_options_that_would_be_ignored_are_refused(coral: Coral, tmp_path: Path) -> None:
    assert coral("predict", "--points", "a.csv", "--model", "phi-4").exit_code == 2
    out = tmp_path / "out.csv"
    assert coral("predict", "--model", "phi-4", "--gpu", "H100", "--out", out).exit_code == 2


def _shown(coral: Coral, *options: str | Path) -> tuple[float, float, str]:
    """Return TPOT in ms, half width of the error bar in per cent, and what it rests on."""
    done = coral(
        "predict", "--model", "llama-3.1-8b", "--gpu", "L4", "--concurrency", "8", *options
    )
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    tpot = float(text.split("TPOT ")[1].split(" ms")[0])
    bar = float(text.split("error bar ±")[1].split("%")[0])
    return tpot, bar, text.split("rests on ")[1]


def test_a_site_factor_makes_a_prediction_faster_or_slower(coral: Coral) -> None:
    plain, bar, _ = _shown(coral)
    slow, same_bar, _ = _shown(coral, "--site-factor", "0.8")
    # All times of the GPU are 1 / 0.8 times as long; a share of TPOT is the host's.
    assert 1.2 < slow / plain < 1.3
    assert same_bar == bar


def test_one_measured_point_corrects_the_prediction_and_narrows_its_bar(
    coral: Coral, tmp_path: Path
) -> None:
    plain, wide, _ = _shown(coral)
    profile = tmp_path / "profile.yaml"
    profile.write_text(
        f"""
        apiVersion: serving.coral.dev/v1alpha1
        kind: PerformanceProfile
        metadata: {{name: mine}}
        spec:
          model: meta-llama/Llama-3.1-8B
          gpuType: L4
          points:
            - inputTokens: 1024
              outputTokens: 128
              concurrency: 8
              tpotMilliseconds: {1.25 * plain}
        """,
        encoding="utf-8",
    )
    corrected, narrow, rests_on = _shown(coral, "--profile", profile)
    # One point pulls the prediction most of the way to the 25 % that it is off.
    assert 1.12 < corrected / plain < 1.26
    assert narrow < wide
    assert "1 measured point of this model on L4" in rests_on


def test_the_csv_has_the_error_bar_of_every_row(coral: Coral, tmp_path: Path) -> None:
    good, bad = _predicted(
        coral,
        tmp_path,
        "qwen3-32b,H100,2,1,bf16,512,128,1,",
        "qwen3-32b,T4,1,1,fp16,512,128,1,",
    )
    assert 0 < float(good["error_share"]) < 1
    assert "H100" in good["rests_on"]
    assert (bad["error_share"], bad["rests_on"]) == ("", "")
