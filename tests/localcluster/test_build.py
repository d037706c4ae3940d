"""Building the programs: once, whole or not at all, with faults that say what to do."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coral_localcluster.build import (
    MODULE_DIR,
    cache_key,
    cached_toolset,
    ensure_toolset,
    kubernetes_version,
)
from coral_localcluster.errors import BuildError, GoToolchainError


def silent(message: str) -> None:
    """Take the place of the progress report."""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """Return a copy of the Go module, to be changed."""
    return Path(shutil.copytree(MODULE_DIR, tmp_path / "gomodule"))


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "cmd/kwok/main.go"])
def test_key_changes_with_every_source(module: Path, name: str) -> None:
    """A program built from other sources is never taken for these."""
    before = cache_key(module)
    with (module / name).open("a", encoding="utf-8") as file:
        file.write("\n")
    assert cache_key(module) != before


def test_key_changes_with_a_new_source(module: Path) -> None:
    """A further Go file counts too."""
    before = cache_key(module)
    (module / "cmd" / "kwok" / "more.go").write_text("package main\n", encoding="utf-8")
    assert cache_key(module) != before


def test_key_does_not_depend_on_the_clone(module: Path) -> None:
    """Two clones of the same commit share what was built."""
    assert cache_key(module) == cache_key(MODULE_DIR)


def test_version_is_read_from_the_module() -> None:
    """The Kubernetes version is written down once, in go.mod."""
    assert kubernetes_version() == "v1.36.3"


def test_second_call_needs_no_go(
    fake_go: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is cached is used on a machine without Go."""
    first = ensure_toolset(report=silent)
    monkeypatch.setenv("PATH", "")
    assert ensure_toolset(report=silent) == first
    assert fake_go.read_text(encoding="utf-8").split() == ["env", "build", "list"]


def test_entry_holds_everything(fake_go: Path, empty_cache: Path) -> None:
    """Programs and stages lie in the entry, so the module cache may be emptied."""
    toolset = ensure_toolset(report=silent)
    assert toolset.root.parent == empty_cache
    assert toolset.controlplane.exists()
    assert toolset.kwok.exists()
    assert sorted(path.name for path in toolset.stages_dir.iterdir()) == [
        "node-heartbeat-with-lease.yaml",
        "node-initialize.yaml",
        "pod-complete.yaml",
        "pod-delete.yaml",
        "pod-ready.yaml",
    ]


def test_two_builders_build_once(fake_go: Path, empty_cache: Path) -> None:
    """The second builder waits for the first and uses its work."""
    with ThreadPoolExecutor(4) as pool:
        toolsets = set(pool.map(lambda _: ensure_toolset(report=silent), range(4)))
    assert len(toolsets) == 1
    assert fake_go.read_text(encoding="utf-8").split().count("build") == 1


def test_failed_build_says_why_and_leaves_nothing(fake_go: Path, empty_cache: Path) -> None:
    """The compiler's words reach the user, and a later build starts afresh."""
    failure = fake_go.parent / "fail"
    failure.touch()
    with pytest.raises(BuildError, match="undefined: nonsense") as caught:
        ensure_toolset(report=silent)
    assert caught.value.reason == "BuildFailed"
    assert cached_toolset() is None
    assert [path.suffix for path in empty_cache.iterdir()] == [".lock"]
    failure.unlink()
    assert ensure_toolset(report=silent) == cached_toolset()


def test_leftover_of_a_killed_build_is_removed(fake_go: Path, empty_cache: Path) -> None:
    """A half-built folder is neither used nor kept."""
    leftover = empty_cache / f"{cache_key()}.tmp-killed"
    leftover.mkdir(parents=True)
    ensure_toolset(report=silent)
    assert not leftover.exists()


def test_missing_go_is_a_typed_fault(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go the user is told what to install, and nothing is left behind."""
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(GoToolchainError, match=r"Install Go 1\.26 or newer") as caught:
        ensure_toolset(report=silent)
    assert caught.value.reason == "GoMissing"
    assert not empty_cache.exists()


@pytest.mark.parametrize("version", ["go1.25.9", "go1.9", "nonsense", ""])
def test_old_go_is_a_typed_fault(fake_go: Path, empty_cache: Path, version: str) -> None:
    """1.9 is older than 1.26, which a comparison of strings would deny."""
    (fake_go.parent / "version").write_text(version, encoding="utf-8")
    with pytest.raises(GoToolchainError) as caught:
        ensure_toolset(report=silent)
    assert caught.value.reason == "GoTooOld"


def test_newer_go_is_welcome(fake_go: Path, empty_cache: Path) -> None:
    """The pinned version is a minimum."""
    (fake_go.parent / "version").write_text("go1.30", encoding="utf-8")
    assert ensure_toolset(report=silent).kwok.exists()
