"""Kubernetes Events for decisions. Callers tell changes, not states."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from coral_api.conditions import ConditionStatus, ConditionType
from coral_operator.children.labels import FIELD_MANAGER
from coral_operator.kube.errors import KubeError
from coral_operator.kube.kinds import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coral_api.conditions import Condition
    from coral_operator.kube.client import KubeClient, Manifest
    from coral_operator.kube.kinds import Kind
    from coral_solver.domain.clock import Clock

log = logging.getLogger(__name__)

MAX_MESSAGE = 1024
"""The API server refuses longer notes."""

_TOLD_WHEN = {
    ConditionType.INPUTS_READY: ConditionStatus.FALSE,
    ConditionType.DEGRADED: ConditionStatus.TRUE,
}
"""Conditions that are worth an event, and the status in which they are."""


class Event(NamedTuple):
    """Something to tell about an object."""

    kind: Kind
    manifest: Manifest
    reason: str
    message: str
    is_warning: bool


def condition_events(
    kind: Kind, manifest: Manifest, before: Iterable[Condition], after: Iterable[Condition]
) -> list[Event]:
    """Return an event for each condition that has become bad, or bad for another reason."""
    old = {condition.type: (condition.status, condition.reason) for condition in before}
    return [
        Event(kind, manifest, condition.reason, condition.message, is_warning=True)
        for condition in after
        if _TOLD_WHEN.get(condition.type) is condition.status
        and old.get(condition.type) != (condition.status, condition.reason)
    ]


class EventWriter:
    """Writes events.

    Parameters
    ----------
    kube, clock
        Requests, and the events' time stamps.
    identity
        Name of this operator process.
    """

    def __init__(self, kube: KubeClient, clock: Clock, identity: str) -> None:
        self._kube = kube
        self._clock = clock
        self._identity = identity

    async def tell(self, events: Iterable[Event]) -> None:
        """Write events; one that cannot be written is logged and lost."""
        for event in events:
            try:
                await self._kube.create(EVENTS, self._body(event))
            except KubeError as error:
                # An event is for people's convenience: conditions say the same.
                log.info("event %s was not written: %s", event.reason, error)

    def _body(self, event: Event) -> Manifest:
        metadata = event.manifest["metadata"]
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        reference = {
            "apiVersion": event.kind.api_version,
            "kind": event.kind.kind,
            "name": metadata["name"],
            "uid": metadata.get("uid"),
        }
        if metadata.get("namespace"):
            reference["namespace"] = metadata["namespace"]
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "generateName": f"{metadata['name'][:200]}.",
                # Events about objects without a namespace live in "default".
                "namespace": metadata.get("namespace") or "default",
            },
            "involvedObject": reference,
            "reason": event.reason,
            "message": event.message[:MAX_MESSAGE],
            "type": "Warning" if event.is_warning else "Normal",
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._identity[:128],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
