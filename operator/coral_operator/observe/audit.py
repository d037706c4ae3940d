"""Compare the indexes with fresh lists: what a watch stream cannot tell after it was cut.

When a watch's position has expired, kopf lists the objects anew. What was deleted in between is in
no list and in no event, so kopf's index keeps it for ever (seen in kopf 1.45.2,
``reactor/queueing.py``: only a DELETED event discards). A node or a pod that is gone would then be
planned with for ever.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from coral_operator.kube import kinds
from coral_operator.observe.store import WATCHED

if TYPE_CHECKING:
    from coral_operator.kube.client import KubeClient
    from coral_operator.observe.store import Store

log = logging.getLogger(__name__)


class Audit:
    """Finds objects that are gone, and objects that the watches never brought.

    Parameters
    ----------
    store, kube
        The indexes, and the server to compare them with.
    """

    def __init__(self, store: Store, kube: KubeClient) -> None:
        self._store = store
        self._kube = kube
        self._missed_last: dict[str, set[str]] = {}
        self._missed_twice: dict[str, set[str]] = {}

    async def run(self) -> None:
        """Compare all kinds once.

        Raises
        ------
        KubeError
            If a list cannot be read.
        """
        self._store.relisted = False
        for watched in WATCHED:
            # The index is read before the list: what appears in between is not taken for gone.
            known = self._store.uids(watched.index_id)
            listed = await self._kube.list_uids(watched.kind)
            gone = known - listed
            if gone:
                log.warning("%d %s had gone unnoticed", len(gone), watched.kind.plural)
                self._store.forget(gone)
            if watched.kind in (kinds.NODES, *kinds.OWN_KINDS):
                # Of the other kinds the index holds a part only.
                missed = listed - self._store.uids(watched.index_id)
                last = self._missed_last.get(watched.index_id, set())
                self._missed_twice[watched.index_id] = missed & last
                self._missed_last[watched.index_id] = missed

    @property
    def unseen(self) -> int:
        """Objects that exist, and that no watch had brought by two audits in a row."""
        return sum(len(uids) for uids in self._missed_twice.values())
