"""What ``coral plan -o json`` wrote, read back."""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.allocation.support import config, model, pool, problem, template
from tests.unit.planning.support import GivenPlanner

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.template import EngineSettings, ServingTemplate
from coral_solver.planning.facts import PlanFacts
from coral_solver.report.document import plan_document
from coral_solver.report.plan_file import (
    instances_from_document,
    plan_from_document,
    report_document,
)

if TYPE_CHECKING:
    from coral_solver.planning.planner import PlanningResult

L4, T4 = config("L4", 2), config("T4", 2)
POOLS = [pool("L4", 4, [4]), pool("T4", 2, [2], gpu_usd=0.5)]
ENGINE = EngineSettings(
    tensor_parallel=2,
    pipeline_parallel=2,
    layers_per_stage=(6, 6),
    max_model_len_tokens=4096,
    max_num_seqs=64,
    max_num_batched_tokens=2048,
    gpu_memory_utilization=0.9,
)


def _mixed() -> ServingTemplate:
    made = template("a", 1.0, L4, T4)
    return ServingTemplate(
        model_id=made.model_id,
        phase=made.phase,
        stages=made.stages,
        prediction=made.prediction,
        made_for=made.made_for,
        engine=ENGINE,
    )


@pytest.fixture
def result() -> PlanningResult:
    """One instance of two stages on two pools."""
    return GivenPlanner(_mixed()).plan(problem([model()], POOLS))


@pytest.fixture
def document(result: PlanningResult) -> dict[str, Any]:
    made = plan_document(problem([model()], POOLS), result)
    read: dict[str, Any] = json.loads(json.dumps(made))
    return read


def test_a_plan_read_back_is_the_plan(result: PlanningResult, document: dict[str, Any]) -> None:
    assert plan_from_document(document, "plan.json") == PlanFacts.of(result.plan)


def test_instances_read_back_are_those_of_the_plan(
    result: PlanningResult, document: dict[str, Any]
) -> None:
    (read,) = instances_from_document(document, "plan.json", POOLS)
    (made,) = result.plan.instances
    assert (read.name, read.region, read.slices) == (made.name, made.region, made.slices)
    assert read.template.id == made.template.id
    assert read.template.stages == made.template.stages
    # For which targets the prediction was made is not in the file: it never counts on its own.
    assert read.template.made_for == ""


def test_an_instance_on_a_pool_that_is_gone_is_left_out(document: dict[str, Any]) -> None:
    assert instances_from_document(document, "plan.json", POOLS[:1]) == ()


def _without(key: str) -> Any:
    return lambda document: document["instances"][0].pop(key)


@pytest.mark.parametrize(
    "edit",
    [
        _without("slices"),
        _without("engine"),
        _without("layers_per_stage"),
        lambda document: document["instances"][0].update(layers_per_stage=[5, 7]),
        lambda document: document["instances"][0].update(phase="OTHER"),
        lambda document: document["instances"][0].update(template="whole-l4x1-00000000"),
    ],
)
def test_an_edited_or_older_instance_is_never_taken_for_a_running_one(
    document: dict[str, Any], edit: Any
) -> None:
    edit(document)
    with pytest.raises(InvalidInputError, match="cannot be rebuilt from the file"):
        instances_from_document(document, "plan.json", POOLS)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, "much", None])
def test_numbers_that_mean_nothing_are_refused(document: dict[str, Any], value: object) -> None:
    broken = copy.deepcopy(document)
    broken["models"][0]["demand_req_per_s"] = value
    with pytest.raises(InvalidInputError, match=r"models.0.demand_req_per_s"):
        plan_from_document(broken, "plan.json")


def test_a_level_without_a_bound_proves_nothing(document: dict[str, Any]) -> None:
    document["objective"][-1]["bound"] = math.inf
    plan = plan_from_document(document, "plan.json")
    assert plan.objective[-1].bound == 0.0


def test_keys_that_a_later_coral_adds_do_not_matter(document: dict[str, Any]) -> None:
    document["instances"][0]["colour"] = "red"
    document["news"] = {}
    assert plan_from_document(document, "plan.json").instances


def test_a_report_reads_what_was_written(document: dict[str, Any]) -> None:
    given = problem([model()], POOLS)
    assert report_document(document, "plan.json", given) == document
    # What a file of the same version may lack is filled in.
    del document["robustness"], document["instances"][0]["error_share"]
    read = report_document(document, "plan.json", given)
    assert read["robustness"] == 0.0
    assert read["instances"][0]["error_share"] is None


@pytest.mark.parametrize(
    "edit",
    [
        _without("slices"),
        lambda document: document["baselines"].update(
            old={"status": "OPTIMAL", "cost_usd_per_hour": 1.0, "unmet_req_per_s": {}}
        ),
    ],
)
def test_a_file_that_is_too_old_to_draw_is_no_report(document: dict[str, Any], edit: Any) -> None:
    edit(document)
    with pytest.raises(InvalidInputError, match="is older than this Coral"):
        report_document(document, "plan.json", problem([model()], POOLS))
    assert plan_from_document(document, "plan.json").instances


def test_a_report_is_of_the_plan_of_its_inputs(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError) as refused:
        report_document(document, "plan.json", problem([model("b")], POOLS[:1]))
    text = " ".join(refused.value.problems)
    for said in ("it has no model 'ns/svc/b'", "have no model 'ns/svc/a'", "there is no pool"):
        assert said in text


def test_a_foreign_file_has_its_first_faults_named_and_the_rest_counted() -> None:
    foreign = {"version": 1, "instances": [{}, {}, {}]}
    with pytest.raises(InvalidInputError) as refused:
        plan_from_document(foreign, "plan.json")
    assert len(refused.value.problems) == 6
    assert "more faults" in refused.value.problems[-1]
