"""Start, recognise and end the processes of a cluster.

A process id alone says little after a crash: the system may have given it to
another program. So each process is recorded with the moment that it started,
and one is only ever signalled while both still agree.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coral_localcluster.errors import WaitTimeoutError
from coral_localcluster.waiting import poll_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_PROC = Path("/proc")
_KILL_WAIT_S = 10.0
_EXCERPT_HEAD_LINES = 3
_EXCERPT_TAIL_LINES = 15

# Process ids of children whose exit status has not been collected yet; until
# then they stay as zombies.
_children: set[int] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One process, told apart from any later one with the same id.

    Parameters
    ----------
    component
        What it runs, such as ``etcd``.
    pid
        Process id.
    start_token
        Boot and moment at which it started, as `start_token_of` writes it.
    """

    component: str
    pid: int
    start_token: str


def start_token_of(pid: int) -> str | None:
    """Return a word that names the start of process ``pid``; ``None`` if it is not running.

    A zombie is not running: it has ended, and only its exit status is left.
    """
    if _PROC.joinpath("self", "stat").exists():
        return _start_token_from_proc(pid)
    return _start_token_from_ps(pid)


def current_process(component: str) -> ProcessRecord:
    """Return the record of this very process."""
    pid = os.getpid()
    return ProcessRecord(component=component, pid=pid, start_token=start_token_of(pid) or "")


def spawn(
    component: str,
    command: Sequence[str],
    *,
    working_dir: Path,
    log_path: Path,
    environment: Mapping[str, str] | None = None,
) -> ProcessRecord:
    """Start a program in a session of its own, with its output in a file.

    The session keeps a Ctrl-C at the terminal from reaching it: a cluster is
    ended in order, by `terminate`, and not all at once.
    """
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            list(command),
            cwd=working_dir,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.add(child.pid)
    # A kept cluster outlives this program. Popen would warn of that at the end of
    # the program, so it is told that the exit status is no longer its concern.
    child.returncode = 0
    return ProcessRecord(
        component=component, pid=child.pid, start_token=start_token_of(child.pid) or ""
    )


def is_running(record: ProcessRecord) -> bool:
    """Return whether the very process of the record still runs."""
    _collect_exit_status(record.pid)
    return bool(record.start_token) and start_token_of(record.pid) == record.start_token


def terminate(records: Sequence[ProcessRecord], *, grace_s: float) -> None:
    """Ask processes to end, wait, and kill those that do not; returns when all are gone.

    Parameters
    ----------
    records
        Processes to end, all at the same time. Those already gone are skipped.
    grace_s
        How long they may take to end by themselves, in seconds.

    Raises
    ------
    WaitTimeoutError
        If one survives being killed, which takes a broken system.
    """
    _signal_all(records, signal.SIGTERM)
    with contextlib.suppress(WaitTimeoutError):
        _wait_gone(records, timeout_s=grace_s)
        return
    _signal_all(records, signal.SIGKILL)
    _wait_gone(records, timeout_s=_KILL_WAIT_S)


def find_processes(programs: Iterable[str], mentioning: Path) -> list[ProcessRecord]:
    """Find running processes by program name and by a folder named in their arguments.

    Finds what was started in the instant before its starter was killed, so that
    no record of it was written. Empty where the system has no ``/proc``.

    Parameters
    ----------
    programs
        Base names of the programs.
    mentioning
        A folder; at least one argument contains a path below it.
    """
    names = frozenset(programs)
    needle = f"{mentioning}/"
    found = []
    for entry in _PROC.glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if Path(arguments[0]).name not in names or not any(needle in arg for arg in arguments[1:]):
            continue
        pid = int(entry.name)
        token = start_token_of(pid)
        if token is not None:
            found.append(ProcessRecord(component="unrecorded", pid=pid, start_token=token))
    return found


def excerpt_of(path: Path) -> str:
    """Return the first and last lines of a log; a word of explanation where there are none.

    The first, because some programs say what is wrong and print pages of help after it.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error.strerror})"
    if len(lines) > _EXCERPT_HEAD_LINES + _EXCERPT_TAIL_LINES:
        lines[_EXCERPT_HEAD_LINES:-_EXCERPT_TAIL_LINES] = ["..."]
    return "\n".join(lines) or "(the log is empty)"


def _collect_exit_status(pid: int) -> None:
    if pid in _children:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                return
        _children.discard(pid)


def _start_token_from_proc(pid: int) -> str | None:
    try:
        stat = _PROC.joinpath(str(pid), "stat").read_text(encoding="utf-8", errors="replace")
        boot_id = _PROC.joinpath("sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # The program's name, in parentheses, may itself hold spaces and parentheses.
    # After it: state is field 3, start time in clock ticks since boot is field 22.
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot_id}:{start_ticks}"


def _start_token_from_ps(pid: int) -> str | None:
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _signal_all(records: Iterable[ProcessRecord], signal_number: signal.Signals) -> None:
    for record in records:
        if is_running(record):
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, signal_number)


def _wait_gone(records: Sequence[ProcessRecord], *, timeout_s: float) -> None:
    poll_until(
        lambda: not any(is_running(record) for record in records),
        timeout_s=timeout_s,
        interval_s=0.02,
        what=", ".join(record.component for record in records) + " to end",
    )
