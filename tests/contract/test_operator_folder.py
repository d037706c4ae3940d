"""`operator/` is a folder beside Python's own `operator` module; it must never become a package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_operator_folder_is_not_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "solver" / "__init__.py").exists()


def test_python_run_from_the_root_finds_its_own_operator_module() -> None:
    code = "import operator, sys; assert operator.itemgetter; print(operator.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not Path(shown.stdout.strip()).is_relative_to(ROOT)
