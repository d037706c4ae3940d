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
