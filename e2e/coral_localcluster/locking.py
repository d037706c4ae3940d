"""Locks between processes; the system drops them when their holder dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def exclusive_lock_file(path: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file, which is created and stays; waits for another holder.

    Parameters
    ----------
    path
        File to lock; its folder exists.
    on_wait
        Called once before waiting, where another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, on_wait)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_lock_dir(path: Path, *, create: bool) -> Iterator[bool]:
    """Hold the lock of a folder itself, so that removing the folder leaves no lock behind.

    Parameters
    ----------
    path
        Folder to lock.
    create
        Whether to create it where it is missing.

    Yields
    ------
    bool
        Whether the folder exists and is locked; always true with ``create``.
    """
    descriptor = _open_and_lock_dir(path, create=create)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open_and_lock_dir(path: Path, *, create: bool) -> int | None:
    while True:
        if create:
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except FileExistsError:
                if path.exists() and not path.is_dir():
                    raise
                continue  # it was removed between mkdir's two looks at it
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if create:
                continue
            return None
        try:
            _lock(descriptor, None)
            if _is_same_file(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Whoever held the lock removed the folder meanwhile: this is the lock of
        # a folder that no longer has a name.
        os.close(descriptor)


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, on_wait: Callable[[], None] | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is not None:
            on_wait()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
