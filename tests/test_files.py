"""A file is the old one or the new one, never half of one."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import BaseModel

from hiresnn.errors import RunError, UsageError
from hiresnn.files import (
    TEMPORARY_SUFFIX,
    new_folder,
    parse_toml,
    read_json,
    read_toml,
    remove_leftovers,
    write_atomically,
    write_together,
)


def test_the_content_replaces_the_earlier_file_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "model.safetensors"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_and_an_interrupt_keep_the_earlier_file_and_leave_nothing_beside_it(
    tmp_path, monkeypatch, step, error
):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def fails(*_):
        raise error

    monkeypatch.setattr(os, step, fails)
    with pytest.raises((RunError, KeyboardInterrupt)) as caught:
        write_atomically(path, b"12345")
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert f"the disk is full: {path} (5 bytes) could not be written" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_the_same_file_leave_one_whole_content(tmp_path):
    contents = [bytes([number]) * 100_000 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_atomically, [tmp_path / "a"] * 16, contents))
    assert (tmp_path / "a").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_left_is_removed_later(tmp_path):
    old, young, folder = (tmp_path / f".{name}{TEMPORARY_SUFFIX}" for name in ("a.1", "a.2", "a.3"))
    old.touch()
    young.touch()
    folder.mkdir()
    for leftover in (old, folder):
        os.utime(leftover, (0, time.time() - 3601))
    write_atomically(tmp_path / "b", b"")
    assert sorted(tmp_path.iterdir()) == [young, tmp_path / "b"]  # the young one may belong to a living process
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RunError, match=r"gone/a could not be written: No such file or directory"):
        write_atomically(tmp_path / "gone" / "a", b"")


def test_a_folder_that_cannot_be_filled_is_as_before(tmp_path):
    new, empty = tmp_path / "a" / "new", tmp_path / "empty"
    empty.mkdir()

    def filled(folder, error=None):
        with new_folder(folder) as part:
            (part / "inner").mkdir()
            (part / "file").write_text("half")
            if error is not None:
                raise error

    with pytest.raises(RunError, match="No space left; nothing was left in it"):
        filled(new, OSError(errno.ENOSPC, "No space left"))
    with pytest.raises(ValueError, match="a defect"):
        filled(empty, ValueError("a defect"))
    assert not new.exists()
    assert list(empty.iterdir()) == []
    for folder in (new, empty):
        with new_folder(folder) as part:
            (part / "file").write_text("whole")
            assert not folder.exists() or not any(folder.iterdir())  # other processes see all of it or nothing
        assert (folder / "file").read_text() == "whole"
        with pytest.raises(UsageError, match="not an empty folder"):
            filled(folder)
        assert [path.name for path in folder.iterdir()] == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty"]


def test_the_faster_of_two_processes_fills_a_folder_and_the_other_one_is_refused(tmp_path):
    def slower():
        with new_folder(tmp_path / "a") as first:
            (first / "file").write_text("slower")
            with new_folder(tmp_path / "a") as second:
                (second / "file").write_text("faster")

    with pytest.raises(UsageError, match="not an empty folder"):
        slower()
    assert (tmp_path / "a" / "file").read_text() == "faster"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_several_files_change_together_or_not_at_all(tmp_path, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    write_together({one: b"1", two: b"2"})
    calls = []

    def second_fails(_):
        calls.append(_)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(RunError, match=r"two \(1 bytes\) could not be written"):
        write_together({one: b"3", two: b"4"})
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    assert sorted(tmp_path.iterdir()) == [one, two]


class Size(BaseModel):
    """A file of one key."""

    width: int


def test_json_is_read_as_a_model_or_as_plain_values(tmp_path):
    path = tmp_path / "size.json"
    path.write_text('{"width": 3}', encoding="utf-8")
    assert read_json(path, Size) == Size(width=3)
    assert read_json(path, dict[str, Any]) == {"width": 3}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"width": 1', "EOF while parsing"),
        (b'{"width": NaN}', "expected value"),
        (b"[" * 100_000, "recursion limit exceeded"),
        (b'{"width": 1' + b"0" * 5000 + b"}", "number out of range"),
        (b'\xff{"width": 1}', "expected value"),
        (b"{}", "the key width is missing"),
        (b'{"width": "wide"}', "width: Input should be a valid integer"),
        (b"[]", "Input should be a valid dictionary"),
    ],
)
def test_json_that_does_not_fit_is_one_sentence(tmp_path, content, reason):
    path = tmp_path / "size.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_json(path, Size, remedy="write it again", error=UsageError)
    assert str(caught.value).startswith(f"{path} is damaged ({reason}")
    assert str(caught.value).endswith("; write it again.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = 1\nb 2\n", "size.toml, line 2 is no TOML: 'b 2'"),
        ("a = 1" + "0" * 5000, "5001 digits"),
        ("a = " + "[" * 5000, "recursion depth"),
    ],
)
def test_toml_that_cannot_be_read_is_one_sentence(text, reason):
    with pytest.raises(RunError, match=reason):
        parse_toml(text, "size.toml")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'a = "caf\xe9"')
    with pytest.raises(RunError, match=r"latin\.toml is not UTF-8 text"):
        read_toml(tmp_path / "latin.toml")
    with pytest.raises(RunError, match=r"there is no file .*none\.json; check the path"):
        read_json(tmp_path / "none.json", Size)
    with pytest.raises(RunError, match=r"cannot be read \(Is a directory\)"):
        read_toml(tmp_path)
    assert parse_toml("a = 1", "size.toml") == {"a": 1}
