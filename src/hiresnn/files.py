"""Files are written whole or not at all, and JSON and TOML are read with one sentence for whatever is wrong in them."""

import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from hiresnn.errors import LONGEST_VALUE, HiresnnError, RunError, UsageError, quoted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
TEMPORARY_SUFFIX = ".hiresnn-part"
REMEDY = "copy it again or delete it"


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename it; on RunError (a full disk, no folder) an earlier file is unharmed."""
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files as `write_atomically` does; none of them changes before all of them are on the disk."""
    # Not by tempfile, whose files only their owner may read.
    temporaries = {path: path.with_name(f".{path.name}.{token_hex(8)}{TEMPORARY_SUFFIX}") for path in contents}
    path = next(iter(contents))
    try:
        for path, content in contents.items():
            remove_leftovers(path.parent, seconds=3600)
            with temporaries[path].open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            os.replace(temporary, path)  # noqa: PTH105 (the test for a full disk replaces it)
            _flush_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"the disk is full: {path} ({len(contents[path]):,} bytes) could not be written"
            raise RunError(f"{what}, and what was there is kept; free some space and run it again.") from error
        advice = "check its name, and that its folder exists and is writable"
        raise RunError(f"{path} could not be written: {error.strerror}; {advice}.") from error
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):  # what kept the file from being written is the error to tell
                temporary.unlink()


def remove_leftovers(folder: Path, *, seconds: float = 0) -> None:
    """Remove what killed processes left half-written; younger than `seconds`, it may be that of a living process."""
    with suppress(OSError):
        for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            if time.time() - leftover.stat().st_mtime >= seconds:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill, which becomes `folder`, a new or an empty one, if the block succeeds.

    So another process sees all of it or nothing. Raises UsageError if `folder` has content, which is then left alone,
    also where another process was faster.
    """
    folder = folder.absolute()
    part = folder.with_name(f".{folder.name}.{token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        _require_empty(folder)
        remove_leftovers(folder.parent, seconds=3600)
        part.mkdir(parents=True)
        yield part
        _require_empty(folder)
        if folder.exists():  # it may be the folder that the shell is in
            for entry in part.iterdir():
                entry.rename(folder / entry.name)
        else:
            part.rename(folder)
    except OSError as error:
        raise RunError(f"{folder} could not be written: {error}; nothing was left in it.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder; name a new one.")


def json_text(value: Any) -> str:
    """Return a JSON value as the text of a file, indented. NaN and infinity, which JSON lacks, are refused."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def read_json(path: Path, model: type[T], *, remedy: str = REMEDY, error: type[HiresnnError] = RunError) -> T:
    """Read a JSON file as `model`, a pydantic model or a type such as `dict[str, Any]`.

    Raises `error`, a sentence with `remedy`, if the file is missing, is no JSON, holds NaN, or does not fit `model`.
    """
    return parse_json(_content(path, remedy, error), model, str(path), remedy=remedy, error=error)


def parse_json(
    text: str | bytes, model: type[T], name: str, *, remedy: str = REMEDY, error: type[HiresnnError] = RunError
) -> T:
    """Read JSON as `read_json` does; `name` names its origin, such as a file and a line of it."""
    from pydantic import TypeAdapter, ValidationError  # imported late: the command line does not wait for it
    from pydantic_core import from_json

    try:
        return TypeAdapter(model).validate_python(from_json(text, allow_inf_nan=False))
    except ValueError as problem:
        reason = first_fault(problem) if isinstance(problem, ValidationError) else problem
        raise error(f"{name} is damaged ({reason}); {remedy}.") from None


def read_text(path: Path, *, name: str = "", error: type[HiresnnError] = RunError) -> str:
    """Read a file of TOML as text, which messages call `name` or by its path. Raises as `read_json` does."""
    try:
        return _content(path, "check its name and permissions", error).decode()
    except UnicodeDecodeError:
        raise error(f"{name or path} is not UTF-8 text; write it as TOML.") from None


def read_toml(path: Path, *, name: str = "", error: type[HiresnnError] = RunError) -> dict[str, Any]:
    """Read a TOML file. Arguments and errors are those of `read_text`."""
    return parse_toml(read_text(path, name=name, error=error), name or str(path), error=error)


def parse_toml(text: str, name: str, *, error: type[HiresnnError] = RunError) -> dict[str, Any]:
    """Read TOML; `name` names its origin. Raises as `read_json` does, and quotes the line of a mistake."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        number, lines = re.search(r"at line (\d+)", str(problem)), text.splitlines() or [""]
        position, line = (f"line {number[1]}", lines[int(number[1]) - 1]) if number else ("the last line", lines[-1])
        raise error(
            f"{name}, {position} is no TOML: {quoted(line.strip())} ({str(problem).partition(' (at ')[0]}); write "
            'KEY = VALUE, with texts and fractions in quotes, such as step = "8/255".'
        ) from None
    except (ValueError, RecursionError) as problem:
        raise error(f"{name} cannot be read ({problem}); write sections of single values.") from None


def first_fault(problem: Any) -> str:
    """Return the first fault of a pydantic ValidationError as `key: what is wrong`."""
    fault = problem.errors(include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"])[:LONGEST_VALUE]
    if fault["type"] == "missing":
        return f"the key {key} is missing"
    return f"{key}: {fault['msg']}" if key else str(fault["msg"])


def _content(path: Path, remedy: str, error: type[HiresnnError]) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise error(f"there is no file {path}; check the path.") from None
    except (OSError, ValueError) as problem:  # ValueError: a null byte in the name
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{str(path)[:400]} cannot be read ({reason}); {remedy}.") from None


def _flush_folder(folder: Path) -> None:
    # Without this a power cut may undo the rename. Windows cannot open folders and does not need it.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
