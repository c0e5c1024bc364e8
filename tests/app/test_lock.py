"""The lock of a folder: one writer, waiting if asked, and a clear refusal."""

import errno
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from hiresnn.app.folder import LOCK, locked
from hiresnn.errors import BusyError, RunError


def test_a_locked_folder_is_refused_with_its_kind_and_free_again_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with locked(folder, "audit folder"):
        assert (folder / LOCK).is_file()
        with pytest.raises(BusyError, match=r"audit folder .*folder is in use"):
            locked(folder, "audit folder")
    locked(folder, "audit folder").close()


def test_a_second_writer_may_wait(tmp_path: Path) -> None:
    first, waited = locked(tmp_path, "run folder"), []

    def wait() -> None:
        waited.append(True)
        first.close()

    with locked(tmp_path, "run folder", wait=wait):
        assert waited == [True]


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"run folder .*file/a cannot be written \(Not a directory\)"):
        locked(tmp_path / "file" / "a", "run folder")


def test_what_the_system_refuses_to_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, **_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(RunError, match=r"cannot be written .Read-only file system."):
        locked(tmp_path, "run folder")
