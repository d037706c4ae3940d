"""Fixtures for the tests of the local cluster itself."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from coral_localcluster import cached_toolset

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def programs() -> None:
    """Skip unless a cluster can be started here."""
    if cached_toolset() is None and shutil.which("go") is None:
        pytest.skip("the local cluster's programs are not built and there is no Go to build them")


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `go` first on PATH that builds in no time; returns the file where it logs its calls.

    It obeys two files beside its log: `version` is what it says it is, and where
    `fail` exists, building fails.
    """
    folder = tmp_path / "fake-go"
    stages = folder / "kwok" / "kustomize" / "stage"
    for name in (
        "node/fast/node-initialize.yaml",
        "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
        "pod/fast/pod-ready.yaml",
        "pod/fast/pod-complete.yaml",
        "pod/fast/pod-delete.yaml",
    ):
        (stages / name).parent.mkdir(parents=True, exist_ok=True)
        (stages / name).write_text(f"# {name}\n", encoding="utf-8")
    (folder / "version").write_text("go1.26.8\n", encoding="utf-8")
    program = folder / "go"
    program.write_text(
        f"""#!/bin/sh
echo "$1" >> "{folder}/calls"
case "$1" in
env) cat "{folder}/version" ;;
list) echo "{folder}/kwok" ;;
build)
    if [ -e "{folder}/fail" ]; then echo "main.go:1: undefined: nonsense" >&2; exit 1; fi
    while [ "$1" != -o ]; do shift; done
    echo program > "$2/controlplane"; echo program > "$2/kwok" ;;
esac
""",
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "calls"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the cache at an empty folder, and return the folder of the builds in it."""
    monkeypatch.setenv("CORAL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "localcluster"


@pytest.fixture
def clusters_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the state folder at an empty one, and return the folder of the clusters in it."""
    monkeypatch.setenv("CORAL_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "clusters"
