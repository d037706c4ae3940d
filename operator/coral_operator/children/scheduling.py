"""Onto which node a pod may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coral_operator.children.settings import PoolAccess

if TYPE_CHECKING:
    from coral_operator.children.member import Member


def node_affinity(member: Member) -> dict[str, Any]:
    """Return the affinity that keeps a stage where the plan put it.

    A stage that has a node goes to exactly that one. By the node's name and not by its hostname
    label, which may differ. One that waits for a node to be opened goes to any node of its pool.
    """
    node = member.slice.node
    if node is not None:
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        term: dict[str, Any] = {"matchFields": [field]}
    else:
        labels = _access(member).node_labels
        term = {
            "matchExpressions": [
                {"key": key, "operator": "In", "values": [labels[key]]} for key in sorted(labels)
            ]
        }
    selector = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def tolerations(member: Member) -> list[dict[str, Any]]:
    """Return the taints that a pod tolerates: its device's, its pool's, then the user's."""
    keys = dict.fromkeys([member.gpu.device_resource, *_access(member).tolerated_taint_keys])
    ours: list[dict[str, Any]] = [{"key": key, "operator": "Exists"} for key in keys]
    return ours + [
        own
        for own in (t.to_json() for t in member.spec.pod_template.tolerations)
        if own not in ours
    ]


def placement_problem(member: Member) -> str | None:
    """Return why a stage that has no node yet cannot be kept in its pool, or None."""
    if member.slice.node is not None or _access(member).node_labels:
        return None
    return (
        f"instance {member.instance.name}: stage {member.stage} waits for a node in pool"
        f" {member.slice.pool}, and no GPUPool says by which labels its nodes are known"
    )


def _access(member: Member) -> PoolAccess:
    return member.settings.pools.get(member.slice.pool, PoolAccess())
