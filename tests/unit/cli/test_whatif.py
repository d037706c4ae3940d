"""``coral whatif``: changes by flags, before against after, and sweeps."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from tests.unit.cli.support import INVENTORY, ROOT, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral

PHI = "default/assistants/phi-4"


@pytest.fixture
def arguments(template_cache: Path) -> list[str]:
    """The example, and a cache that is not the user's."""
    return [
        "whatif", "-f", str(SERVICES), "--inventory", str(INVENTORY),
        "--cache-dir", str(template_cache),
    ]  # fmt: skip


def test_the_text_shows_before_after_and_the_difference(coral: Coral, arguments: list[str]) -> None:
    done = coral(*arguments, "--demand", "phi-4=x2", "--nodes", "L40S=0")
    assert done.exit_code == 0
    for said in (
        "What if: demand of phi-4: x2",
        "What if: nodes of L40S: 0",
        "served req/s",
        "10.00 → 20.00",
        "H100x8-nvlink",
        "In sum: ",
    ):
        assert said in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_the_data_has_both_plans_and_documented_keys(coral: Coral, arguments: list[str]) -> None:
    done = coral(
        *arguments, "--demand", "*=x0.5", "--price", "H100=x0.5", "--no-switching", "-o", "json"
    )
    document = json.loads(done.stdout)
    assert document["difference"]["effect"] == "Cheaper"
    assert document["before"]["switching_usd_per_hour"] == 0
    change = document["after"]["cost_usd_per_hour"] - document["before"]["cost_usd_per_hour"]
    assert document["difference"]["cost_usd_per_hour"] == pytest.approx(change)
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    keys = {*document, *document["before"], *document["instances"], *document["models"][0]}
    assert not sorted(key for key in keys if f"`{key}" not in page)


def test_from_a_plan_file_what_runs_costs_nothing_to_keep(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    planned = coral("plan", *arguments[1:], "--no-baselines", "-o", "json")
    today = tmp_path / "today.json"
    today.write_text(planned.stdout, encoding="utf-8")
    done = coral(*arguments, "--plan", today, "--demand", "phi-4=x1.0001", "-o", "json")
    document = json.loads(done.stdout)
    plan = json.loads(planned.stdout)
    assert plan["switching_usd_per_hour"] > 0
    assert document["before"]["switching_usd_per_hour"] == 0
    assert document["before"]["cost_usd_per_hour"] == pytest.approx(plan["rent_usd_per_hour"])
    assert document["instances"]["kept"] == len(plan["instances"])


def test_a_sweep_is_a_table_a_csv_or_data(coral: Coral, arguments: list[str]) -> None:
    sweep = ("--sweep", "demand:phi-4=x0.5..x1.5/3", "--no-switching")
    text = coral(*arguments, *sweep).stdout
    assert "against the plan as it is" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    rows = list(csv.DictReader(io.StringIO(coral(*arguments, *sweep, "-o", "csv").stdout)))
    assert [row["demand phi-4 (x)"] for row in rows] == ["0.5", "1", "1.5"]
    points = json.loads(coral(*arguments, *sweep, "-o", "json").stdout)["points"]
    assert [float(row["cost_usd_per_hour"]) for row in rows] == pytest.approx(
        [point["plan"]["cost_usd_per_hour"] for point in points], rel=1e-5
    )
    # More demand is never cheaper.
    costs = [point["plan"]["cost_usd_per_hour"] for point in points]
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "nothing to change"),
        (("--demand", "phi4=x2"), "no model 'phi4': did you mean phi-4"),
        (("--demand", "phi-4"), "write MODEL=x2"),
        (("--demand", "phi-4=xx"), "'x' is no number"),
        (("--demand", "phi-4=nan"), "not finite"),
        (("--demand", "phi-4=inf"), "not finite"),
        (("--demand", "phi-4==-2"), "is negative"),
        (("--demand", "phi-4=-20"), "demand -10"),
        (("--price", "H10=1"), "did you mean H100"),
        (("--price", "T4=1"), "no pool fits 'T4'"),
        (("--price", "H100@us-east-1=1"), "no pool fits 'H100@us-east-1'"),
        (("--price", "H100/spt=1"), "no kind 'spt': did you mean spot?"),
        (("--price", "H100=x-1"), "is negative"),
        (("--nodes", "L4=-5"), "has 4 nodes and would have -1"),
        (("--nodes", "L4=1.5"), "whole number"),
        (("--nodes", "*=+1"), "fits several pools"),
        (("--slo", "phi-4=ttft:500"), "has no unit: write 500ms"),
        (("--slo", "phi-4=tfft:500ms"), "no target 'tfft': did you mean ttft"),
        (("--slo", "phi-4=ttft:1s,ttft:2s"), "given twice"),
        (("--slo", "phi-4=ttft:-1s"), "give 0 or more"),
        (("--add-pool", "H200:8:us-east-2"), "write GPU:count:region:usd:nodes"),
        (("--add-pool", "H300:8:us-east-2:4:1"), "did you mean"),
        (("--add-pool", "H200:8:US East:4:1"), "is no region"),
        (("--add-pool", "H200:8:us-east-2:4:many"), "nodes: 'many' is no whole number"),
        (("--add-pool", "H200:0:us-east-2:4:1"), "GPUs per node: '0' is no whole number"),
        (("--add-pool", "L4:4:us-east-2:1:1"), "is there already"),
        (("--nodes", "L4=x1e9"), "would have 4e+09"),
        (("--robustness", "nan"), "robustness"),
        (("--robustness", "1.5"), "robustness"),
        (("--sweep", "demnd:phi-4=1..2/2"), "did you mean demand"),
        (("--sweep", "demand:phi-4=1..2"), "write what:name=from..to/points"),
        (("--sweep", "demand:phi-4=1..x2/3"), "both ends must be of one kind"),
        (("--sweep", "demand:phi-4=1..2/1"), "points must be from 2 to"),
        (("--sweep", "demand:phi-4=1..2/1000"), "points must be from 2 to"),
        (("--sweep", "nodes:L4=0..3/3"), "would have 1.5"),
        (("--demand", "phi-4=x2", "-o", "csv"), "is for --sweep"),
    ],
)
def test_a_flag_that_cannot_be_read_says_what_to_write(
    coral: Coral, arguments: list[str], flags: tuple[str, ...], said: str
) -> None:
    done = coral(*arguments, *flags)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_every_bad_flag_is_named_at_once(coral: Coral, arguments: list[str]) -> None:
    done = coral(*arguments, "--demand", "phi-4=xx", "--price", "H100=?", "--nodes", "L4")
    assert done.stderr.count("error (InvalidInput)") == 3


