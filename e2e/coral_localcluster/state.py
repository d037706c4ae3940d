"""What is written down about a cluster, so that another process can find and end it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from coral_localcluster.errors import ClusterStateError
from coral_localcluster.processes import ProcessRecord

if TYPE_CHECKING:
    from pathlib import Path

STATE_FILE = "state.json"
_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """One cluster's record.

    Parameters
    ----------
    name
        Name of the cluster.
    provider
        Name of the provider that runs it.
    port
        Port of the API server on loopback; ``None`` before one was chosen.
    is_ready
        Whether the start came to its end.
    owner
        Process that the cluster dies with; ``None`` for a cluster that is kept.
    processes
        All processes, in the order of their start.
    """

    name: str
    provider: str
    port: int | None = None
    is_ready: bool = False
    owner: ProcessRecord | None = None
    processes: tuple[ProcessRecord, ...] = ()

    def with_process(self, record: ProcessRecord) -> ClusterState:
        """Return the same state with one process more."""
        return replace(self, processes=(*self.processes, record))

    def write(self, state_dir: Path) -> None:
        """Write the record into the cluster's folder, all of it or nothing."""
        scratch = state_dir / f"{STATE_FILE}.tmp"
        document = {"format": _FORMAT_VERSION, **asdict(self)}
        scratch.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        scratch.replace(state_dir / STATE_FILE)


def read_state(state_dir: Path) -> ClusterState | None:
    """Read the record of the cluster in ``state_dir``; ``None`` where there is none.

    Raises
    ------
    ClusterStateError
        If there is one that cannot be understood (``reason="StateUnreadable"``).
    """
    path = state_dir / STATE_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _state_from(document)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterStateError(
            "StateUnreadable",
            f"{path} cannot be read as a cluster's state ({error}); if no process of that "
            "cluster is left, remove the folder",
            path=str(path),
        ) from error


def _state_from(document: Any) -> ClusterState:  # noqa: ANN401 - whatever the file holds
    if document["format"] != _FORMAT_VERSION:
        raise ValueError(f"format {document['format']!r}, not {_FORMAT_VERSION}")
    owner = document["owner"]
    return ClusterState(
        name=document["name"],
        provider=document["provider"],
        port=document["port"],
        is_ready=document["is_ready"],
        owner=None if owner is None else ProcessRecord(**owner),
        processes=tuple(ProcessRecord(**record) for record in document["processes"]),
    )
