"""Start a control plane and KWOK as plain processes, in a folder of their own."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coral_localcluster import components
from coral_localcluster.build import ensure_toolset, report_to_stderr
from coral_localcluster.errors import (
    ClusterApiError,
    ClusterStartError,
    PortConflictError,
    WaitTimeoutError,
)
from coral_localcluster.layout import Layout
from coral_localcluster.locking import exclusive_lock_dir
from coral_localcluster.paths import check_cluster_name, state_dir_of
from coral_localcluster.ports import reserved_port
from coral_localcluster.processes import current_process, excerpt_of, is_running, spawn
from coral_localcluster.rest import RestClient
from coral_localcluster.state import ClusterState, read_state
from coral_localcluster.teardown import check_is_ours, end_processes
from coral_localcluster.waiting import poll_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coral_localcluster.build import ProgressReporter, Toolset

PROVIDER_NAME = "controlplane"

_LOG = logging.getLogger(__name__)
_MAX_PORT_ATTEMPTS = 5
_FAILED_START_GRACE_S = 1.0
# The API server takes connections some time before it answers; between two
# questions the components are looked at.
_ANSWER_TIMEOUT_S = 2.0
_DEFAULT_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
_PORT_TAKEN = "address already in use"


def launch(
    name: str,
    *,
    state_dir: Path | None = None,
    is_ephemeral: bool = False,
    timeout_s: float = 60.0,
    report: ProgressReporter = report_to_stderr,
) -> tuple[Path, ClusterState, bool]:
    """Start a cluster, or find the one that runs already in that folder.

    What a crash left in the folder is ended and removed first. If the start
    fails or is interrupted, everything that it had started is ended.

    Parameters
    ----------
    name
        Name of the cluster.
    state_dir
        Folder for all its files, missing or empty; ``None``: the one of that name.
    is_ephemeral
        Whether the cluster ends with this process.
    timeout_s
        Longest time from the first process to a ready cluster, in seconds; a
        build of the programs comes before it.
    report
        Called with a line of progress now and then.

    Returns
    -------
    tuple of Path, ClusterState and bool
        State folder, state, and whether the cluster was running before.

    Raises
    ------
    ClusterStartError
        If a component dies or is late; the message has the end of its log.
    GoToolchainError, BuildError
        If the programs have to be built and cannot be.
    """
    check_cluster_name(name)
    toolset = ensure_toolset(report=report)
    root = (state_dir or state_dir_of(name)).expanduser().absolute()
    with exclusive_lock_dir(root, create=True):
        check_is_ours(root)
        found = read_state(root)
        if found is not None:
            if found.is_ready and all(is_running(process) for process in found.processes):
                _LOG.info("cluster %s is running already in %s", found.name, root)
                return root, found, True
            _LOG.info("cluster %s is broken; starting it anew", found.name)
            end_processes(root, found)
        started = ClusterState(
            name=name,
            provider=PROVIDER_NAME,
            owner=current_process("owner") if is_ephemeral else None,
        )
        try:
            return root, _start_on_free_port(root, toolset, started, timeout_s), False
        except BaseException:
            # Last of all, and not between two attempts: the lock is the folder's.
            with contextlib.suppress(OSError):
                root.rmdir()
            raise


def _start_on_free_port(
    root: Path, toolset: Toolset, state: ClusterState, timeout_s: float
) -> ClusterState:
    for _ in range(_MAX_PORT_ATTEMPTS - 1):
        try:
            return _Start(root, toolset, state, timeout_s).run()
        except PortConflictError:
            _LOG.info("the chosen port was taken meanwhile; trying another")
    return _Start(root, toolset, state, timeout_s).run()


class _Start:
    """One attempt at starting a cluster, in a folder that the caller has locked."""

    def __init__(self, root: Path, toolset: Toolset, state: ClusterState, timeout_s: float) -> None:
        self._layout = Layout(root=root)
        self._toolset = toolset
        self._state = state
        self._timeout_s = timeout_s
        self._deadline_s = time.monotonic() + timeout_s

    def run(self) -> ClusterState:
        try:
            self._empty_folder()
            self._state.write(self._layout.root)
            self._start_watchdog()
            self._write_credentials()
            with (
                reserved_port() as port,
                RestClient(self._layout, port, timeout_s=_ANSWER_TIMEOUT_S) as rest,
            ):
                self._start_api(port, rest)
                self._start_controllers(rest)
            self._state = replace(self._state, is_ready=True)
            self._state.write(self._layout.root)
        except BaseException:
            # Also on Ctrl-C: nothing may stay, and nobody else knows of it yet.
            end_processes(self._layout.root, self._state, grace_s=_FAILED_START_GRACE_S)
            self._empty_folder()
            raise
        return self._state

    def _empty_folder(self) -> None:
        for entry in self._layout.root.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _spawn(
        self, component: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        record = spawn(
            component,
            command,
            working_dir=self._layout.root,
            log_path=self._layout.log_file(component),
            environment=environment,
        )
        self._state = self._state.with_process(record)
        self._state.write(self._layout.root)

    def _start_watchdog(self) -> None:
        self._layout.logs_dir.mkdir()
        if self._state.owner is None:
            return
        # The package may be importable in this process only through a changed
        # sys.path, which a new interpreter would not have.
        package_parent = str(Path(__file__).resolve().parent.parent)
        search_path = os.pathsep.join(
            part for part in (package_parent, os.environ.get("PYTHONPATH")) if part
        )
        self._spawn(
            components.WATCHDOG,
            [sys.executable, "-P", "-m", "coral_localcluster.watchdog", str(self._layout.root)],
            environment={**os.environ, "PYTHONPATH": search_path},
        )

    def _write_credentials(self) -> None:
        done = subprocess.run(
            components.credentials_command(self._toolset, self._layout),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterStartError(
                "CredentialsFailed", f"cannot make the certificates: {done.stderr.strip()}"
            )
        token = secrets.token_hex(24)
        self._write_private(self._layout.token_file, f'{token},admin,1,"system:masters"\n')
        stages = list(self._toolset.stages_dir.glob("*.yaml"))
        self._layout.stages_file.write_text(components.kwok_config_text(stages), encoding="utf-8")

    def _write_private(self, path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")

    def _start_api(self, port: int, rest: RestClient) -> None:
        self._state = replace(self._state, port=port)
        token = self._layout.token_file.read_text(encoding="utf-8").partition(",")[0]
        text = components.kubeconfig_text(
            name=self._state.name,
            port=port,
            token=token,
            ca_pem=(self._layout.pki_dir / "ca.crt").read_bytes(),
        )
        self._write_private(self._layout.kubeconfig, text)
        self._spawn(components.ETCD, components.etcd_command(self._toolset, self._layout))
        self._spawn(
            components.APISERVER,
            components.apiserver_command(self._toolset, self._layout, port=port),
        )
        self._wait_for(
            rest.is_ready,
            what="the API server",
            suspects=(components.APISERVER, components.ETCD),
        )

    def _start_controllers(self, rest: RestClient) -> None:
        commands = {
            components.CONTROLLER_MANAGER: components.controller_manager_command,
            components.SCHEDULER: components.scheduler_command,
            components.KWOK: components.kwok_command,
        }
        for component, command in commands.items():
            self._spawn(component, command(self._toolset, self._layout))
        # A namespace refuses pods until it has this account; the controller
        # manager makes it.
        self._wait_for(
            lambda: _is_there(rest, _DEFAULT_ACCOUNT),
            what="the default service account",
            suspects=(components.CONTROLLER_MANAGER, components.APISERVER),
        )

    def _wait_for(
        self, probe: Callable[[], object], *, what: str, suspects: tuple[str, ...]
    ) -> None:
        """Wait for an answer, and give up at once when any component has died."""

        def probe_the_living() -> object:
            for process in self._state.processes:
                if not is_running(process):
                    raise self._death_of(process.component)
            return probe()

        try:
            poll_until(
                probe_the_living,
                timeout_s=max(0.0, self._deadline_s - time.monotonic()),
                what=what,
            )
        except WaitTimeoutError as error:
            excerpts = "\n".join(
                f"--- {suspect}:\n{excerpt_of(self._layout.log_file(suspect))}"
                for suspect in suspects
            )
            raise ClusterStartError(
                "ClusterStartTimeout",
                f"{what} was not ready within {self._timeout_s:g} s of the start\n{excerpts}",
                cluster=self._state.name,
                waited_for=what,
            ) from error

    def _death_of(self, component: str) -> ClusterStartError:
        excerpt = excerpt_of(self._layout.log_file(component))
        if _PORT_TAKEN in excerpt:
            return PortConflictError(
                "PortConflict", f"the port of {component} was taken\n{excerpt}", component=component
            )
        return ClusterStartError(
            "ComponentDied",
            f"{component} ended while the cluster started; its log says\n{excerpt}",
            cluster=self._state.name,
            component=component,
        )


def _is_there(rest: RestClient, path: str) -> bool:
    try:
        return rest.find(path) is not None
    except ClusterApiError:
        # If the API server has died, the next look at the processes says so.
        return False
