"""``coral crds`` prints what kubectl can apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral


def test_the_printed_definitions_are_those_of_the_files(coral: Coral, tmp_path: Path) -> None:
    printed = list(yaml.safe_load_all(coral("crds").stdout))
    assert coral("crds", "-o", tmp_path).exit_code == 0
    written = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()]
    assert {d["metadata"]["name"] for d in printed} == {d["metadata"]["name"] for d in written}
    assert len(printed) == 5
