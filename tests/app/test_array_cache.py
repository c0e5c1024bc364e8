"""The cache of arrays: records read back, and damaged files count as absent."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiresnn.app.audit import ArrayCache

RECORD: dict[str, Any] = {
    "broken": np.array([3, 1, 2]),
    "images": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 1, 3, 4),
    "wrong": np.array([True, False]),
    "nothing": np.zeros((0, 3), np.float32),
    "forward": np.asarray(12),
    "seconds": np.asarray(1 / 3),
}


@pytest.fixture
def cache(tmp_path: Path) -> ArrayCache:
    return ArrayCache(tmp_path / "pieces")


def same(found: Any, expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].shape == values.shape
        assert (found[name] == values).all()


def test_a_record_reads_back_also_from_another_cache_on_the_folder(cache: ArrayCache) -> None:
    cache["wave pgd at 8/255 0-200"] = RECORD
    for each in (cache, ArrayCache(cache.folder)):
        same(each["wave pgd at 8/255 0-200"], RECORD)


def test_the_folder_is_created_on_the_first_write(cache: ArrayCache) -> None:
    assert (len(cache), list(cache)) == (0, [])
    assert "a" not in cache
    assert not cache.folder.exists()
    cache["a"] = {}
    assert cache.folder.is_dir()
    same(cache["a"], {})


def test_each_record_is_one_file_and_no_temporary_file_remains(cache: ArrayCache) -> None:
    for key in ("a", "b", "a"):
        cache[key] = RECORD
    assert len(list(cache.folder.iterdir())) == 2
    assert {path.suffix for path in cache.folder.iterdir()} == {".npz"}


def test_keys_may_hold_any_characters(cache: ArrayCache) -> None:
    keys = {"scout 0 8/255 40 arctan/alpha=4", "../up", "", "umlaut ä", "a" * 5000}
    for key in keys:
        cache[key] = {"is": np.asarray(len(key))}
    assert set(cache) == keys
    assert len(cache) == 5
    assert {key: int(record["is"]) for key, record in cache.items()} == {key: len(key) for key in keys}
    assert list(cache.folder.parent.iterdir()) == [cache.folder]
    del cache["../up"]
    assert set(cache) == keys - {"../up"}
    with pytest.raises(KeyError, match="up"):
        del cache["../up"]


def test_a_record_written_again_replaces_the_earlier_one(cache: ArrayCache) -> None:
    cache["a"] = RECORD
    cache["a"] = {"forward": np.asarray(1)}
    same(cache["a"], {"forward": np.asarray(1)})


def test_a_missing_record_is_a_key_error(cache: ArrayCache) -> None:
    with pytest.raises(KeyError, match="absent"):
        cache["absent"]
    assert cache.get("absent") is None


def only(cache: ArrayCache) -> Path:
    (path,) = cache.folder.iterdir()
    return path


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"\x93NUMPY\x01\x00"])
def test_a_file_that_holds_something_else_counts_as_absent(cache: ArrayCache, content: bytes) -> None:
    cache["a"] = RECORD
    only(cache).write_bytes(content)
    assert cache.get("a") is None
    assert "a" not in cache
    assert list(cache) == []
    cache["a"] = RECORD
    same(cache["a"], RECORD)


def test_a_file_ends_with_the_digest_of_its_archive(cache: ArrayCache) -> None:
    cache["a"] = RECORD
    whole = only(cache).read_bytes()
    assert whole[-32:] == hashlib.sha256(whole[:-32]).digest()
    with np.load(io.BytesIO(whole[:-32])) as file:
        assert set(file) == {*RECORD, "unit"}


def test_a_truncated_file_counts_as_absent(cache: ArrayCache) -> None:
    cache["a"] = {"forward": np.asarray(12)}
    path = only(cache)
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        assert cache.get("a") is None, length


def test_a_file_with_one_changed_byte_counts_as_absent(cache: ArrayCache) -> None:
    cache["a"] = {"forward": np.asarray(12)}
    path = only(cache)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        assert cache.get("a") is None, place


def test_a_record_under_the_file_name_of_another_counts_as_absent(cache: ArrayCache) -> None:
    cache["a"] = RECORD
    content = only(cache).read_bytes()
    cache["b"] = {"forward": np.asarray(1)}
    for path in cache.folder.iterdir():
        path.write_bytes(content)
    assert "a" in cache
    assert "b" not in cache


def test_an_archive_without_its_key_counts_as_absent(cache: ArrayCache) -> None:
    cache["a"] = RECORD
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **RECORD)
    whole = buffer.getvalue()
    only(cache).write_bytes(whole + hashlib.sha256(whole).digest())  # undamaged, then
    assert "a" not in cache
    assert list(cache) == []


def test_changing_a_record_after_reading_does_not_change_the_cache(cache: ArrayCache) -> None:
    cache["a"] = RECORD
    cache["a"]["broken"][0] = 9  # type: ignore[index]
    same(cache["a"], RECORD)


def test_an_interrupted_write_keeps_the_earlier_record(cache: ArrayCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache["a"] = RECORD

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hiresnn.files.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache["a"] = {"forward": np.asarray(1)}
    same(cache["a"], RECORD)
    assert len(cache) == 1
