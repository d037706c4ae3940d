"""Clusters start, survive, and end without a trace; each test has its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import coral_localcluster
from coral_localcluster import (
    ClusterPhase,
    ClusterStartError,
    ClusterStateError,
    ControlPlaneProvider,
    LocalCluster,
    components,
    launch,
    poll_until,
)
from coral_localcluster.ports import LOOPBACK, reserved_port
from coral_localcluster.state import read_state

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("programs")]

PACKAGE_PARENT = str(Path(coral_localcluster.__file__).parent.parent)


def processes_of(state_dir: Path) -> list[str]:
    """Return the command lines of all live processes that mention a state folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(state_dir) in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


def assert_no_trace(state_dir: Path) -> None:
    """Check that neither a process nor a file of a cluster is left."""
    assert processes_of(state_dir) == []
    assert not state_dir.exists()


def pid_of(cluster: LocalCluster, component: str) -> int:
    """Return the process id of a component."""
    (pid,) = (item.pid for item in cluster.status().components if item.component == component)
    return pid


@contextmanager
def owner_process(state_dir: Path, then: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of its own that starts an ephemeral cluster and goes on with `then`."""
    code = (
        "import signal, sys; from pathlib import Path; from coral_localcluster import *\n"
        f"cluster = LocalCluster.start('owned', state_dir=Path({str(state_dir)!r}), "
        f"is_ephemeral=True)\nprint('ready', flush=True)\n{then}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": PACKAGE_PARENT},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_stop_leaves_no_trace() -> None:
    """Everything that a cluster had is in its folder and its processes, and both are gone."""
    with LocalCluster.ephemeral() as cluster:
        assert len(processes_of(cluster.state_dir)) == 6
        mode = cluster.state_dir.stat().st_mode & 0o777
        assert mode == 0o700, "the folder holds an administrator's token"
    assert_no_trace(cluster.state_dir)
    assert cluster.status().phase is ClusterPhase.STOPPED
    cluster.stop()


def test_start_twice_returns_the_same(clusters_home: Path) -> None:
    """The second start changes nothing and says so; its `with` block does not end the cluster."""
    provider = ControlPlaneProvider()
    with LocalCluster.start("dev") as first:
        assert not first.was_running
        with provider.start("dev") as second:
            assert second.was_running
            assert second.server_url == first.server_url
        assert LocalCluster.attach("dev").status().phase is ClusterPhase.RUNNING
        # A kept cluster has no watchdog.
        components_now = [item.component for item in first.status().components]
        assert components.WATCHDOG not in components_now
    assert_no_trace(clusters_home / "dev")
    assert not provider.stop("dev")
    with pytest.raises(ClusterStateError) as caught:
        LocalCluster.attach("dev")
    assert caught.value.reason == "NotRunning"


def test_two_clusters_at_once_do_not_meet(tmp_path: Path) -> None:
    """Started in the same moment, each has its own server and data."""

    def start(name: str) -> LocalCluster:
        return LocalCluster.start(name, state_dir=tmp_path / name, is_ephemeral=True)

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(start, ("one", "two"))
    with one, two:
        assert one.server_url != two.server_url
        one.kubectl("create", "namespace", "only-in-one")
        assert "only-in-one" in one.kubectl("get", "namespaces", "-o", "name")
        assert "only-in-one" not in two.kubectl("get", "namespaces", "-o", "name")
    assert_no_trace(tmp_path / "one")
    assert_no_trace(tmp_path / "two")


def test_killed_component_is_seen_and_mended(clusters_home: Path) -> None:
    """A cluster without its etcd is broken; starting it makes a fresh one, stopping ends it."""
    with LocalCluster.start("dev") as cluster:
        old_pid = pid_of(cluster, "kube-apiserver")
        os.kill(pid_of(cluster, "etcd"), signal.SIGKILL)
        # A kill takes effect a moment after it was sent.
        poll_until(
            lambda: cluster.status().phase is ClusterPhase.BROKEN,
            timeout_s=10,
            what="the cluster to be seen as broken",
        )
        with LocalCluster.start("dev") as again:
            assert not again.was_running
            assert again.status().phase is ClusterPhase.RUNNING
            assert pid_of(again, "kube-apiserver") != old_pid
            os.kill(pid_of(again, "kube-apiserver"), signal.SIGKILL)
            assert ControlPlaneProvider().stop("dev")
    assert_no_trace(clusters_home / "dev")


def test_killed_owner_leaves_no_trace(tmp_path: Path) -> None:
    """A test run that is killed outright takes its cluster with it."""
    state_dir = tmp_path / "owned"
    with owner_process(state_dir, "signal.pause()") as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        assert processes_of(state_dir)
        owner.kill()
        owner.wait()
        poll_until(
            lambda: not state_dir.exists() and not processes_of(state_dir),
            timeout_s=20,
            what="the watchdog's work",
        )


def test_owner_that_forgets_to_stop_leaves_no_trace(tmp_path: Path) -> None:
    """A program that just ends takes its cluster with it."""
    state_dir = tmp_path / "owned"
    with owner_process(state_dir, "") as owner:
        assert owner.wait() == 0
        poll_until(
            lambda: not state_dir.exists() and not processes_of(state_dir),
            timeout_s=20,
            what="the watchdog's work",
        )


def test_owner_killed_while_starting_leaves_no_trace(tmp_path: Path) -> None:
    """Also where some components are up and others are not."""
    state_dir = tmp_path / "owned"
    with owner_process(state_dir, "signal.pause()") as owner:
        poll_until(
            lambda: any("kube-apiserver" in line for line in processes_of(state_dir)),
            timeout_s=20,
            what="the API server's process",
        )
        owner.kill()
        owner.wait()
        poll_until(
            lambda: not state_dir.exists() and not processes_of(state_dir),
            timeout_s=20,
            what="the watchdog's work",
        )


def test_cluster_outlives_the_thread_that_started_it() -> None:
    """A parent-death signal would end it here, since it goes by threads."""
    clusters: list[LocalCluster] = []
    thread = threading.Thread(target=lambda: clusters.append(LocalCluster.ephemeral()))
    thread.start()
    thread.join()
    with clusters[0] as cluster:
        assert cluster.kubectl("get", "nodes") == ""
        assert cluster.status().phase is ClusterPhase.RUNNING


def test_interrupted_start_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during the start ends what was started."""

    def interrupt(*_: object, **__: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(components, "scheduler_command", interrupt)
    with pytest.raises(KeyboardInterrupt):
        LocalCluster.start("c", state_dir=tmp_path / "c")
    assert_no_trace(tmp_path / "c")


def test_dying_component_is_named_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the component's own words, and the rest is ended."""
    real = components.etcd_command
    monkeypatch.setattr(
        components, "etcd_command", lambda *args: [*real(*args), "--no-such-flag=1"]
    )
    with pytest.raises(ClusterStartError, match="no-such-flag") as caught:
        LocalCluster.start("c", state_dir=tmp_path / "c", is_ephemeral=True)
    assert caught.value.reason == "ComponentDied"
    assert caught.value.fields["component"] == "etcd"
    assert_no_trace(tmp_path / "c")


def test_late_cluster_is_ended(tmp_path: Path) -> None:
    """A start that takes too long says what was late, and leaves nothing."""
    with pytest.raises(ClusterStartError, match="the API server was not ready") as caught:
        LocalCluster.start("c", state_dir=tmp_path / "c", timeout_s=0.2)
    assert caught.value.reason == "ClusterStartTimeout"
    assert_no_trace(tmp_path / "c")


def test_lost_port_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the chosen port is taken before it is used, the start goes on with another."""
    offers: list[int] = []

    @contextmanager
    def unlucky_at_first() -> Iterator[int]:
        if offers:
            with reserved_port() as port:
                offers.append(port)
                yield port
            return
        with socket.socket() as taker:
            taker.bind((LOOPBACK, 0))
            taker.listen()
            offers.append(taker.getsockname()[1])
            yield offers[0]

    monkeypatch.setattr(launch, "reserved_port", unlucky_at_first)
    with LocalCluster.start("c", state_dir=tmp_path / "c", is_ephemeral=True) as cluster:
        assert len(offers) == 2
        assert cluster.server_url == f"https://127.0.0.1:{offers[1]}"
    assert_no_trace(tmp_path / "c")


def test_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A cluster is not started into a folder with files of another kind."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ClusterStateError) as caught:
        LocalCluster.start("c", state_dir=tmp_path)
    assert caught.value.reason == "NotAStateDir"
    assert read_state(tmp_path) is None


def test_long_folder_names_do_no_harm(tmp_path: Path) -> None:
    """The path of a socket is short; that of a folder need not be."""
    state_dir = tmp_path / ("long-" * 20) / ("name-" * 20)
    with LocalCluster.start("c", state_dir=state_dir, is_ephemeral=True) as cluster:
        assert cluster.status().phase is ClusterPhase.RUNNING
    assert_no_trace(state_dir)
