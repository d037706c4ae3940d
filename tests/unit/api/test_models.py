"""The models keep what a manifest says and give it back."""

from __future__ import annotations

from typing import Any

from coral_api.gpupool import PricingSpec
from coral_api.multillmservice import MultiLLMService, OperatingMode
from coral_api.planningpolicy import PlanningPolicySpec, PriorityCeiling
from coral_solver.domain.hardware import CapacityKind
from coral_solver.domain.workload import ServingMode


def test_defaults_of_a_service(service_manifest: dict[str, Any]) -> None:
    service = MultiLLMService.from_manifest(service_manifest)
    (model,) = service.spec.models
    assert service.spec.mode is OperatingMode.SHADOW
    assert model.slo.attainment == 0.95
    assert model.serving is ServingMode.AGGREGATED
    assert (model.priority, model.min_replicas, model.demand.headroom) == (0, 0, 0)
    assert model.gpu_types.allow is None


def test_a_manifest_survives_reading_and_writing(service_manifest: dict[str, Any]) -> None:
    service = MultiLLMService.from_manifest(service_manifest)
    assert MultiLLMService.from_manifest(service.to_json()) == service


def test_what_the_api_server_adds_to_an_object_is_read_or_ignored(
    service_manifest: dict[str, Any],
) -> None:
    service_manifest["metadata"] |= {
        "uid": "8d7f",
        "generation": 3,
        "resourceVersion": "42",
        "creationTimestamp": "2026-11-22T12:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
    }
    service_manifest["status"] = {"observedGeneration": 2, "rolloutPercent": 40}
    service = MultiLLMService.from_manifest(service_manifest)
    assert (service.metadata.uid, service.metadata.generation) == ("8d7f", 3)
    assert service.status.observed_generation == 2


def test_the_namespace_of_a_file_without_one_is_default(service_manifest: dict[str, Any]) -> None:
    del service_manifest["metadata"]["namespace"]
    assert MultiLLMService.from_manifest(service_manifest).namespace == "default"


def test_quantities_may_be_numbers_or_text(service_manifest: dict[str, Any]) -> None:
    service_manifest["spec"]["models"][0]["podTemplate"] = {
        "resources": {"cpu": 8, "memory": "64Gi"}
    }
    (model,) = MultiLLMService.from_manifest(service_manifest).spec.models
    assert (model.pod_template.resources.cpu, model.pod_template.resources.memory) == ("8", "64Gi")


def test_a_priority_is_cut_to_the_ceiling_of_its_namespace() -> None:
    policy = PlanningPolicySpec(
        priority_ceilings=(PriorityCeiling(namespace="experiments", maximum=10),)
    )
    assert policy.priority_of("experiments", 50) == 10
    assert policy.priority_of("experiments", 5) == 5
    assert policy.priority_of("production", 50) == 50


def test_a_price_is_known_for_the_kinds_that_are_given() -> None:
    pricing = PricingSpec(spot_usd_per_hour=1.5)
    assert pricing.of(CapacityKind.SPOT) == 1.5
    assert pricing.of(CapacityKind.ON_DEMAND) is None
