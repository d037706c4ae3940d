"""The provider of control plane and KWOK, and the handle of a cluster of its kind."""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from coral_localcluster.build import report_to_stderr
from coral_localcluster.errors import ClusterStateError
from coral_localcluster.kubectl import run_kubectl
from coral_localcluster.launch import launch
from coral_localcluster.layout import Layout
from coral_localcluster.node_client import NodeClient
from coral_localcluster.paths import clusters_dir, state_dir_of
from coral_localcluster.ports import LOOPBACK
from coral_localcluster.processes import is_running
from coral_localcluster.provider import (
    Capabilities,
    ClusterPhase,
    ClusterStatus,
    ComponentStatus,
)
from coral_localcluster.rest import RestClient
from coral_localcluster.state import read_state
from coral_localcluster.teardown import destroy
from coral_localcluster.waiting import poll_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from kubernetes.client import ApiClient

    from coral_localcluster.build import ProgressReporter
    from coral_localcluster.nodes import GpuNodeSpec
    from coral_localcluster.provider import Cluster, ClusterProvider, ReadyStatus

CAPABILITIES = Capabilities(
    runs_containers=False, routes_services=False, adds_nodes=True, needs_root=False
)
DEFAULT_NAME = "coral"

_NAMESPACE_TIMEOUT_S = 30.0
_STATUS_TIMEOUT_S = 5.0


class LocalCluster:
    """A running control plane with KWOK; made by `start`, `ephemeral` or `attach`.

    As a context manager it ends the cluster at the end of the block, unless the
    cluster was running before this handle was made.
    """

    def __init__(self, *, name: str, state_dir: Path, port: int, was_running: bool) -> None:
        self._name = name
        self._layout = Layout(root=state_dir)
        self._port = port
        self._was_running = was_running

    @classmethod
    def start(
        cls,
        name: str = DEFAULT_NAME,
        *,
        state_dir: Path | None = None,
        is_ephemeral: bool = False,
        timeout_s: float = 60.0,
        report: ProgressReporter = report_to_stderr,
    ) -> Self:
        """Start a cluster, or return the one that runs already (see `was_running`).

        Parameters
        ----------
        name
            Name of the cluster: a DNS label of at most 40 characters.
        state_dir
            Folder for all its files, missing or empty; ``None``: one of that
            name among the kept clusters, where `attach` and the command line
            find it.
        is_ephemeral
            Whether the cluster ends with this process, even if it is killed.
            Otherwise it stays until it is stopped.
        timeout_s
            Longest time from the first process to a ready cluster, in seconds;
            building the programs, which happens once, is not counted.
        report
            Called with a line of progress now and then.

        Raises
        ------
        ClusterStartError
            If a component dies or is late; the message has the end of its log.
        GoToolchainError, BuildError
            If the programs have to be built and cannot be.
        """
        root, state, was_running = launch(
            name,
            state_dir=state_dir,
            is_ephemeral=is_ephemeral,
            timeout_s=timeout_s,
            report=report,
        )
        if state.port is None:
            raise ClusterStateError("StateUnreadable", f"the state in {root} names no port")
        return cls(name=state.name, state_dir=root, port=state.port, was_running=was_running)

    @classmethod
    def ephemeral(
        cls, *, timeout_s: float = 60.0, report: ProgressReporter = report_to_stderr
    ) -> Self:
        """Start a cluster of its own for a test; it ends with this process at the latest.

        Its files are in a new temporary folder, and its name is unique.
        """
        name = f"test-{uuid.uuid4().hex[:8]}"
        state_dir = Path(tempfile.gettempdir()) / f"coral-{name}"
        return cls.start(
            name, state_dir=state_dir, is_ephemeral=True, timeout_s=timeout_s, report=report
        )

    @classmethod
    def attach(cls, name: str = DEFAULT_NAME, *, state_dir: Path | None = None) -> Self:
        """Return the handle of a cluster that runs already.

        Raises
        ------
        ClusterStateError
            If there is none (``reason="NotRunning"``).
        """
        root = state_dir or state_dir_of(name)
        state = read_state(root)
        if state is None or state.port is None or not state.is_ready:
            raise ClusterStateError(
                "NotRunning",
                f"no cluster named {name!r} runs; start it with "
                f"`python -m coral_localcluster start --name {name}`",
                name=name,
            )
        return cls(name=state.name, state_dir=root, port=state.port, was_running=True)

    def __enter__(self) -> Self:
        """Return the cluster itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the cluster, unless it was running before this handle was made."""
        if not self._was_running:
            self.stop()

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return self._name

    @property
    def kubeconfig(self) -> Path:
        """Client configuration of an administrator; it needs no other file."""
        return self._layout.kubeconfig

    @property
    def state_dir(self) -> Path:
        """Folder of all the cluster's files; gone after `stop`."""
        return self._layout.root

    @property
    def server_url(self) -> str:
        """Address of the API server."""
        return f"https://{LOOPBACK}:{self._port}"

    @property
    def capabilities(self) -> Capabilities:
        """What the cluster can do."""
        return CAPABILITIES

    @property
    def was_running(self) -> bool:
        """Whether the cluster ran before this handle was made."""
        return self._was_running

    @property
    def env(self) -> dict[str, str]:
        """Environment of this process with ``KUBECONFIG`` set, for a program to start."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def log_file(self, component: str) -> Path:
        """Return the path of a component's log, such as that of ``kube-scheduler``."""
        return self._layout.log_file(component)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0) -> str:
        """Run ``kubectl`` on this cluster and return what it printed.

        Raises
        ------
        ClusterApiError
            If it fails, with its standard error in the message.
        """
        return run_kubectl(self.kubeconfig, *arguments, stdin=stdin, timeout_s=timeout_s)

    def api_client(self) -> ApiClient:
        """Return a client of the official ``kubernetes`` package; the caller closes it."""
        # Imported when needed: it costs the command line's help a third of a second.
        from kubernetes import client, config

        settings = client.Configuration()
        config.load_kube_config(config_file=str(self.kubeconfig), client_configuration=settings)
        # The environment's proxy is not for loopback.
        settings.proxy = None
        return client.ApiClient(settings)

    def add_nodes(self, nodes: Iterable[GpuNodeSpec], *, timeout_s: float = 120.0) -> None:
        """Create nodes and wait until all are Ready and take pods.

        Nodes of the same name are brought to the description: taints and cordon
        as described, labels, annotations and resources added or replaced (none
        is removed).

        Raises
        ------
        WaitTimeoutError
            If one is not Ready within ``timeout_s``.
        ClusterApiError
            If the API server refuses one.
        """
        with self._nodes() as nodes_client:
            nodes_client.apply(nodes, timeout_s=timeout_s)

    def remove_nodes(self, names: Sequence[str] | None = None, *, timeout_s: float = 60.0) -> None:
        """Delete nodes by name (absent ones are no fault), or all that `add_nodes` made.

        Their pods are deleted by the control plane a little later, as in life.
        """
        with self._nodes() as nodes_client:
            nodes_client.remove(names, timeout_s=timeout_s)

    def set_node_ready(self, name: str, status: ReadyStatus) -> None:
        """Set a node's Ready condition, and keep KWOK from setting it back.

        ``"False"`` and ``"Unknown"`` stay until ``"True"`` is set. The control
        plane adds its not-ready or unreachable taints by itself.
        """
        with self._nodes() as nodes_client:
            nodes_client.set_ready(name, status)

    def cordon(self, name: str, *, is_unschedulable: bool = True) -> None:
        """Make a node refuse new pods; ``is_unschedulable=False`` takes it back."""
        with self._nodes() as nodes_client:
            nodes_client.set_unschedulable(name, is_unschedulable=is_unschedulable)

    @contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """Make a namespace of its own for a test, usable at once; delete it afterwards.

        The deletion goes on in the background; the name is never used again.
        """
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.kubectl("create", "namespace", name)
        try:
            account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            with RestClient(self._layout, self._port) as rest:
                poll_until(
                    lambda: rest.find(account),
                    timeout_s=_NAMESPACE_TIMEOUT_S,
                    what=f"the service account of namespace {name}",
                )
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def status(self) -> ClusterStatus:
        """Look at the cluster."""
        return status_of(self._name, self._layout.root)

    def stop(self) -> None:
        """End the cluster and remove all that belongs to it; does nothing if it is gone."""
        destroy(self._layout.root)

    @contextmanager
    def _nodes(self) -> Iterator[NodeClient]:
        with RestClient(self._layout, self._port) as rest:
            yield NodeClient(rest)


