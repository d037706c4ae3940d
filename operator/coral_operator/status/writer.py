"""Write statuses where they differ, and nowhere else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from coral_operator.kube.errors import KubeError, NotFoundError

if TYPE_CHECKING:
    from coral_api.base import ApiModel
    from coral_operator.kube.client import KubeClient, Manifest
    from coral_operator.kube.kinds import Kind

log = logging.getLogger(__name__)


class StatusWriter:
    """Writes statuses, and knows what it wrote before the watch brings it back.

    Without that memory the next step would take an old status for the present one, find its
    transitions new, and write again.

    Parameters
    ----------
    kube
        Requests.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._written: dict[str, Manifest] = {}

    def current(self, manifest: Manifest) -> Manifest:
        """Return an object with the status that it has, or will have when the watch catches up."""
        status = self._written.get(str(manifest["metadata"].get("uid")))
        return manifest if status is None else {**manifest, "status": status}

    def forget(self) -> None:
        """Believe the watches again: somebody else may have changed a status."""
        self._written.clear()

    async def write(self, kind: Kind, manifest: Manifest, status: ApiModel) -> bool:
        """Write the status of an object if it differs from ``current``.

        Returns
        -------
        bool
            Whether it was written. A failure is logged: the next step tries again.
        """
        wanted = status.to_json()
        if (manifest.get("status") or {}) == wanted:
            return False
        metadata = manifest["metadata"]
        try:
            await self._kube.write_status(kind, metadata["name"], wanted, metadata.get("namespace"))
        except NotFoundError:
            return False
        except KubeError as error:
            log.warning("status of %s %s: %s", kind.kind, metadata["name"], error)
            return False
        self._written[str(metadata.get("uid"))] = wanted
        return True
