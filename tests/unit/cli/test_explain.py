"""``coral explain``: why the plan is what it is, for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.unit.cli.support import INVENTORY, ROOT, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral


@pytest.fixture
def arguments(template_cache: Path) -> list[str]:
    """The example, and a cache that is not the user's."""
    return [
        "-f", str(SERVICES), "--inventory", str(INVENTORY), "--cache-dir", str(template_cache),
    ]  # fmt: skip


@pytest.fixture
def scarce(template_cache: Path, tmp_path: Path) -> list[str]:
    """One of the example's models on eight L40S: it is short."""
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"] = [
        model for model in service["spec"]["models"] if model["name"] == "gpt-oss-20b"
    ]
    services = tmp_path / "one.yaml"
    services.write_text(yaml.safe_dump(service), encoding="utf-8")
    inventory = tmp_path / "scarce.csv"
    inventory.write_text(
        "gpu,gpus_per_node,nodes,region,node_usd_per_hour\n"
        "L40S,4,2,us-east-2,10\nL4,4,1,us-east-2,4\n",
        encoding="utf-8",
    )
    return [
        "-f", str(services), "--inventory", str(inventory), "--cache-dir", str(template_cache),
    ]  # fmt: skip


def test_the_text_says_why_what_else_and_what_one_more_node_does(
    coral: Coral, arguments: list[str]
) -> None:
    done = coral("explain", *arguments)
    assert done.exit_code == 0
    for said in (
        "phi-4  10.00 of 10.00 req/s served",
        "per million tokens",
        "The next best,",
        "if it ran ...",
        "one more node",
        "changes nothing",
        "--no-switching leaves it out",
    ):
        assert said in done.stdout
    assert "question 1:" in done.stderr
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout


def test_every_answer_is_in_the_data_and_documented(coral: Coral, arguments: list[str]) -> None:
    done = coral("explain", *arguments, "--model", "phi-4", "-o", "json")
    document = json.loads(done.stdout)
    (phi,) = document["models"]
    assert phi["usd_per_million_tokens"] > 0
    # Whatever else phi-4 may use is at least as bad as what it uses.
    assert not any(
        other["difference"]["effect"] in ("Cheaper", "ServesMore") for other in phi["alternatives"]
    )
    assert {pool["gpu"] for pool in document["pools"]} == {"L4", "A10G", "L40S", "H100"}
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    keys = {
        *document, *phi, *phi["templates"][0], *phi["alternatives"][0], *document["pools"][0],
        *phi["alternatives"][0]["difference"],
    }  # fmt: skip
    assert not sorted(key for key in keys if f"`{key}" not in page)


def test_a_short_model_is_told_how_many_nodes_would_serve_it(
    coral: Coral, scarce: list[str]
) -> None:
    done = coral("explain", *scarce, "--no-switching", "-o", "json")
    document = json.loads(done.stdout)
    shortage = document["models"][0]["shortage"]
    helping = [remedy for remedy in shortage["remedies"] if remedy["nodes"]]
    assert [remedy["pool"] for remedy in helping] == ["us-east-2/L40Sx4-pcie/on-demand"]
    # As many nodes more, planned with `whatif`, do serve it; one less do not.
    for less, is_short in ((0, False), (1, True)):
        nodes = f"L40S=+{helping[0]['nodes'] - less}"
        after = coral("whatif", *scarce, "--nodes", nodes, "--no-switching", "-o", "json")
        unmet = json.loads(after.stdout)["after"]["unmet_req_per_s"]
        assert (unmet["default/assistants/gpt-oss-20b"] > 0) is is_short


def test_the_text_about_a_shortage_names_what_helps(coral: Coral, scarce: list[str]) -> None:
    done = coral("explain", *scarce)
    assert done.exit_code == 0
    assert "Short: " in done.stdout
    assert "more nodes of L40Sx4-pcie" in done.stdout
    assert "not even 64 more nodes of L4x4-pcie" in done.stdout


def test_no_time_leaves_the_plan_and_says_what_was_not_asked(
    coral: Coral, arguments: list[str]
) -> None:
    done = coral("explain", *arguments, "--stop-after", "0")
    assert done.exit_code == 0
    assert "Without an answer (--stop-after gives more time):" in done.stdout
    assert "what runs" in done.stdout
    assert "if it ran ..." not in done.stdout


def test_yaml_is_for_programs_too(coral: Coral, arguments: list[str]) -> None:
    done = coral("explain", *arguments, "--stop-after", "0", "-o", "yaml")
    assert yaml.safe_load(done.stdout)["solves"] == 1


def test_an_unknown_model_is_answered_with_near_ones(coral: Coral, arguments: list[str]) -> None:
    done = coral("explain", *arguments, "--model", "phi4")
    assert done.exit_code == 2
    assert "did you mean phi-4" in done.stderr
