"""Where things are kept: built programs in a cache, clusters in a state folder.

Both are outside the source tree, so that a fresh clone finds what an older one
has built, and nothing of a cluster can be committed by accident.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from coral_localcluster.errors import ClusterStateError

_NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


def cache_dir() -> Path:
    """Return the folder of built programs: ``$CORAL_CACHE_DIR`` or ``~/.cache/coral``."""
    configured = os.environ.get("CORAL_CACHE_DIR")
    if configured:
        return Path(configured).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "coral"


def clusters_dir() -> Path:
    """Return the folder of kept clusters: ``$CORAL_STATE_DIR`` or ``~/.local/state/coral``.

    Each cluster has a folder of its name in it.
    """
    configured = os.environ.get("CORAL_STATE_DIR")
    if configured:
        return Path(configured).expanduser().absolute() / "clusters"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "coral" / "clusters"


def state_dir_of(name: str) -> Path:
    """Return the state folder of the kept cluster called ``name``.

    Raises
    ------
    ClusterStateError
        If the name is not a DNS label of at most 40 characters.
    """
    check_cluster_name(name)
    return clusters_dir() / name


def check_cluster_name(name: str) -> None:
    """Refuse a name that could not be a folder's and a kubeconfig context's.

    Raises
    ------
    ClusterStateError
        If the name is not a DNS label of at most 40 characters
        (``reason="InvalidClusterName"``).
    """
    if _NAME_PATTERN.fullmatch(name) is None:
        raise ClusterStateError(
            "InvalidClusterName",
            f"{name!r} cannot be a cluster's name: use at most 40 lower-case letters, digits "
            "and dashes, with no dash at either end",
            name=name,
        )
