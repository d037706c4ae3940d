"""Every bad manifest is refused with words that say what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from coral_api.crds import RESOURCES
from coral_api.problems import problem_text, validation_problems

CASES = yaml.safe_load(
    (Path(__file__).parent / "data" / "bad_manifests.yaml").read_text(encoding="utf-8")
)
BY_KIND = {resource.crd.kind: resource for resource in RESOURCES}


@pytest.mark.parametrize("case", CASES["bad"], ids=lambda case: case["name"])
def test_a_bad_manifest_is_refused_and_the_message_says_why(case: dict[str, Any]) -> None:
    resource = BY_KIND[case["manifest"]["kind"]]
    with pytest.raises(ValidationError) as raised:
        resource.from_manifest(case["manifest"])
    assert case["says"] in problem_text(raised.value, resource)


@pytest.mark.parametrize("manifest", CASES["good"], ids=lambda manifest: manifest["kind"])
def test_the_manifests_that_the_bad_ones_are_made_of_are_good(manifest: dict[str, Any]) -> None:
    BY_KIND[manifest["kind"]].from_manifest(manifest)


def test_a_demand_of_zero_is_legal(service_manifest: dict[str, Any]) -> None:
    service_manifest["spec"]["models"][0]["demand"]["requestsPerSecond"] = 0
    service = BY_KIND["MultiLLMService"].from_manifest(service_manifest)
    assert service.spec.models[0].demand.requests_per_second == 0


def test_every_problem_of_a_manifest_is_reported_with_its_place(
    service_manifest: dict[str, Any],
) -> None:
    model = service_manifest["spec"]["models"][0]
    model["slo"]["tpotMilliseconds"] = 0
    model["demand"]["requestsPerSecond"] = -3
    resource = BY_KIND["MultiLLMService"]
    with pytest.raises(ValidationError) as raised:
        resource.from_manifest(service_manifest)
    problems = dict(validation_problems(raised.value, resource))
    assert problems == {
        ("spec", "models", 0, "slo", "tpotMilliseconds"): "spec.models[0].slo.tpotMilliseconds:"
        " input should be greater than or equal to 1, not 0",
        ("spec", "models", 0, "demand", "requestsPerSecond"): "spec.models[0].demand"
        ".requestsPerSecond: input should be greater than or equal to 0, not -3",
    }


@pytest.mark.parametrize(
    ("path", "given", "says"),
    [
        ((), "replicas", "spec.models[0].replicas: unknown field"),
        (("slo",), "tpotMillisecond", "unknown field; did you mean tpotMilliseconds?"),
        (("demand",), "requestPerSecond", "unknown field; did you mean requestsPerSecond?"),
        (("source",), "huggingface", "unknown field; did you mean huggingFace?"),
    ],
)
def test_an_unknown_field_is_refused_and_a_near_one_named(
    service_manifest: dict[str, Any], path: tuple[str, ...], given: str, says: str
) -> None:
    part = service_manifest["spec"]["models"][0]
    for name in path:
        part = part[name]
    part[given] = 1
    resource = BY_KIND["MultiLLMService"]
    with pytest.raises(ValidationError) as raised:
        resource.from_manifest(service_manifest)
    assert says in problem_text(raised.value, resource)


@pytest.mark.parametrize(
    "version", ["serving.coral.dev/v1", "v1alpha1", "serving.coral.io/v1alpha1", None]
)
def test_a_wrong_api_version_is_refused(
    service_manifest: dict[str, Any], version: str | None
) -> None:
    service_manifest["apiVersion"] = version
    resource = BY_KIND["MultiLLMService"]
    with pytest.raises(ValidationError, match=r"serving\.coral\.dev/v1alpha1"):
        resource.from_manifest(service_manifest)
