"""The finished units of an audit as files, so that an interrupted audit continues where it stopped."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiresnn.files import write_atomically

KEY = "unit"
DIGEST = 32  # bytes of SHA-256 at the end of a file; unlike joblib's store, a damaged file is found, and none unpickled


class ArrayCache(MutableMapping[str, Mapping[str, "NDArray[Any]"]]):
    """Named arrays for each unit of work, one file per unit, complete or absent. A damaged file counts as absent.

    The folder is created on the first write; its name must identify what all units have in common.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"

    def __getitem__(self, key: str) -> Mapping[str, NDArray[Any]]:
        record = _read(self._path(key))
        if str(record.pop(KEY, "")) != key:
            raise KeyError(key)
        return record

    def __setitem__(self, key: str, record: Mapping[str, NDArray[Any]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{KEY: np.asarray(key)}, **record)  # type: ignore[arg-type]
        content = buffer.getvalue()
        write_atomically(self._path(key), content + hashlib.sha256(content).digest())

    def __delitem__(self, key: str) -> None:
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        records = (_read(path) for path in sorted(self.folder.glob("*.npz")))
        return (str(record[KEY]) for record in records if KEY in record)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file; none of one that is missing or damaged."""
    whole = path.read_bytes() if path.is_file() else b""
    content, digest = whole[:-DIGEST], whole[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        return {}
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file.items())
