"""The notebook: what was written comes back, and what is damaged counts as not done."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiresnn.runs.notebook import Notebook

RECORD: dict[str, Any] = {
    "broken": np.array([3, 1, 2]),
    "images": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 1, 3, 4),
    "wrong": np.array([True, False]),
    "nothing": np.zeros((0, 3), np.float32),
    "forward": np.asarray(12),
    "seconds": np.asarray(1 / 3),
}


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "pieces")


def same(found: Any, expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].shape == values.shape
        assert (found[name] == values).all()


def test_a_piece_comes_back_as_it_was_also_in_another_notebook_on_the_folder(notebook: Notebook) -> None:
    notebook["wave pgd at 8/255 0-200"] = RECORD
    for each in (notebook, Notebook(notebook.folder)):
        same(each["wave pgd at 8/255 0-200"], RECORD)


def test_the_folder_is_made_on_the_first_write(notebook: Notebook) -> None:
    assert (len(notebook), list(notebook)) == (0, [])
    assert "a" not in notebook
    assert not notebook.folder.exists()
    notebook["a"] = {}
    assert notebook.folder.is_dir()
    same(notebook["a"], {})


def test_each_piece_is_one_file_and_nothing_else_is_left_behind(notebook: Notebook) -> None:
    for key in ("a", "b", "a"):
        notebook[key] = RECORD
    assert len(list(notebook.folder.iterdir())) == 2
    assert {path.suffix for path in notebook.folder.iterdir()} == {".npz"}


def test_it_is_a_mapping_whose_keys_may_hold_anything(notebook: Notebook) -> None:
    keys = {"scout 0 8/255 40 arctan/alpha=4", "../up", "", "umlaut ä", "a" * 5000}
    for key in keys:
        notebook[key] = {"is": np.asarray(len(key))}
    assert set(notebook) == keys
    assert len(notebook) == 5
    assert {key: int(record["is"]) for key, record in notebook.items()} == {key: len(key) for key in keys}
    assert list(notebook.folder.parent.iterdir()) == [notebook.folder]
    del notebook["../up"]
    assert set(notebook) == keys - {"../up"}
    with pytest.raises(KeyError, match="up"):
        del notebook["../up"]


def test_a_piece_that_is_written_again_is_the_later_one(notebook: Notebook) -> None:
    notebook["a"] = RECORD
    notebook["a"] = {"forward": np.asarray(1)}
    same(notebook["a"], {"forward": np.asarray(1)})


def test_what_is_missing_is_a_key_error_and_no_default(notebook: Notebook) -> None:
    with pytest.raises(KeyError, match="absent"):
        notebook["absent"]
    assert notebook.get("absent") is None


def only(notebook: Notebook) -> Path:
    (path,) = notebook.folder.iterdir()
    return path


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"\x93NUMPY\x01\x00"])
def test_a_file_that_holds_something_else_counts_as_not_done(notebook: Notebook, content: bytes) -> None:
    notebook["a"] = RECORD
    only(notebook).write_bytes(content)
    assert notebook.get("a") is None
    assert "a" not in notebook
    assert list(notebook) == []
    notebook["a"] = RECORD
    same(notebook["a"], RECORD)


def test_a_file_ends_with_the_digest_of_its_archive(notebook: Notebook) -> None:
    notebook["a"] = RECORD
    whole = only(notebook).read_bytes()
    assert whole[-32:] == hashlib.sha256(whole[:-32]).digest()
    with np.load(io.BytesIO(whole[:-32])) as file:
        assert set(file) == {*RECORD, "piece"}


def test_a_file_cut_short_anywhere_counts_as_not_done(notebook: Notebook) -> None:
    notebook["a"] = {"forward": np.asarray(12)}
    path = only(notebook)
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        assert notebook.get("a") is None, length


def test_a_file_with_one_changed_byte_counts_as_not_done(notebook: Notebook) -> None:
    notebook["a"] = {"forward": np.asarray(12)}
    path = only(notebook)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        assert notebook.get("a") is None, place


def test_a_piece_under_the_file_name_of_another_counts_as_not_done(notebook: Notebook) -> None:
    notebook["a"] = RECORD
    content = only(notebook).read_bytes()
    notebook["b"] = {"forward": np.asarray(1)}
    for path in notebook.folder.iterdir():
        path.write_bytes(content)
    assert "a" in notebook
    assert "b" not in notebook


def test_an_archive_without_the_name_of_its_piece_counts_as_not_done(notebook: Notebook) -> None:
    notebook["a"] = RECORD
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **RECORD)
    whole = buffer.getvalue()
    only(notebook).write_bytes(whole + hashlib.sha256(whole).digest())  # undamaged, then
    assert "a" not in notebook
    assert list(notebook) == []


def test_a_record_that_is_changed_after_it_was_read_changes_nothing(notebook: Notebook) -> None:
    notebook["a"] = RECORD
    notebook["a"]["broken"][0] = 9  # type: ignore[index]
    same(notebook["a"], RECORD)


def test_an_interrupted_write_leaves_the_earlier_piece(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook["a"] = RECORD

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hiresnn.runs.atomic.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        notebook["a"] = {"forward": np.asarray(1)}
    same(notebook["a"], RECORD)
    assert len(notebook) == 1
