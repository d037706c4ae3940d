"""Documents: plain data from a file, and to standard output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer
import yaml

from coral_cli.options import OutputFormat
from coral_solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path


def write_document(document: dict[str, Any], output: OutputFormat) -> None:
    """Print data for programs, as JSON or as YAML."""
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        typer.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


def read_document(path: Path) -> dict[str, Any]:
    """Read a plan or a ServingPlan, in JSON or YAML, as plain data.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or holds anything but one mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InvalidInputError([f"{path}: there is no such file"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError([f"{path}: cannot be read: {error}"]) from error
    try:
        document = json.loads(text)
    except ValueError:
        document = _from_yaml(text, path)
    except RecursionError as error:
        raise InvalidInputError([f"{path}: is nested too deeply to be a plan"]) from error
    if not isinstance(document, dict):
        raise InvalidInputError([f"{path}: this is no plan: `coral plan ... -o json` writes one"])
    return document


def _from_yaml(text: str, path: Path) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInputError([f"{path}: is neither JSON nor YAML: {error}"]) from error
