"""The command line teaches, and tells faults in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import coral_localcluster
from coral_localcluster.cli import app

PACKAGE_PARENT = str(Path(coral_localcluster.__file__).parent.parent)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "coral_localcluster", *arguments],
        env={**os.environ, "PYTHONPATH": PACKAGE_PARENT},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    ["build", "start", "stop", "status", "add-nodes", "remove-nodes", "kubeconfig"],
)
def test_every_command_has_help(command: str) -> None:
    """Help exists and needs no cluster."""
    answer = CliRunner().invoke(app, [command, "--help"])
    assert answer.exit_code == 0
    assert "Usage:" in answer.output


def test_fault_is_one_line(clusters_home: Path) -> None:
    """An absent cluster is no stack trace, and the message says how to start one."""
    answer = run("kubeconfig", "--name", "nobody")
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: NotRunning: no cluster named 'nobody' runs; start it")
    assert answer.stderr.count("\n") == 1


def test_status_without_clusters(clusters_home: Path) -> None:
    """Nothing there is an answer, and a fault only for one that was asked for."""
    assert run("status").returncode == 0
    assert run("status", "--name", "nobody").returncode == 1


def test_remove_nodes_wants_a_choice(clusters_home: Path) -> None:
    """All nodes go only when that is said."""
    assert run("remove-nodes").returncode == 2
    assert run("remove-nodes", "a", "--all").returncode == 2


@pytest.mark.cluster
@pytest.mark.usefixtures("programs")
def test_a_session(clusters_home: Path) -> None:
    """Start, nodes, use, stop, as the help shows it."""
    try:
        started = run("start", "--name", "demo")
        assert started.returncode == 0, started.stderr
        kubeconfig = clusters_home / "demo" / "kubeconfig"
        assert f"export KUBECONFIG={kubeconfig}\n" in started.stdout
        assert "stop --name demo" in started.stdout
        assert "running already" in run("start", "--name", "demo").stdout
        added = run("add-nodes", "H100x8:1", "L4x4:2", "--name", "demo", "--taint")
        assert added.stdout.startswith("3 nodes with 16 GPUs are Ready"), added.stderr
        assert run("kubeconfig", "--name", "demo").stdout == f"{kubeconfig}\n"
        assert run("remove-nodes", "--all", "--name", "demo").returncode == 0
        assert "demo: running" in run("status").stdout
    finally:
        stopped = run("stop", "--name", "demo")
    assert "is stopped and removed" in stopped.stdout
    assert "nothing to do" in run("stop", "--name", "demo").stdout
