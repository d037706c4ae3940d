"""The operator as a process against a cluster, the way the demo, tests and benchmarks run it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

STOP_LIMIT_S = 20.0


class OperatorProcess:
    """A running ``coral-operator``; a context manager that stops it.

    Parameters
    ----------
    kubeconfig
        Cluster to act on.
    folder
        Where its log and its template cache go.
    arguments
        Further command-line arguments.
    """

    def __init__(self, kubeconfig: Path, folder: Path, arguments: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "operator.log"
        self.liveness_port, self.metrics_port = _free_port(), _free_port()
        command = [
            sys.executable,
            "-m",
            "coral_operator.main",
            f"--kubeconfig={kubeconfig}",
            f"--liveness-port={self.liveness_port}",
            f"--metrics-port={self.metrics_port}",
            f"--cache-dir={folder / 'templates'}",
            *arguments,
        ]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask the operator to end, and make it end if it does not."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_LIMIT_S)
            return
        self.kill()

    def kill(self) -> None:
        """End the operator as a crash would: no clean-up of its own, its children go with it."""
        family = [*psutil.Process(self._process.pid).children(recursive=True)]
        self._process.send_signal(signal.SIGKILL)
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.wait()

    def resident_bytes(self) -> dict[str, int]:
        """Return the memory of the operator and of its children, by command name and id."""
        root = psutil.Process(self._process.pid)
        return {
            f"{process.name()}[{process.pid}]": process.memory_info().rss
            for process in (root, *root.children(recursive=True))
        }

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of the log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


def _free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
