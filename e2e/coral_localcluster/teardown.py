"""End a cluster, whatever state it is in, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from coral_localcluster.build import PROGRAMS
from coral_localcluster.components import STOP_ORDER
from coral_localcluster.errors import ClusterStateError
from coral_localcluster.locking import exclusive_lock_dir
from coral_localcluster.processes import find_processes, is_running, terminate
from coral_localcluster.state import STATE_FILE, read_state

if TYPE_CHECKING:
    from pathlib import Path

    from coral_localcluster.state import ClusterState

_GRACE_S = 5.0
_BROKEN_GRACE_S = 0.5


def destroy(state_dir: Path) -> bool:
    """End the cluster in a state folder and remove the folder.

    Works the same on a healthy cluster, on one that lost components, on one
    whose start was cut short, and on what a crash left.

    Parameters
    ----------
    state_dir
        Folder of the cluster.

    Returns
    -------
    bool
        Whether there was anything to end or remove.

    Raises
    ------
    ClusterStateError
        If the folder holds something that is no cluster; nothing is removed then.
    """
    with exclusive_lock_dir(state_dir, create=False) as exists:
        if not exists:
            return False
        check_is_ours(state_dir)
        end_processes(state_dir, read_state(state_dir))
        shutil.rmtree(state_dir)
        return True


def check_is_ours(state_dir: Path) -> None:
    """Refuse a folder with something in it that no cluster has put there.

    Raises
    ------
    ClusterStateError
        If it has files but no state of a cluster (``reason="NotAStateDir"``).
    """
    if not (state_dir / STATE_FILE).exists() and any(state_dir.iterdir()):
        raise ClusterStateError(
            "NotAStateDir",
            f"{state_dir} is not empty and holds no cluster's {STATE_FILE}; it is left alone",
            path=str(state_dir),
        )


def end_processes(
    state_dir: Path, state: ClusterState | None, *, grace_s: float = _GRACE_S
) -> None:
    """End every process of a cluster in order; the caller holds the folder's lock.

    Parameters
    ----------
    state_dir
        Folder of the cluster.
    state
        Its record; ``None`` where none was written.
    grace_s
        How long each group of components may take to end by itself, in seconds.
    """
    recorded = state.processes if state is not None else ()
    if not all(is_running(process) for process in recorded):
        # The API server waits in vain for an etcd that is gone, and the others
        # for the API server.
        grace_s = min(grace_s, _BROKEN_GRACE_S)
    for group in STOP_ORDER:
        # The watchdog itself comes here too, when its owner is gone.
        members = [
            record for record in recorded if record.component in group and record.pid != os.getpid()
        ]
        terminate(members, grace_s=grace_s)
    while unrecorded := find_processes(PROGRAMS, mentioning=state_dir):
        terminate(unrecorded, grace_s=grace_s)
