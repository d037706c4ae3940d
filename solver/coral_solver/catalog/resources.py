"""Reading of the package data."""

from __future__ import annotations

import csv
import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from coral_solver.domain.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Mapping

Record = TypeVar("Record", bound=BaseModel)


def read_text(name: str) -> str:
    """Return a data file's text; ``name`` is its path below ``catalog/data``."""
    return (files("coral_solver.catalog") / "data" / name).read_text(encoding="utf-8")


def read_toml(name: str) -> dict[str, Any]:
    """Return a TOML data file."""
    return tomllib.loads(read_text(name))


def read_rows(name: str, record: type[Record]) -> tuple[Record, ...]:
    """Return the validated rows of a CSV data file; an empty cell counts as absent.

    Raises
    ------
    CatalogError
        If a row does not validate.
    """
    rows = csv.DictReader(read_text(name).splitlines())
    return tuple(
        validated(record, {key: cell for key, cell in row.items() if cell != ""}, name)
        for row in rows
    )


def validated(record: type[Record], value: Mapping[str, Any], name: str) -> Record:
    """Return ``value`` as a record.

    Raises
    ------
    CatalogError
        If it does not validate; ``name`` says which data file is at fault.
    """
    try:
        return record.model_validate(value)
    except ValidationError as error:
        raise CatalogError(
            f"package data {name} does not validate: {error}", reason="InvalidCatalog"
        ) from error
