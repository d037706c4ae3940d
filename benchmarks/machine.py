"""What every published table says about where it was made."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import coral_solver

ROOT = Path(__file__).parents[1]
PACKAGES = ("domain", "catalog", "performance", "templates", "allocation")


@cache
def solver_fingerprint() -> str:
    """Return a short digest of the source and data that a plan follows from."""
    digest = hashlib.sha256()
    root = Path(coral_solver.__file__).parent
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def commit() -> str:
    """Return the commit that is checked out, with a plus sign where files differ from it."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "no git"


def machine() -> str:
    """Return a line with processor, cores, memory, commit and digest of the solver."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB; Python "
        f"{platform.python_version()}; commit {commit()}, solver {solver_fingerprint()}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for row in info.read_text(encoding="utf-8").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
