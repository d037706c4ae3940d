"""What any kind of local cluster offers, so that tests do not depend on one kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from coral_localcluster.nodes import GpuNodeSpec

ReadyStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a kind of cluster can do beyond the Kubernetes API.

    Parameters
    ----------
    runs_containers
        Whether pods execute anything; if not, they only say that they run.
    routes_services
        Whether service addresses and names lead anywhere.
    adds_nodes
        Whether nodes can be added and removed at any time.
    needs_root
        Whether it must be started by root.
    """

    runs_containers: bool
    routes_services: bool
    adds_nodes: bool
    needs_root: bool


class ClusterPhase(StrEnum):
    """How a cluster is."""

    STOPPED = "stopped"
    """There is none of that name."""
    RUNNING = "running"
    """Started, with every component alive and the API server ready."""
    BROKEN = "broken"
    """Started or being started, with something missing; stop or start mends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """One process of a cluster.

    Parameters
    ----------
    component
        What it runs.
    pid
        Its process id.
    is_running
        Whether it is alive.
    """

    component: str
    pid: int
    is_running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """A cluster as found when asked.

    Parameters
    ----------
    name
        Name of the cluster.
    phase
        How it is.
    kubeconfig
        Client configuration; ``None`` when stopped.
    server_url
        Address of the API server; ``None`` when stopped.
    components
        Its processes.
    """

    name: str
    phase: ClusterPhase
    kubeconfig: Path | None = None
    server_url: str | None = None
    components: tuple[ComponentStatus, ...] = ()


class Cluster(Protocol):
    """A running cluster."""

    @property
    def name(self) -> str:
        """Name of the cluster."""

    @property
    def kubeconfig(self) -> Path:
        """Client configuration of an administrator."""

    @property
    def capabilities(self) -> Capabilities:
        """What the cluster can do."""

    def add_nodes(self, nodes: Iterable[GpuNodeSpec], *, timeout_s: float = 120.0) -> None:
        """Create nodes, or bring those that exist to the description; wait until Ready."""

    def remove_nodes(self, names: Sequence[str] | None = None, *, timeout_s: float = 60.0) -> None:
        """Delete nodes by name, or all that `add_nodes` made."""

    def set_node_ready(self, name: str, status: ReadyStatus) -> None:
        """Make a node Ready, NotReady or of unknown state, and keep it so."""

    def cordon(self, name: str, *, is_unschedulable: bool = True) -> None:
        """Make a node refuse new pods, or accept them again."""

    def status(self) -> ClusterStatus:
        """Look at the cluster."""

    def stop(self) -> None:
        """End the cluster and remove all that belongs to it; does nothing if it is gone."""


class ClusterProvider(Protocol):
    """Starts and ends clusters of one kind."""

    @property
    def capabilities(self) -> Capabilities:
        """What clusters of this kind can do."""

    def start(self, name: str, *, timeout_s: float = 60.0) -> Cluster:
        """Start a cluster, or return the one of that name that runs already."""

    def status(self, name: str) -> ClusterStatus:
        """Look at the cluster of that name."""

    def stop(self, name: str) -> bool:
        """End the cluster of that name; false if there was none."""
