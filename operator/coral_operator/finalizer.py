"""Keep a deleted service until its children are gone, but not for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_api.base import GROUP
from coral_api.multillmservice import OperatingMode
from coral_operator.kube.kinds import MULTI_LLM_SERVICES
from coral_operator.status.instances import parse_time

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from coral_operator.kube.client import KubeClient, Manifest
    from coral_operator.planning.inputs import ServiceInput

FINALIZER = f"{GROUP}/drain"
"""Our mark on a service: its children are removed before it goes."""


def needs_finalizer(service: ServiceInput) -> bool:
    """Return whether a service is to be marked: children of it may be made."""
    return (
        service.mode is OperatingMode.ACTIVE
        and not service.is_deleting
        and FINALIZER not in _finalizers(service.manifest)
    )


def may_release(
    service: ServiceInput, *, has_children: bool, now: datetime, limit: timedelta
) -> bool:
    """Return whether a service's mark is to be taken off.

    Parameters
    ----------
    service
        The service.
    has_children
        Whether any child, or pod of one, is still there.
    now, limit
        After so long the service goes in any case; the owner references of what is left then let
        the garbage collector finish.
    """
    if not service.is_deleting or FINALIZER not in _finalizers(service.manifest):
        return False
    since = parse_time(service.manifest["metadata"]["deletionTimestamp"])
    return not has_children or (since is not None and now - since > limit)


async def mark(kube: KubeClient, service: ServiceInput) -> None:
    """Put our mark on a service.

    Raises
    ------
    KubeError
        If it was changed since it was read; the next step tries again.
    """
    await _write(kube, service, [*_finalizers(service.manifest), FINALIZER])


async def release(kube: KubeClient, service: ServiceInput) -> None:
    """Take our mark, and no other, off a service; raises as ``mark`` does."""
    await _write(kube, service, [f for f in _finalizers(service.manifest) if f != FINALIZER])


async def _write(kube: KubeClient, service: ServiceInput, finalizers: list[str]) -> None:
    version = service.manifest["metadata"]["resourceVersion"]
    await kube.json_patch(
        MULTI_LLM_SERVICES,
        service.ref.name,
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ],
        service.ref.namespace,
    )


def _finalizers(manifest: Manifest) -> list[str]:
    return list(manifest["metadata"].get("finalizers") or ())
