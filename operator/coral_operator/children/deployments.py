"""The Deployments of one serving instance: one per pipeline stage."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from coral_api.base import API_VERSION
from coral_operator.children import labels
from coral_operator.children.args import HTTP_PORT, MASTER_PORT, engine_args
from coral_operator.children.environment import engine_env
from coral_operator.children.names import deployment_name
from coral_operator.children.probes import pre_stop, probes
from coral_operator.children.resources import container_resources
from coral_operator.children.scheduling import node_affinity, tolerations
from coral_operator.children.timing import GRACE_S, start_budget_s
from coral_operator.children.volumes import volume_mounts, volumes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_api.multillmservice import MultiLLMService
    from coral_operator.children.member import Member

CONTAINER = "engine"

PULL_S = 1800
"""Time for pulling the image before a Deployment that does not come up counts as stuck."""

Manifest = dict[str, Any]


def owner_reference(service: MultiLLMService) -> dict[str, Any]:
    """Return the owner reference by which children go when their service has gone."""
    return {
        "apiVersion": API_VERSION,
        "kind": service.crd.kind,
        "name": service.metadata.name,
        "uid": service.metadata.uid,
        "controller": True,
    }


def model_labels(service: MultiLLMService, model_name: str) -> dict[str, str]:
    """Return the labels of everything that belongs to one model."""
    return {
        labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
        labels.SERVICE: service.metadata.name,
        labels.MODEL: model_name,
    }


def group_digest(members: Sequence[Member]) -> str:
    """Return the digest of all pods of an instance."""
    pods = [[_pod_labels(member), _pod_annotations(member), pod_spec(member)] for member in members]
    text = json.dumps(pods, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def deployments(members: Sequence[Member]) -> list[Manifest]:
    """Return the Deployments of an instance, first stage first.

    Each pod carries the digest of the pods of all stages: stages cannot run beside a stage of an
    older form, so a change to one replaces them all.
    """
    digest = group_digest(members)
    return [_deployment(member, digest) for member in members]


def _deployment(member: Member, digest: str) -> Manifest:
    own = {
        **model_labels(member.service, member.spec.name),
        labels.INSTANCE: member.label,
        labels.STAGE: str(member.stage),
    }
    metadata: dict[str, Any] = {"labels": {**_pod_labels(member), labels.GROUP_DIGEST: digest}}
    if annotations := _pod_annotations(member):
        metadata["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(member.instance.name, member.stage),
            "namespace": member.service.namespace,
            "labels": {
                **own,
                labels.PHASE: member.phase.value.lower(),
                labels.OPENCOST_MODEL: member.spec.name,
            },
            "annotations": {
                labels.INSTANCE_NAME: member.instance.name,
                labels.TEMPLATE: member.instance.template.id,
            },
            "ownerReferences": [owner_reference(member.service)],
        },
        "spec": {
            "replicas": 1,
            # The old pod holds the GPUs that the new one needs.
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": start_budget_s(member.model, member.stages) + PULL_S,
            "selector": {"matchLabels": own},
            "template": {"metadata": metadata, "spec": pod_spec(member)},
        },
    }


def _pod_labels(member: Member) -> dict[str, str]:
    return {
        **member.spec.pod_template.labels,
        **model_labels(member.service, member.spec.name),
        labels.INSTANCE: member.label,
        labels.STAGE: str(member.stage),
        labels.PHASE: member.phase.value.lower(),
        labels.OPENCOST_MODEL: member.spec.name,
    }


def _pod_annotations(member: Member) -> dict[str, str]:
    return dict(member.spec.pod_template.annotations)


def pod_spec(member: Member) -> dict[str, Any]:
    """Return the pod of one stage."""
    template = member.spec.pod_template
    spec: dict[str, Any] = {
        "affinity": node_affinity(member),
        "automountServiceAccountToken": template.service_account_name is not None,
        "containers": [_container(member)],
        # A Service called `vllm` would otherwise set VLLM_PORT, which vLLM takes for its own.
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": GRACE_S,
        "tolerations": tolerations(member),
        "volumes": volumes(member),
    }
    if template.service_account_name is not None:
        spec["serviceAccountName"] = template.service_account_name
    if template.priority_class_name is not None:
        spec["priorityClassName"] = template.priority_class_name
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in template.image_pull_secrets]
    return spec


def _container(member: Member) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": member.spec.engine.image or member.settings.image,
        "command": ["vllm", "serve"],
        "args": list(engine_args(member)),
        "env": engine_env(member),
        "lifecycle": {"preStop": pre_stop(member)},
        "resources": container_resources(member),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": volume_mounts(member),
        **probes(member),
    }
    if member.is_leader:
        container["ports"] = [{"name": "http", "containerPort": HTTP_PORT}]
        if member.stages > 1:
            container["ports"].append({"name": "master", "containerPort": MASTER_PORT})
    return container
