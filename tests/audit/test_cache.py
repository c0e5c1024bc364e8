"""The cache of arrays: records read back, and damaged files count as absent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiresnn.audit.cache import ArrayCache

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
    assert (len(cache), list(cache), "a" in cache) == (0, [], False)
    assert not cache.folder.exists()  # until the first write
    keys = {"screen 0 8/255 40 arctan/alpha=4", "../up", "", "umlaut ä", "a" * 5000}
    for key in keys:
        cache[key] = {**RECORD, "length": np.asarray(len(key))}
    for reader in (cache, ArrayCache(cache.folder)):
        assert set(reader) == keys
        for key in keys:
            same(reader[key], {**RECORD, "length": np.asarray(len(key))})
    assert list(cache.folder.parent.iterdir()) == [cache.folder]
    assert len(list(cache.folder.iterdir())) == 5  # one file each, and no temporary file
    del cache["../up"]
    assert set(cache) == keys - {"../up"}
    with pytest.raises(KeyError, match="absent"):
        cache["absent"]


def test_a_record_written_again_replaces_the_earlier_one_and_reading_gives_a_copy(cache: ArrayCache) -> None:
    cache["a"] = RECORD
    cache["a"]["broken"][0] = 9  # type: ignore[index]
    same(cache["a"], RECORD)
    cache["a"] = {"forward": np.asarray(1)}
    same(cache["a"], {"forward": np.asarray(1)})


def only(cache: ArrayCache) -> Path:
    (path,) = cache.folder.iterdir()
    return path


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"\x93NUMPY\x01\x00"])
def test_a_file_that_holds_something_else_counts_as_absent(cache: ArrayCache, content: bytes) -> None:
    cache["a"] = RECORD
    only(cache).write_bytes(content)
    assert cache.get("a") is None
    assert list(cache) == []
    cache["a"] = RECORD
    same(cache["a"], RECORD)


def test_a_truncated_file_and_one_with_a_changed_byte_count_as_absent(cache: ArrayCache) -> None:
    cache["a"] = {"forward": np.asarray(12)}
    path = only(cache)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place])
        assert cache.get("a") is None, place
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert cache.get("a") is None, place


def test_a_record_under_the_file_name_of_another_counts_as_absent(cache: ArrayCache) -> None:
    cache["a"] = RECORD
    content = only(cache).read_bytes()
    cache["b"] = {"forward": np.asarray(1)}
    for path in cache.folder.iterdir():
        path.write_bytes(content)
    assert "a" in cache
    assert "b" not in cache
