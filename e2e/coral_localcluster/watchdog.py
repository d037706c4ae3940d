"""End a cluster when the process that it belongs to is gone, however that ended.

A program of its own, started with every cluster that is not kept. The kernel's
``PR_SET_PDEATHSIG`` was not chosen: it fires when the *thread* that started the
child ends, runs code between fork and exec in a program with threads, exists on
Linux only, and would leave the state folder behind. This way needs one small
process more, and does the same clean-up as `stop`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from coral_localcluster.processes import is_running
from coral_localcluster.state import read_state
from coral_localcluster.teardown import destroy

_POLL_INTERVAL_S = 0.25


def watch(state_dir: Path) -> None:
    """Wait until the owner of a cluster ends, then end the cluster.

    Returns early if the cluster is gone, or is somebody else's.

    Parameters
    ----------
    state_dir
        Folder of the cluster, with the owner in its state.
    """
    state = read_state(state_dir)
    if state is None or state.owner is None:
        return
    owner = state.owner
    while is_running(owner):
        if not state_dir.exists():
            return
        time.sleep(_POLL_INTERVAL_S)
    latest = read_state(state_dir)
    if latest is not None and latest.owner == owner:
        destroy(state_dir)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
