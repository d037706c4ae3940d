"""Kernels compile and run where nothing can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
from numba.core import caching
caching.CacheImpl._locator_classes = []  # what numba finds in a read-only image
from coral_solver.performance.compiled import compiled
@compiled
def twice(x):
    return 2 * x
assert twice(21) == 42
import coral_solver.performance.kernels
"""


def test_without_a_writable_folder_code_is_compiled_in_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr


def test_compiled_code_is_kept_where_it_can_be(tmp_path: Path) -> None:
    code = "from coral_solver.performance import kernels"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert any(tmp_path.rglob("*.nbi"))
