"""Run ``coral`` in this process, as its entry point does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.cli.support import Finished

from coral_cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral


@pytest.fixture
def coral(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Coral:
    """Return a function that runs ``coral`` with some arguments."""

    def run(*arguments: str | Path) -> Finished:
        monkeypatch.setattr("sys.argv", ["coral", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return Finished(int(ended.value.code or 0), shown.out, shown.err)

    return run


@pytest.fixture(scope="session")
def template_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template cache that the session's tests share; never the user's."""
    return tmp_path_factory.mktemp("templates")
