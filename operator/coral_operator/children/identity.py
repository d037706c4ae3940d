"""Which object a manifest stands for, and whether an object in the cluster is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from coral_operator.children import labels

if TYPE_CHECKING:
    from collections.abc import Mapping


class ChildKey(NamedTuple):
    """What makes an object itself."""

    kind: str
    namespace: str
    name: str


def child_key(manifest: Mapping[str, Any]) -> ChildKey:
    """Return the identity of a manifest, or of an object as the API server gives it."""
    metadata = manifest["metadata"]
    return ChildKey(manifest["kind"], metadata["namespace"], metadata["name"])


def is_ours(live: Mapping[str, Any]) -> bool:
    """Return whether Coral made an object; only such objects may ever be deleted.

    Both labels must be there: the first alone is one that anybody may write.
    """
    found = _labels(live)
    return found.get(labels.MANAGED_BY) == labels.MANAGED_BY_VALUE and labels.SERVICE in found


def model_of(live: Mapping[str, Any]) -> str | None:
    """Return the id of the model that a child serves, or None: ``namespace/service/model``."""
    found = _labels(live)
    if labels.SERVICE not in found or labels.MODEL not in found:
        return None
    return "/".join((live["metadata"]["namespace"], found[labels.SERVICE], found[labels.MODEL]))


def _labels(live: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = live["metadata"].get("labels") or {}
    return found
