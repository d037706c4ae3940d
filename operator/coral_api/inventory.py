"""A list of nodes in a file, for planning on a laptop."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from coral_api.gpu_labels import DEFAULT_REGION
from coral_solver.catalog import InventoryRow, gpu_type, inventory_pools
from coral_solver.domain.errors import CatalogError, InvalidInputError
from coral_solver.domain.hardware import CapacityKind

if TYPE_CHECKING:
    from pathlib import Path

    from coral_solver.domain.hardware import GpuPool

MAX_NODES = 100_000
"""Most nodes of a row: more is a slip of the hand."""


def _known_gpu(name: object) -> str:
    try:
        return gpu_type(str(name)).name
    except CatalogError as error:
        raise ValueError(str(error)) from error


def _not_a_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


_Count = Annotated[int, BeforeValidator(_not_a_truth_value)]
_Price = Annotated[FiniteFloat, BeforeValidator(_not_a_truth_value)]


class _Row(BaseModel):
    """One row of an inventory file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: Annotated[str, BeforeValidator(_known_gpu)]
    gpus_per_node: _Count = Field(ge=1, le=64)
    nodes: _Count = Field(ge=0, le=MAX_NODES)
    region: str = Field(DEFAULT_REGION, min_length=1, max_length=63, pattern="^[a-z0-9-]+$")
    kind: CapacityKind = CapacityKind.ON_DEMAND
    node_usd_per_hour: _Price | None = Field(None, ge=0, le=100_000)
    max_nodes: _Count | None = Field(None, ge=1, le=MAX_NODES)


def read_inventory(path: Path) -> tuple[GpuPool, ...]:
    """Read a list of nodes and turn it into GPU pools with every GPU free.

    Parameters
    ----------
    path
        CSV with a header; or a list of mappings in YAML or JSON, by its ending: ``.yaml``,
        ``.yml``, ``.json``.
        Columns: ``gpu``, ``gpus_per_node``, ``nodes``; optional ``region``, ``kind`` (on-demand,
        spot, reserved), ``node_usd_per_hour`` (absent: from the price catalogue), ``max_nodes``
        (then the pool is elastic).

    Returns
    -------
    tuple[GpuPool, ...]
        Sorted by key.

    Raises
    ------
    InvalidInputError
        With every problem of the file, each with its line.
    """
    try:
        # A byte order mark is what spreadsheets put in front.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError([f"{path}: cannot be read: {error}"]) from error
    parse = _yaml_rows if path.suffix in (".yaml", ".yml", ".json") else _csv_rows
    problems: list[str] = []
    rows: list[InventoryRow] = []
    for line, values in parse(text, path):
        where = f"{path}:{line}"
        try:
            row = _Row.model_validate(values)
        except ValidationError as error:
            problems += [f"{where}: {_in_words(fault)}" for fault in error.errors()]
            continue
        if row.max_nodes is not None and row.max_nodes < row.nodes:
            problems.append(f"{where}: max_nodes {row.max_nodes} is below nodes {row.nodes}")
        if row.nodes == 0 and row.max_nodes is None:
            problems.append(f"{where}: nodes is 0: delete the row, or give max_nodes")
        rows.append(InventoryRow(**row.model_dump(), where=where))
    if not rows and not problems:
        problems = [f"{path}: has no rows"]
    if problems:
        raise InvalidInputError(problems)
    return inventory_pools(rows)


def _in_words(fault: Any) -> str:  # noqa: ANN401 - pydantic's own dictionary
    name = ".".join(str(part) for part in fault["loc"]) or "row"
    if fault["type"] == "missing":
        return f"{name}: this column needs a value"
    if fault["type"] == "extra_forbidden":
        return f"unknown column {name}; known are {', '.join(_Row.model_fields)}"
    text = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name}: {text} (given: {fault['input']!r})"


def _csv_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), restkey="too many cells")
    if not reader.fieldnames:
        raise InvalidInputError([f"{path}: is empty; the first line must name the columns"])
    names = [name.strip() for name in reader.fieldnames]
    problems = [
        f"{path}:1: the column {name} is there twice"
        for name, count in Counter(names).items()
        if count > 1
    ]
    if "gpu" not in names:
        problems.append(
            f"{path}:1: no column gpu: the first line must name the columns, with commas between"
            f" them: {', '.join(_Row.model_fields)}"
        )
    if problems:
        raise InvalidInputError(problems)
    rows = []
    for row in reader:
        cells = {
            str(name).strip(): cell.strip() if isinstance(cell, str) else cell
            for name, cell in row.items()
        }
        given = {name: cell for name, cell in cells.items() if cell not in (None, "")}
        # Spreadsheets leave rows of nothing but commas behind.
        if given:
            rows.append((reader.line_num, given))
    return rows


def _yaml_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.SequenceNode):
            raise InvalidInputError([f"{path}: must be a list of mappings"])
        rows = []
        for node in root.value:
            line = node.start_mark.line + 1
            if not isinstance(node, yaml.MappingNode):
                raise InvalidInputError([f"{path}:{line}: must be a mapping such as `gpu: L4`"])
            values = loader.construct_object(node, deep=True)
            rows.append((line, {str(key): value for key, value in values.items()}))
    except yaml.YAMLError as error:
        raise InvalidInputError([f"{path}: is not YAML: {error}"]) from error
    finally:
        loader.dispose()
    return rows
