"""Every field of every kind of child, compared with reviewed files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from engine_pod_cases import cases

FOLDER = Path(__file__).parent / "manifests"


class _Plain(yaml.SafeDumper):
    """Writes every value where it is used, and text of several lines as such."""

    def ignore_aliases(self, data):
        return True


_Plain.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


@pytest.mark.parametrize("name", sorted(cases()))
def test_children_are_those_that_were_reviewed(name, request):
    children = cases()[name].children()
    text = yaml.dump_all(children.manifests, Dumper=_Plain, sort_keys=True, width=99)
    file = FOLDER / f"{name}.yaml"
    if request.config.getoption("--update-golden"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert children.problems == ()
    assert text == file.read_text(encoding="utf-8")


def test_no_reviewed_file_is_left_over():
    assert sorted(file.stem for file in FOLDER.glob("*.yaml")) == sorted(cases())
