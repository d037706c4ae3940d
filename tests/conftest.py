"""Options and fixtures that every level of tests shares."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from coral_localcluster import LocalCluster, cached_toolset

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files instead of comparing"
    )


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """A real API server, scheduler and controller manager, with emulated nodes; one per run."""
    if cached_toolset() is None and shutil.which("go") is None:
        pytest.skip("the local cluster's programs are not built and there is no Go to build them")
    with LocalCluster.ephemeral() as running:
        yield running