@pytest.mark.parametrize(
    ("flag", "changed"),
    [
        (("--nodes", "H100/on-demand=0"), ("H100x8", 0)),
        (("--nodes", "H100x8@us-east-2=0"), ("H100x8", 0)),
        (("--nodes", "us-east-2/H100x8-nvlink/on-demand=0"), ("H100x8", 0)),
        (("--add-pool", "H200:8:us-east-2:0.5:2"), ("H200x8", 1)),
        (("--add-pool", "H200:8:us-east-2:0.5:2:spot"), ("/spot", 1)),
    ],
)
def test_pools_are_named_in_the_ways_that_people_name_them(
    coral: Coral, arguments: list[str], flag: tuple[str, str], changed: tuple[str, int]
) -> None:
    document = json.loads(coral(*arguments, *flag, "-o", "json").stdout)
    name, is_used = changed
    used = [pair["after"] for pool, pair in document["gpus_by_pool"].items() if name in pool]
    assert [bool(gpus) for gpus in used] == [bool(is_used)]


def test_tighter_targets_are_planned(coral: Coral, arguments: list[str]) -> None:
    done = coral(*arguments, "--slo", "phi-4=ttft:0.6s,tpot:x0.8,attainment:0.9", "-o", "json")
    document = json.loads(done.stdout)
    assert document["changes"] == ["targets of phi-4: TTFT 0.6 s, TPOT x0.8, attainment 0.9"]
    phi = next(model for model in document["models"] if model["model"] == PHI)
    assert phi["differs"]


def test_the_examples_of_the_help_run(coral: Coral, arguments: list[str]) -> None:
    for flags in (
        ("--demand", "*=x1.3", "--nodes", "H100=+1"),
        ("--price", "L40S=x0.7", "--price", "H100=5.50"),
        ("--add-pool", "H200:8:us-east-2:4.50:2"),
    ):
        assert coral(*arguments, *flags).exit_code == 0
