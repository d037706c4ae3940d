"""Manifests that the tests of the API change one field of."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

DATA = Path(__file__).parent / "data"


@pytest.fixture
def service_manifest() -> dict[str, Any]:
    """Return a service with one model of the catalogue; the test may change it."""
    parts = yaml.safe_load((DATA / "bad_manifests.yaml").read_text(encoding="utf-8"))["parts"]
    return deepcopy(parts["service"])
