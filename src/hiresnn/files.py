"""A file is either the old one or the new one, never half of one, whatever happens in between; new folders likewise."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hiresnn.errors import RunError

TEMPORARY_SUFFIX = ".hiresnn-part"


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, flush it to the disk, then rename it to `path`.

    What earlier processes left beside `path` when they were killed is removed.

    Raises:
        RunError: the disk is full or the folder cannot be written. An earlier file at `path` is then still there,
            unharmed, and nothing is left beside it.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files as `write_atomically` does; none of them changes before all of them are on the disk."""
    temporaries = {path: path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}") for path in contents}
    path = next(iter(contents))
    try:
        for path, content in contents.items():
            _remove_leftovers(path)
            with temporaries[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            os.replace(temporary, path)  # noqa: PTH105 (the test for a full disk replaces it)
            _flush_folder(path.parent)
    except OSError as error:
        raise RunError(_sentence(path, len(contents[path]), error)) from error
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):  # what kept the file from being written is the error to tell
                temporary.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Create a folder, or take an empty one, for a block that fills it; if the block fails, the folder is empty again.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    existed = folder.exists()
    kept = set(folder.iterdir()) if folder.is_dir() else set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        with suppress(OSError):
            for entry in set(folder.iterdir()) - kept:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if not existed:
                folder.rmdir()
        if isinstance(error, OSError):  # also shutil.Error, which lists what could not be copied
            raise RunError(f"{folder} could not be written: {_reason(error)}; nothing was left in it.") from error
        raise


def json_text(value: Any) -> str:
    """Return a JSON value as the text of a file, indented. NaN and infinity, which JSON lacks, are refused."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` whose process no longer runs; one that runs may be writing `path` as well."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY_SUFFIX}"):
        process = left.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")[2]
        if process.isdigit() and not _runs(int(process)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process of that number exists; True where the system cannot tell."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def utf8(text: str, path: Path) -> bytes:
    """`text` as the content of the file `path`.

    Raises RunError for what is no Unicode: the name of a file or folder whose bytes are not UTF-8.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        line = text[: error.start].rpartition("\n")[2] + text[error.start :].partition("\n")[0]
        raise RunError(
            f"{path} is UTF-8, which cannot hold {line!a}; rename the file or folder of this name."
        ) from None


def _flush_folder(folder: Path) -> None:
    # Without this a power cut may undo the rename. Windows cannot open folders and does not need it.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sentence(path: Path, size: int, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {path} ({size:,} bytes) could not be written, and what was there is kept; free some "
            "space and run the command again (a training continues with --resume)."
        )
    if error.errno == errno.ENAMETOOLONG:
        return f"{path} could not be written: {error.strerror}; choose a shorter name."
    return f"{path} could not be written: {error.strerror}; check that the folder exists and is writable."


def _reason(error: OSError) -> str:
    if isinstance(error, shutil.Error) and error.args and error.args[0]:
        return str(error.args[0][0][-1])  # of the first (source, copy, reason)
    return error.strerror or str(error)
