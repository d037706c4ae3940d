"""All that kopf is told: what to watch, how to log in, when the operator counts as alive.

No handler decides anything. Indexes keep what the loop reads; ``on.event`` says that something
changed; everything else is the loop's. No decorator is used that would make kopf write to an
object: change-detecting handlers, timers and daemons leave annotations and finalizers, and a dead
operator's finalizer on a Node would keep the Node from being deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kopf

from coral_operator.kube.client import PAGE_SIZE
from coral_operator.kube.kinds import DEPLOYMENTS, LEASES, PODS, SERVICES
from coral_operator.observe.store import WATCHED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_operator.context import Context
    from coral_operator.observe.store import Watched


def build_registry(kubeconfig: str | None) -> kopf.OperatorRegistry:
    """Return the handlers of one operator.

    Parameters
    ----------
    kubeconfig
        File to log in with; None: the pod's service account.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - kopf's own
        if kubeconfig is None:
            return kopf.login_with_service_account(**kwargs)
        return kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.startup(registry=registry)
    async def attach(memo: Context, **kwargs: Any) -> None:  # noqa: ANN401 - the indexes are among them
        memo.store.attach({w.index_id: kwargs[w.index_id] for w in WATCHED})

    @kopf.on.probe(registry=registry, id="loop")
    async def is_alive(memo: Context, **_: object) -> str:
        memo.heart.check()
        return "ok"

    @kopf.on.event(LEASES.group, LEASES.version, LEASES.plural, registry=registry)
    async def pulse(memo: Context, **_: object) -> None:
        memo.store.pulse()

    for watched in WATCHED:
        _watch(watched, registry)
    return registry


def _watch(watched: Watched, registry: kopf.OperatorRegistry) -> None:
    where = (watched.kind.group, watched.kind.version, watched.kind.plural)

    @kopf.index(*where, id=watched.index_id, registry=registry)
    async def keep(body: kopf.Body, namespace: str | None, name: str, **_: object) -> object:
        kept = watched.trim(dict(body))
        return None if kept is None else {(namespace or "", name): kept}

    @kopf.on.event(*where, id=f"{watched.index_id}_event", registry=registry)
    async def notice(
        memo: Context, event: Mapping[str, Any], namespace: str | None, name: str, **_: object
    ) -> None:
        memo.store.notice(watched.index_id, (namespace or "", name), event["type"])


def build_settings(lease_name: str, child_selector: str) -> kopf.OperatorSettings:
    """Return kopf's settings.

    Parameters
    ----------
    lease_name
        Name of the Lease whose renewals are the watches' sign of life.
    child_selector
        Label selector of what the operator makes itself.
    """
    settings = kopf.OperatorSettings()
    # The kinds are fixed and their CRDs are checked at the start: no need to list CRDs.
    settings.scanning.disabled = True
    settings.watching.chunk_size = PAGE_SIZE
    settings.networking.request_timeout = 30.0
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = 20.0
    settings.watching.field_selectors[LEASES.group, LEASES.version, LEASES.plural] = (
        f"metadata.name={lease_name}"
    )
    # A finished pod holds no GPU.
    settings.watching.field_selectors[PODS.group, PODS.version, PODS.plural] = (
        "status.phase!=Succeeded,status.phase!=Failed"
    )
    for kind in (DEPLOYMENTS, SERVICES):
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = child_selector
    return settings
