"""Processes are told apart by more than their number."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from coral_localcluster import poll_until
from coral_localcluster.processes import (
    ProcessRecord,
    current_process,
    excerpt_of,
    find_processes,
    is_running,
    spawn,
    start_token_of,
    terminate,
)

EARLIER = "another-boot:1"
IGNORES_SIGTERM = (
    "import signal, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1]).touch(); signal.pause()"
)


def start(tmp_path: Path, code: str, *arguments: str) -> ProcessRecord:
    """Start a Python program."""
    return spawn(
        "sample",
        [sys.executable, "-c", code, *arguments],
        working_dir=tmp_path,
        log_path=tmp_path / "log",
    )


def test_this_process_runs() -> None:
    """A record of a live process is recognised."""
    assert is_running(current_process("me"))


def test_reused_pid_is_somebody_else() -> None:
    """A process with the same number that started at another time is not the recorded one."""
    assert not is_running(replace(current_process("old"), start_token=EARLIER))


def test_reused_pid_is_never_signalled() -> None:
    """Ending a stale record leaves the innocent process (this one) alone."""
    terminate([ProcessRecord(component="old", pid=os.getpid(), start_token=EARLIER)], grace_s=0.1)
    assert is_running(current_process("me"))


def test_absent_pid_has_no_token() -> None:
    """A number that no process has is answered with None."""
    assert start_token_of(2**22 + 1) is None


def test_dead_child_is_not_running(tmp_path: Path) -> None:
    """A child that ended counts as gone although nobody has waited for it."""
    record = start(tmp_path, "pass")
    poll_until(lambda: not is_running(record), timeout_s=10, what="the child to end")


def test_terminate_is_polite_first(tmp_path: Path) -> None:
    """A process that handles SIGTERM ends in its own way."""
    code = (
        "import signal, pathlib, sys\n"
        "def end(*_): print('goodbye', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path(sys.argv[1]).touch(); signal.pause()"
    )
    record = start(tmp_path, code, str(tmp_path / "up"))
    poll_until((tmp_path / "up").exists, timeout_s=10, what="the program to be up")
    terminate([record], grace_s=10)
    assert not is_running(record)
    assert excerpt_of(tmp_path / "log") == "goodbye"


def test_terminate_kills_what_lingers(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed after the grace."""
    record = start(tmp_path, IGNORES_SIGTERM, str(tmp_path / "up"))
    poll_until((tmp_path / "up").exists, timeout_s=10, what="the program to be up")
    terminate([record], grace_s=0.1)
    assert not is_running(record)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_find_processes_needs_name_and_folder(tmp_path: Path) -> None:
    """Only our programs on our folder are found: not an editor on the same file."""
    name = Path(sys.executable).name
    record = start(tmp_path, IGNORES_SIGTERM, str(tmp_path / "up"))
    try:
        poll_until((tmp_path / "up").exists, timeout_s=10, what="the program to be up")
        found = find_processes([name], mentioning=tmp_path)
        assert [process.pid for process in found] == [record.pid]
        assert find_processes(["controlplane"], mentioning=tmp_path) == []
        # A folder whose name only begins the same is another folder.
        assert find_processes([name], mentioning=tmp_path.with_name(tmp_path.name[:-1])) == []
    finally:
        terminate([record], grace_s=0)


def test_excerpt_of_a_missing_log_says_so(tmp_path: Path) -> None:
    """A message about a fault is not itself a fault."""
    assert "no log" in excerpt_of(tmp_path / "absent")


def test_excerpt_has_both_ends(tmp_path: Path) -> None:
    """An error before pages of help, and one after pages of log, are both seen."""
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {i}" for i in range(100)), encoding="utf-8")
    lines = excerpt_of(log).splitlines()
    # 3 first lines, the mark of what is left out, 15 last ones.
    assert (len(lines), lines[0], lines[3], lines[-1]) == (19, "line 0", "...", "line 99")
