"""Services: one per model and phase for clients, one per pipeline for its own stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coral_operator.children import labels
from coral_operator.children.args import HTTP_PORT, MASTER_PORT
from coral_operator.children.deployments import model_labels, owner_reference
from coral_operator.children.names import dns_name, leader_service_name
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from coral_api.multillmservice import ModelSpec, MultiLLMService
    from coral_operator.children.deployments import Manifest
    from coral_operator.children.member import Member


def model_service_name(service_name: str, model_name: str, phase: Phase) -> str:
    """Return the name of the Service in front of a model's leaders of one phase."""
    if phase is Phase.WHOLE:
        return dns_name(f"{service_name}-{model_name}")
    return dns_name(f"{service_name}-{model_name}-{phase.value.lower()}")


def model_services(service: MultiLLMService, spec: ModelSpec) -> list[Manifest]:
    """Return a Service over the ready leaders of each phase that the model may be served with.

    They do not depend on the plan: a model keeps its address while it has no instance.
    """
    result = []
    for phase in spec.serving.phases:
        selector = {
            **model_labels(service, spec.name),
            labels.PHASE: phase.value.lower(),
            labels.STAGE: "0",
        }
        result.append(
            _service(
                service,
                name=model_service_name(service.metadata.name, spec.name, phase),
                own={**model_labels(service, spec.name), labels.PHASE: phase.value.lower()},
                spec={"selector": selector, "ports": [_port("http", HTTP_PORT)]},
            )
        )
    return result


def leader_service(leader: Member, digest: str) -> Manifest:
    """Return the headless Service by which the stages of a pipeline find stage 0.

    Stage 0 is not ready before the others have joined it, so addresses are published before. The
    digest keeps a new worker from joining a leader of an older form.
    """
    own = {**model_labels(leader.service, leader.spec.name), labels.INSTANCE: leader.label}
    return _service(
        leader.service,
        name=leader_service_name(leader.instance.name),
        own=own,
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {**own, labels.STAGE: "0", labels.GROUP_DIGEST: digest},
            "ports": [_port("http", HTTP_PORT), _port("master", MASTER_PORT)],
        },
    )


def _service(
    service: MultiLLMService, *, name: str, own: dict[str, str], spec: dict[str, Any]
) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": service.namespace,
            "labels": own,
            "ownerReferences": [owner_reference(service)],
        },
        "spec": spec,
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}
