"""Writes what is generated from the models: CRDs, the chart's copy, the reference pages.

``python -m coral_api.generate`` writes; with ``--check`` it writes nothing, names the files that
differ and exits with 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from coral_api.crds import crd_files
from coral_api.reference import api_page, conditions_page

CRD_FOLDERS = ("crds", "helm/coral/crds")


def generated_files() -> dict[str, str]:
    """Return the text of every generated file by its path from the repository's root."""
    crds = crd_files()
    files = {f"{folder}/{name}": text for folder in CRD_FOLDERS for name, text in crds.items()}
    files["docs/reference/api.md"] = api_page()
    files["docs/reference/conditions.md"] = conditions_page()
    return files


def differences(root: Path) -> list[str]:
    """Return what differs from the generated files, one line each; left-over CRDs count.

    Parameters
    ----------
    root
        Root of the repository.
    """
    wanted = generated_files()
    found = []
    for name, text in sorted(wanted.items()):
        path = root / name
        if not path.is_file():
            found.append(f"{name}: missing")
        elif path.read_text(encoding="utf-8") != text:
            found.append(f"{name}: differs from the models")
    for folder in CRD_FOLDERS:
        for path in sorted((root / folder).glob("*.yaml")):
            if f"{folder}/{path.name}" not in wanted:
                found.append(f"{folder}/{path.name}: no model makes this file")
    return found


def write(root: Path) -> None:
    """Write every generated file, and delete CRDs that no model makes any more.

    Parameters
    ----------
    root
        Root of the repository.
    """
    wanted = generated_files()
    for folder in CRD_FOLDERS:
        for path in (root / folder).glob("*.yaml"):
            if f"{folder}/{path.name}" not in wanted:
                path.unlink()
    for name, text in wanted.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m coral_api.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on differences")
    parser.add_argument(
        "--root", type=Path, default=Path(), help="root of the repository (default: here)"
    )
    options = parser.parse_args(arguments)
    if not (options.root / "pyproject.toml").is_file():
        print(f"{options.root} is not the root of the repository", file=sys.stderr)
        return 2
    if not options.check:
        write(options.root)
        return 0
    found = differences(options.root)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("run `make manifests` and commit the result", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
