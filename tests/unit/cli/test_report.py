"""``coral report``: one page that needs nothing else, and pictures."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.unit.cli.report_support import parsed
from tests.unit.cli.support import INVENTORY, ROOT, SERVICES

from coral_cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral


@pytest.fixture(scope="module")
def example_page(template_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the example, as the command wrote it."""
    written = tmp_path_factory.mktemp("report") / "r.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["coral", *_arguments(template_cache), "-o", str(written)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return written.read_text(encoding="utf-8")


def _arguments(template_cache: Path) -> list[str]:
    return [
        "report", "-f", str(SERVICES), "--inventory", str(INVENTORY),
        "--cache-dir", str(template_cache),
    ]  # fmt: skip


@pytest.fixture
def arguments(template_cache: Path) -> list[str]:
    """What every report of these tests is given."""
    return _arguments(template_cache)


def test_the_page_needs_nothing_else(example_page: str) -> None:
    page, found = example_page, parsed(example_page)
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(found.tags)
    assert not found.handlers
    # Every link leads to a place on the page.
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert "url(http" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_ids_are_unique_and_every_picture_has_words(example_page: str) -> None:
    page, found = example_page, parsed(example_page)
    assert len(found.ids) == len(set(found.ids))
    pictures = re.findall(r'<svg [^>]*role="img" aria-labelledby="(\S+) (\S+)"', page)
    # Five plots in two widths, and a frontier for each of three models.
    assert len(pictures) == found.tags.count("svg") == 13
    assert {name for pair in pictures for name in pair} <= set(found.ids)


def test_every_section_is_there_with_its_numbers(example_page: str) -> None:
    text = parsed(example_page).text
    for said in (
        "What runs where",
        "Allocation by pool",
        "Cost by model",
        "Comparison with the peers",
        "Template efficiency",
        "How far the predictions can be trusted",
        "Reasons and messages",
        "Make it again",
        "us-east-2/H100x8-nvlink/on-demand",
        "homogeneous greedy",
        "USD per million",
        "skypilot-catalog v8 aws/vms.csv @00148f2",
        hashlib.sha256(SERVICES.read_bytes()).hexdigest(),
    ):
        assert said in text


def test_a_report_of_a_saved_plan_says_what_the_plan_says(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    written = coral("plan", *arguments[1:], "-o", "json").stdout
    plan = json.loads(written)
    plan["models"][0]["message"] = "a sentence of the saved plan"
    saved = tmp_path / "plan.json"
    saved.write_text(json.dumps(plan), encoding="utf-8")
    done = coral(*arguments, "--plan", saved, "-o", tmp_path / "r.html")
    assert "stage 2" not in done.stderr
    text = parsed((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "a sentence of the saved plan" in text
    assert f"{plan['cost_usd_per_hour']:.2f}" in text


def test_a_plan_for_other_files_is_refused_with_every_reason(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    plan = json.loads(coral("plan", *arguments[1:], "-o", "json", "--no-baselines").stdout)
    plan["version"] = 7
    plan["models"][0]["model"] = "default/assistants/other"
    plan["instances"][0]["slices"][0]["pool"] = "mars/L4x4-pcie/spot"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(plan), encoding="utf-8")
    done = coral(*arguments, "--plan", other, "-o", tmp_path / "r.html")
    assert done.exit_code == 2
    for said in (
        "a plan of version 7",
        "no model 'default/assistants/other'",
        "no pool 'mars/L4x4",
    ):
        assert said in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_a_plan_in_yaml_is_a_plan_and_a_serving_plan_is_not(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    saved = tmp_path / "plan.yaml"
    written = coral("plan", *arguments[1:], "-o", "yaml", "--no-baselines").stdout
    saved.write_text(written, encoding="utf-8")
    assert coral(*arguments, "--plan", saved, "-o", tmp_path / "r.html").exit_code == 0
    saved.write_text("kind: ServingPlan\n", encoding="utf-8")
    done = coral(*arguments, "--plan", saved, "-o", tmp_path / "r.html")
    assert done.exit_code == 2
    assert "give a file of `coral plan -o json`" in done.stderr


def test_templates_of_more_nodes_than_can_be_listed_are_left_out_and_that_is_said(
    coral: Coral, tmp_path: Path
) -> None:
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"] = service["spec"]["models"][:1]
    one = tmp_path / "one.yaml"
    one.write_text(yaml.safe_dump(service), encoding="utf-8")
    few = tmp_path / "few.csv"
    few.write_text("gpu,gpus_per_node,nodes,region\nL40S,1,4,us-east-2\n", encoding="utf-8")
    done = coral(
        "report", "-f", one, "--inventory", few, "--space", "paper", "--max-nodes", "12",
        "--cache-dir", tmp_path / "cache", "-o", tmp_path / "r.html",
    )  # fmt: skip
    assert done.exit_code in (0, 3)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "templates of more than 6 node configurations are not among those drawn" in page


@pytest.mark.parametrize("written", ["", "[]", "{", '{"version": 1}', '{"cost_usd_per_hour": NaN}'])
def test_a_file_that_is_no_plan_is_a_message(
    coral: Coral, arguments: list[str], tmp_path: Path, written: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(written, encoding="utf-8")
    done = coral(*arguments, "--plan", bad, "-o", tmp_path / "r.html")
    assert done.exit_code == 2
    assert "bad.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_is_a_page(coral: Coral, arguments: list[str], tmp_path: Path) -> None:
    done = coral(*arguments, "-o", tmp_path / "report.pdf")
    assert done.exit_code == 2
    assert "--png" in done.stderr


def test_a_folder_that_cannot_be_written_is_a_message(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = coral(*arguments, "-o", tmp_path / "file" / "r.html")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


def test_pictures_are_png_files_named_by_plot(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    done = coral(*arguments, "--png", tmp_path / "pictures")
    assert done.exit_code == 0
    assert not list(tmp_path.glob("*.html"))
    names = sorted(path.stem for path in (tmp_path / "pictures").iterdir())
    assert names == [
        "capacity", "cost", "frontier-1", "frontier-2", "frontier-3", "margins", "peers", "pools",
    ]  # fmt: skip
    for path in (tmp_path / "pictures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_unmet_demand_sets_the_exit_code_and_is_said_first(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"] = service["spec"]["models"][:1]
    service["spec"]["models"][0]["demand"]["requestsPerSecond"] = 10_000
    large = tmp_path / "large.yaml"
    large.write_text(yaml.safe_dump(service), encoding="utf-8")
    done = coral("report", "-f", large, *arguments[3:], "-o", tmp_path / "r.html")
    assert done.exit_code == 3
    assert "The model is short: phi-4" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_nothing_but_a_report_imports_matplotlib() -> None:
    done = subprocess.run(
        [
            sys.executable, "-c",
            "import coral_cli.main, coral_operator.run, sys;"
            "print([m for m in ('matplotlib', 'jinja2', 'PIL') if m in sys.modules])",
        ],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
