"""The kinds that are watched, kopf's indexes over them, and whether they can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from coral_operator.kube import kinds
from coral_operator.observe.trim import trim_child, trim_custom, trim_node, trim_pod

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from coral_operator.kube.client import Manifest
    from coral_operator.kube.kinds import Kind
    from coral_solver.domain.clock import Clock


class Watched(NamedTuple):
    """A kind that is watched, the name of its index, and what is kept of an object."""

    kind: Kind
    index_id: str
    trim: Callable[[Mapping[str, Any]], Manifest | None]


WATCHED = (
    Watched(kinds.NODES, "nodes_seen", trim_node),
    Watched(kinds.PODS, "pods_seen", trim_pod),
    Watched(kinds.DEPLOYMENTS, "deployments_seen", trim_child),
    Watched(kinds.SERVICES, "services_seen", trim_child),
    Watched(kinds.MULTI_LLM_SERVICES, "multillmservices_seen", trim_custom),
    Watched(kinds.PLANNING_POLICIES, "planningpolicies_seen", trim_custom),
    Watched(kinds.GPU_POOLS, "gpupools_seen", trim_custom),
    Watched(kinds.PERFORMANCE_PROFILES, "performanceprofiles_seen", trim_custom),
    Watched(kinds.SERVING_PLANS, "servingplans_seen", trim_custom),
)

Key = tuple[str, str]
"""Namespace (empty where the kind has none) and name."""


class Store:
    """What the watches have brought so far.

    The Lease that operators compete for is watched too. Its holder, whoever that is, renews it
    every few seconds: the renewals that arrive prove that the way from the API server through
    kopf to this process is open, and the first one that all initial lists are complete, because
    kopf lets no handler run before.

    Parameters
    ----------
    clock
        For the age of the last sign of life.
    nudge
        Called when something that a plan could depend on has changed.
    """

    def __init__(self, clock: Clock, nudge: Callable[[], None]) -> None:
        self._clock = clock
        self._nudge = nudge
        self._indices: Mapping[str, Mapping[Key, Collection[Manifest]]] = {}
        self._seen: dict[tuple[str, Key], Manifest] = {}
        self._gone_uids: set[str] = set()
        self._pulse_at_s: float | None = None
        self.relisted = False

    def attach(self, indices: Mapping[str, Mapping[Key, Collection[Manifest]]]) -> None:
        """Take kopf's indexes; kopf fills them, the store only reads."""
        self._indices = indices

    def pulse(self) -> None:
        """Note a sign of life of the watches; the first one completes the start."""
        is_first = self._pulse_at_s is None
        self._pulse_at_s = self._clock.monotonic_s()
        if is_first:
            self._nudge()

    @property
    def age_s(self) -> float | None:
        """Seconds since the last sign of life; None until all initial lists are complete."""
        if self._pulse_at_s is None:
            return None
        return self._clock.monotonic_s() - self._pulse_at_s

    def notice(self, index: str, key: Key, event_type: str | None) -> None:
        """Nudge if what is kept of an object differs from what was kept before."""
        values = self._indices[index].get(key)
        value = list(values)[-1] if values else None
        before = self._seen.get((index, key))
        if event_type is None and before is not None:
            # A list and not a watch brought an object that was known: the stream had been cut, and
            # kopf does not see what was deleted meanwhile. The audit does.
            self.relisted = True
        if event_type == "DELETED" or value is None:
            self._seen.pop((index, key), None)
            changed = before is not None
        else:
            # The index keeps the old value where the new one is equal: identity is enough.
            changed = value is not before
            self._seen[index, key] = value
        if changed:
            self._nudge()

    def objects(self, index: str) -> tuple[Manifest, ...]:
        """Return what is kept of all objects of a kind, sorted by namespace and name."""
        by_key = self._indices.get(index, {})
        found = []
        for key in sorted(by_key):
            alive = [o for o in by_key[key] if o["metadata"].get("uid") not in self._gone_uids]
            if alive:
                # Two objects of one name: the deletion of the first was missed.
                found.append(alive[-1])
        return tuple(found)

    def forget(self, uids: Iterable[str]) -> None:
        """Leave out from now on objects that a fresh list shows to be gone."""
        missing = set(uids) - self._gone_uids
        if missing:
            kept = {
                str(value["metadata"].get("uid"))
                for by_key in self._indices.values()
                for values in by_key.values()
                for value in values
            }
            # What the index has dropped by itself since need not be remembered.
            self._gone_uids = (self._gone_uids & kept) | missing
            self._nudge()

    def uids(self, index: str) -> set[str]:
        """Return the uids of all objects of a kind."""
        return {str(o["metadata"].get("uid")) for o in self.objects(index)}
