"""The operator as a process against a cluster, the way the demo, tests and benchmarks run it."""

from __future__ import annotations

import os
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
    name
        Its identity among operators of one cluster, and the name of its log.
    """

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        arguments: Sequence[str] = (),
        *,
        name: str = "operator",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / f"{name}.log"
        self.liveness_port, self.metrics_port = _free_port(), _free_port()
        command = [
            sys.executable,
            "-m",
            "coral_operator.main",
            f"--kubeconfig={kubeconfig}",
            f"--liveness-port={self.liveness_port}",
            f"--metrics-port={self.metrics_port}",
            f"--cache-dir={folder / 'templates'}",
            f"--identity={name}",
            *arguments,
        ]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={key: value for key, value in os.environ.items() if key != "KUBECONFIG"},
            )

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
        return self.process.poll() is None

    def stop(self) -> int:
        """Ask the operator to end, and make it end if it does not; return its exit status."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(STOP_LIMIT_S)
        self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """End the operator as a crash would: no clean-up of its own, its children go with it."""
        family = [*psutil.Process(self.process.pid).children(recursive=True)]
        self.process.send_signal(signal.SIGKILL)
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait()

    def resident_bytes(self) -> dict[str, int]:
        """Return the memory of the operator, and of its children (the planning worker)."""
        root = psutil.Process(self.process.pid)
        children = root.children(recursive=True)
        return {
            "the operator": root.memory_info().rss,
            "its planning worker": sum(child.memory_info().rss for child in children),
        }

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of the log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


def _free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
