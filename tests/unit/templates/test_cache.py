"""Files of the template cache are trusted only where they prove what they are."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import fields, replace

import numpy as np
import pytest

from coral_solver.templates import cache
from coral_solver.templates.cache import PlacementCache, code_fingerprint, default_cache_dir
from coral_solver.templates.placements import NO_NODE, NO_POINT, Placements

KEY = hashlib.sha256(b"inputs").hexdigest()
OTHER = hashlib.sha256(b"other inputs").hexdigest()
SHAPE = {"num_configs": 2, "num_layers": 7}


@pytest.fixture
def placements():
    """One node with all seven layers, and a pipeline of two nodes."""
    return Placements(
        capacity_req_per_s=np.array([1.5, 4.25]),
        nodes=np.array([[0] + [NO_NODE] * 5, [0, 1] + [NO_NODE] * 4], dtype=np.uint8),
        stages=np.array([[0] + [NO_NODE] * 5, [0, 1] + [NO_NODE] * 4], dtype=np.uint8),
        layers=np.array([[7, 0, 0, 0, 0, 0], [4, 3, 0, 0, 0, 0]], dtype=np.uint16),
        points=np.full(2, NO_POINT, dtype=np.int32),
    )


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_what_is_written_is_read_again(tmp_path, placements):
    folder = tmp_path / "made" / "when needed"
    PlacementCache(folder).write(KEY, placements)

    again = PlacementCache(folder).read(KEY, **SHAPE)

    assert again is not None
    for field in fields(Placements):
        before, after = getattr(placements, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype


def test_an_absent_file_is_no_fault(tmp_path, caplog):
    assert PlacementCache(tmp_path / "nowhere").read(KEY, **SHAPE) is None
    assert not caplog.records


def damage_cut(content):
    return content[: len(content) // 2]


def damage_one_bit(content):
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


def damage_foreign(content):
    return b"not ours at all"


def damage_empty(content):
    return b""


def damage_other_version(content):
    return content.replace(b"coral templates 1", b"coral templates 9")


@pytest.mark.parametrize(
    "damage",
    [damage_cut, damage_one_bit, damage_foreign, damage_empty, damage_other_version],
)
def test_a_damaged_file_is_ignored_with_a_warning(damage, tmp_path, placements, caplog):
    store = PlacementCache(tmp_path)
    store.write(KEY, placements)
    path = only_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))

    assert store.read(KEY, **SHAPE) is None
    assert "is damaged and is built again" in caplog.text

    store.write(KEY, placements)
    assert store.read(KEY, **SHAPE) is not None


def test_a_file_under_another_inputs_name_is_ignored(tmp_path, placements, caplog):
    store = PlacementCache(tmp_path)
    store.write(OTHER, placements)
    only_file(tmp_path).rename(tmp_path / f"{KEY[:32]}.templates")

    assert store.read(KEY, **SHAPE) is None
    assert "made from other inputs" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"capacity_req_per_s": np.array([1.5, np.nan])},
        {"capacity_req_per_s": np.array([1.5, 0.0])},
        {"capacity_req_per_s": np.array([1.5, 4.25], dtype=np.float32)},
        {"nodes": np.array([[0] + [NO_NODE] * 5, [0, 2] + [NO_NODE] * 4], dtype=np.uint8)},
        {"nodes": np.full((2, 6), NO_NODE, dtype=np.uint8)},
        {"layers": np.array([[7, 0, 0, 0, 0, 0], [4, 2, 0, 0, 0, 0]], dtype=np.uint16)},
        {"layers": np.zeros((2, 5), dtype=np.uint16)},
    ],
)
def test_numbers_that_cannot_be_are_ignored(change, tmp_path, placements, caplog):
    store = PlacementCache(tmp_path)
    store.write(KEY, replace(placements, **change))
    assert store.read(KEY, **SHAPE) is None
    assert "is damaged" in caplog.text


def test_a_file_that_cannot_be_read_is_ignored(tmp_path, caplog):
    (tmp_path / f"{KEY[:32]}.templates").mkdir()
    assert PlacementCache(tmp_path).read(KEY, **SHAPE) is None
    assert "cannot be read" in caplog.text


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path, placements, caplog):
    (tmp_path / "taken").write_text("a file where the folder should be")
    PlacementCache(tmp_path / "taken").write(KEY, placements)
    assert "cannot be written" in caplog.text


def test_a_failed_write_leaves_nothing_behind(tmp_path, placements, monkeypatch):
    def full_disk(placements, key):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_encode", full_disk)
    PlacementCache(tmp_path).write(KEY, placements)
    assert list(tmp_path.iterdir()) == []


def test_beyond_its_size_the_cache_forgets_what_was_used_longest_ago(
    tmp_path, placements, monkeypatch, caplog
):
    caplog.set_level(logging.WARNING)
    store = PlacementCache(tmp_path)
    keys = [hashlib.sha256(bytes([i])).hexdigest() for i in range(3)]
    store.write(keys[0], placements)
    store.write(keys[1], placements)
    size = only_size = next(tmp_path.iterdir()).stat().st_size
    for age, key in enumerate(keys[:2]):
        stamp_ns = 10**18 + age * 10**9
        os.utime(tmp_path / f"{key[:32]}.templates", ns=(stamp_ns, stamp_ns))
    assert store.read(keys[0], **SHAPE) is not None  # now the younger of the two

    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", 2 * only_size + size // 2)
    store.write(keys[2], placements)

    assert store.read(keys[0], **SHAPE) is not None
    assert store.read(keys[1], **SHAPE) is None
    assert store.read(keys[2], **SHAPE) is not None


def test_the_fingerprint_covers_code_and_package_data(tmp_path, monkeypatch):
    for package in ("domain", "catalog", "performance", "templates"):
        (tmp_path / package).mkdir()
    (tmp_path / "catalog" / "gpus.toml").write_text("memory = 24")
    monkeypatch.setattr(cache.coral_solver, "__file__", str(tmp_path / "__init__.py"))
    before = code_fingerprint.__wrapped__()

    (tmp_path / "templates" / "__pycache__").mkdir()
    (tmp_path / "templates" / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert code_fingerprint.__wrapped__() == before

    (tmp_path / "catalog" / "gpus.toml").write_text("memory = 23")
    assert code_fingerprint.__wrapped__() != before


def test_the_default_folder_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir().parts[-2:] == ("coral", "templates")
