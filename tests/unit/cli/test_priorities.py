"""A priority that has no effect is not left unsaid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from tests.unit.cli.support import INVENTORY, SERVICES

from coral_api.multillmservice import ModelSpec
from coral_cli.inputs import read_problem

if TYPE_CHECKING:
    from pathlib import Path


def notes(tmp_path: Path, priorities: list[int], scarcity: str | None) -> str:
    """Read the example with other priorities; return what reading it remarks."""
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    for model, priority in zip(service["spec"]["models"], priorities, strict=True):
        model["priority"] = priority
    documents = [service]
    if scarcity is not None:
        documents.append(
            {
                "apiVersion": "serving.coral.dev/v1alpha1",
                "kind": "PlanningPolicy",
                "metadata": {"name": "default"},
                "spec": {"scarcity": scarcity},
            }
        )
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    read = read_problem([path], cluster=None, inventory=INVENTORY, kubeconfig=None, context=None)
    return "\n".join(read.notes)


@pytest.mark.parametrize("scarcity", [None, "Proportional"])
def test_priorities_under_proportional_scarcity_are_said_to_have_no_effect(
    tmp_path: Path, scarcity: str | None
) -> None:
    said = notes(tmp_path, [10, 0, 0], scarcity)
    assert "priorities of default/assistants/phi-4 (10) have no effect" in said
    assert "scarcity: Priority" in said


@pytest.mark.parametrize(
    ("priorities", "scarcity"), [([10, 0, 0], "Priority"), ([5, 5, 5], None), ([0, 0, 0], None)]
)
def test_priorities_that_matter_or_do_not_differ_raise_no_remark(
    tmp_path: Path, priorities: list[int], scarcity: str | None
) -> None:
    assert "priorit" not in notes(tmp_path, priorities, scarcity)


def test_the_field_says_when_it_has_no_effect() -> None:
    description = ModelSpec.model_fields["priority"].description or ""
    assert "without effect under Proportional" in description
