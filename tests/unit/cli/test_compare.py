"""``coral compare``: two plan files side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.unit.cli.support import INVENTORY, ROOT, SERVICES

from coral_api.plans import serving_plan
from coral_api.servingplan import PlanTrigger
from coral_solver.planning.planner import Planner, PlanningOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral


@pytest.fixture
def today(coral: Coral, template_cache: Path, tmp_path: Path) -> Path:
    """The example's plan as a file."""
    path = tmp_path / "today.json"
    done = coral(
        "plan", "-f", SERVICES, "--inventory", INVENTORY, "--cache-dir", template_cache,
        "--no-baselines", "-o", "json",
    )  # fmt: skip
    path.write_text(done.stdout, encoding="utf-8")
    return path


@pytest.fixture
def tomorrow(coral: Coral, template_cache: Path, tmp_path: Path) -> Path:
    """The plan for twice phi-4's demand, as YAML."""
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"][0]["demand"]["requestsPerSecond"] = 20
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(service), encoding="utf-8")
    path = tmp_path / "tomorrow.yaml"
    done = coral(
        "plan", "-f", tmp_path / "more.yaml", "--inventory", INVENTORY,
        "--cache-dir", template_cache, "--no-baselines", "-o", "yaml",
    )  # fmt: skip
    path.write_text(done.stdout, encoding="utf-8")
    return path


def test_the_text_names_what_differs(coral: Coral, today: Path, tomorrow: Path) -> None:
    done = coral("compare", today, tomorrow)
    assert done.exit_code == 0
    for said in ("today.json", "tomorrow.yaml", "10.00 → 20.00", "started", "GPUs in use"):
        assert said in done.stdout
    assert "2 models without a difference" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_the_exit_code_says_whether_plans_differ_only_if_asked(
    coral: Coral, today: Path, tomorrow: Path
) -> None:
    assert coral("compare", today, tomorrow).exit_code == 0
    assert coral("compare", today, tomorrow, "--exit-code").exit_code == 1
    assert coral("compare", today, today, "--exit-code").exit_code == 0


def test_the_data_agrees_with_the_files(coral: Coral, today: Path, tomorrow: Path) -> None:
    document = json.loads(coral("compare", today, tomorrow, "-o", "json").stdout)
    first = json.loads(today.read_text(encoding="utf-8"))
    second = yaml.safe_load(tomorrow.read_text(encoding="utf-8"))
    counts = document["instances"]
    assert counts["kept"] + counts["moved"] + counts["stopped"] == len(first["instances"])
    assert counts["kept"] + counts["moved"] + counts["started"] == len(second["instances"])
    assert document["before"]["cost_usd_per_hour"] == first["cost_usd_per_hour"]
    assert document["difference"]["effect"] == "Dearer"


def test_a_file_from_before_slices_were_written_can_be_compared(
    coral: Coral, today: Path, tmp_path: Path
) -> None:
    document = json.loads(today.read_text(encoding="utf-8"))
    for instance in document["instances"]:
        for key in ("slices", "error_share"):
            instance.pop(key, None)
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document), encoding="utf-8")
    done = coral("compare", old, today, "--exit-code")
    assert done.exit_code == 0
    # But it does not say what runs exactly: nothing can be kept from it.
    refused = coral(
        "whatif", "-f", SERVICES, "--inventory", INVENTORY, "--plan", old, "--demand", "phi-4=x2"
    )
    assert refused.exit_code == 2
    assert "cannot be rebuilt from the file" in refused.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "this is no plan"),
        ("[1]", "this is no plan"),
        ("{}", "this is no plan"),
        ('{"version": 7, "instances": []}', "a plan of version 7"),
        ('{"version": 1, "instances": [{}]}', "status: Field required"),
        ("{", "neither JSON nor YAML"),
        ("kind: Pod", "this is no plan"),
        ("{apiVersion: serving.coral.dev/v1alpha1, kind: ServingPlan}", "metadata"),
    ],
)
def test_another_file_is_refused_with_what_to_do(
    coral: Coral, tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(content, encoding="utf-8")
    done = coral("compare", path, path)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_named(coral: Coral, tmp_path: Path) -> None:
    done = coral("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert done.exit_code == 2
    assert "there is no such file" in done.stderr


def test_an_operators_plan_is_compared_and_can_be_in_force(
    coral: Coral, today: Path, template_cache: Path, tmp_path: Path
) -> None:
    from coral_cli.inputs import read_problem

    problem = read_problem(
        [SERVICES], cluster=None, inventory=INVENTORY, kubeconfig=None, context=None
    ).problem
    planner = Planner(PlanningOptions(with_baselines=False, cache_dir=template_cache))
    plan = serving_plan(
        "p1",
        planner.plan(problem).plan,
        services=(),
        trigger=PlanTrigger(reason="SpecChanged"),
        baselines={},
    )
    manifest = tmp_path / "serving-plan.yaml"
    manifest.write_text(yaml.safe_dump(plan.to_json()), encoding="utf-8")
    assert coral("compare", manifest, today, "--exit-code").exit_code == 0
    done = coral(
        "explain", "-f", SERVICES, "--inventory", INVENTORY, "--cache-dir", template_cache,
        "--plan", manifest, "--stop-after", "0", "-o", "json",
    )  # fmt: skip
    assert json.loads(done.stdout)["plan"]["switching_usd_per_hour"] == 0


def test_the_keys_are_documented(coral: Coral, today: Path, tomorrow: Path) -> None:
    document = json.loads(coral("compare", today, tomorrow, "-o", "json").stdout)
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    keys = {*document, *document["before"], *document["models"][0]["instances"][0]}
    assert not sorted(key for key in keys if f"`{key}" not in page)
