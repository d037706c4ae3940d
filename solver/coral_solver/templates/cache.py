"""Placements on disk: files that prove what they are, or are built again."""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from platformdirs import user_cache_path

import coral_solver
from coral_solver.templates.placements import MOST_NODES, NO_NODE, Placements

if TYPE_CHECKING:
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

MAX_CACHE_BYTES = 1 << 30
"""Beyond this total the files used longest ago are deleted."""

_MAGIC = b"coral templates 1\n"
_SUFFIX = ".templates"
_PACKAGES = ("domain", "catalog", "performance", "templates")
_COLUMNS = {
    "capacity_req_per_s": (np.float64, False),
    "nodes": (np.uint8, True),
    "stages": (np.uint8, True),
    "layers": (np.uint16, True),
    "points": (np.int32, False),
}


def default_cache_dir() -> Path:
    """Return the folder of the user's cache that template libraries are kept in."""
    return user_cache_path("coral") / "templates"


@cache
def code_fingerprint() -> str:
    """Return a digest of all code and package data that templates follow from.

    A constant to be raised by hand would be forgotten one day; the sources take a few
    milliseconds to read.
    """
    digest = hashlib.sha256()
    root = Path(coral_solver.__file__).parent
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(root).as_posix().encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class PlacementCache:
    """A folder of placement files, one per key.

    Parameters
    ----------
    folder
        Created when the first file is written. Deleting it, or any file in it, is safe at any
        time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str, *, num_configs: int, num_layers: int) -> Placements | None:
        """Return the placements that were written under a key.

        Parameters
        ----------
        key
            Hexadecimal digest of all that the placements depend on.
        num_configs, num_layers
            What the placements must refer to.

        Returns
        -------
        Placements or None
            None if there is no file. A file that cannot be trusted is None too, with a warning in
            the log: it will be written anew.
        """
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as fault:
            _log.warning("template cache %s cannot be read and is ignored: %s", path, fault)
            return None
        try:
            placements = _decode(content, key)
            _check(placements, num_configs, num_layers)
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as fault:
            _log.warning("template cache %s is damaged and is built again: %s", path, fault)
            return None
        try:
            path.touch()  # The deletion order is that of the last use.
        except OSError:
            _log.debug("template cache %s is read-only", path)
        return placements

    def write(self, key: str, placements: Placements) -> None:
        """Keep placements under a key; a fault is logged and not raised.

        The file appears whole or not at all, also beside other processes that write the same.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=self._folder, suffix=".part", delete=False
            ) as file:
                temporary = Path(file.name)
                try:
                    file.write(_encode(placements, key))
                    file.close()
                    temporary.replace(self._path(key))
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
            self._shrink()
        except OSError as fault:
            _log.warning("template cache %s cannot be written: %s", self._folder, fault)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key[:32]}{_SUFFIX}"

    def _shrink(self) -> None:
        entries = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # Another process deleted it.
            entries.append((status.st_mtime_ns, status.st_size, path))
        entries.sort(reverse=True)
        total_bytes = 0
        for index, (_, size_bytes, path) in enumerate(entries):
            total_bytes += size_bytes
            if total_bytes > MAX_CACHE_BYTES and index > 0:
                path.unlink(missing_ok=True)


def _encode(placements: Placements, key: str) -> bytes:
    buffer = io.BytesIO()
    columns = {name: getattr(placements, name) for name in _COLUMNS}
    np.savez(buffer, allow_pickle=False, key=np.array(key), **columns)
    payload = buffer.getvalue()
    return _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def _decode(content: bytes, key: str) -> Placements:
    head = len(_MAGIC) + 65
    if not content.startswith(_MAGIC) or len(content) < head:
        raise ValueError("not a template file of this version")
    payload = content[head:]
    if content[len(_MAGIC) : head] != hashlib.sha256(payload).hexdigest().encode() + b"\n":
        raise ValueError("the checksum does not match")
    with np.load(io.BytesIO(payload), allow_pickle=False) as columns:
        if str(columns["key"]) != key:
            raise ValueError("made from other inputs")
        return Placements(**{name: columns[name] for name in _COLUMNS})


def _check(placements: Placements, num_configs: int, num_layers: int) -> None:
    """Raise ValueError unless every number can be what it says."""
    size = len(placements.capacity_req_per_s)
    width = placements.nodes.shape[-1]
    if not 1 <= width <= MOST_NODES:
        raise ValueError(f"placements of {width} nodes")
    for name, (dtype, is_wide) in _COLUMNS.items():
        column: NDArray[np.generic] = getattr(placements, name)
        if column.dtype != dtype or column.shape != ((size, width) if is_wide else (size,)):
            raise ValueError(f"column {name} has type {column.dtype}, shape {column.shape}")
    present = placements.nodes != NO_NODE
    if (
        not np.isfinite(placements.capacity_req_per_s).all()
        or (placements.capacity_req_per_s <= 0).any()
        or not present[:, 0].all()
        or (placements.nodes[present] >= num_configs).any()
        or (present != (placements.stages != NO_NODE)).any()
        or (placements.stages[present] >= width).any()
        or (placements.layers.sum(axis=1, dtype=np.int64) != num_layers).any()
    ):
        raise ValueError("numbers out of range")