class ControlPlaneProvider:
    """Starts and ends kept clusters of a control plane with KWOK."""

    @property
    def capabilities(self) -> Capabilities:
        """What clusters of this kind can do."""
        return CAPABILITIES

    def start(self, name: str, *, timeout_s: float = 60.0) -> LocalCluster:
        """Start a cluster that is kept, or return the one of that name that runs already."""
        return LocalCluster.start(name, timeout_s=timeout_s)

    def status(self, name: str) -> ClusterStatus:
        """Look at the cluster of that name."""
        return status_of(name, state_dir_of(name))

    def stop(self, name: str) -> bool:
        """End the cluster of that name and remove its files; false if there was none."""
        return destroy(state_dir_of(name))


def kept_cluster_names() -> list[str]:
    """Return the names of the kept clusters, running or broken, in order."""
    folder = clusters_dir()
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(entry.name for entry in entries if entry.is_dir())


def status_of(name: str, state_dir: Path) -> ClusterStatus:
    """Look at the cluster in a state folder.

    Parameters
    ----------
    name
        Name to report where there is no cluster.
    state_dir
        Folder of the cluster.
    """
    state = read_state(state_dir)
    if state is None:
        return ClusterStatus(name=name, phase=ClusterPhase.STOPPED)
    found = tuple(
        ComponentStatus(
            component=process.component, pid=process.pid, is_running=is_running(process)
        )
        for process in state.processes
    )
    layout = Layout(root=state_dir)
    is_sound = (
        state.is_ready
        and state.port is not None
        and all(component.is_running for component in found)
        and _answers(layout, state.port)
    )
    return ClusterStatus(
        name=state.name,
        phase=ClusterPhase.RUNNING if is_sound else ClusterPhase.BROKEN,
        kubeconfig=layout.kubeconfig,
        server_url=None if state.port is None else f"https://{LOOPBACK}:{state.port}",
        components=found,
    )


def _answers(layout: Layout, port: int) -> bool:
    with RestClient(layout, port, timeout_s=_STATUS_TIMEOUT_S) as rest:
        return rest.is_ready()


if TYPE_CHECKING:
    # The type checker holds the classes against the interface here.
    _cluster_type: type[Cluster] = LocalCluster
    _provider_type: type[ClusterProvider] = ControlPlaneProvider
