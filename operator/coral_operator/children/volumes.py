"""Volumes of an engine pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coral_operator.children.args import MODEL_PATH
from coral_operator.children.environment import CACHE_PATH
from coral_operator.children.resources import shared_memory_size

if TYPE_CHECKING:
    from coral_operator.children.member import Member


def volumes(member: Member) -> list[dict[str, Any]]:
    """Return the volumes of a pod: shared memory, and the weights or a cache for them."""
    shared = {"medium": "Memory", "sizeLimit": shared_memory_size(member)}
    return [{"name": "shared-memory", "emptyDir": shared}, _weights(member)]


def volume_mounts(member: Member) -> list[dict[str, Any]]:
    """Return the mounts of the container, in the order of ``volumes``."""
    shared = {"name": "shared-memory", "mountPath": "/dev/shm"}  # noqa: S108 - NCCL looks there
    if member.spec.source.hugging_face is not None:
        return [shared, {"name": "model-cache", "mountPath": CACHE_PATH}]
    return [shared, {"name": "model", "mountPath": MODEL_PATH, "readOnly": True}]


def _weights(member: Member) -> dict[str, Any]:
    source, cache = member.spec.source, member.spec.pod_template.cache
    if source.pvc is not None:
        claim: dict[str, Any] = {"claimName": source.pvc.claim_name, "readOnly": True}
        return {"name": "model", "persistentVolumeClaim": claim}
    if source.image is not None:
        image = {"reference": source.image.reference, "pullPolicy": "IfNotPresent"}
        return {"name": "model", "image": image}
    if cache.claim_name is not None:
        claim = {"claimName": cache.claim_name}
        return {"name": "model-cache", "persistentVolumeClaim": claim}
    if cache.host_path is not None:
        host = {"path": cache.host_path, "type": "DirectoryOrCreate"}
        return {"name": "model-cache", "hostPath": host}
    bound = {"sizeLimit": cache.size_limit} if cache.size_limit is not None else {}
    return {"name": "model-cache", "emptyDir": bound}
