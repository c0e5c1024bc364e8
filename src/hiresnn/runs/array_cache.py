"""A cache of finished units of long work as files, so that interrupted work continues where it stopped."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiresnn.atomic import write_atomically

KEY = "unit"
DIGEST = 32  # bytes of SHA-256 at the end of a file, which detect damage on the disk


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
        if record is None or str(record.pop(KEY, "")) != key:
            raise KeyError(key)
        return record

    def __setitem__(self, key: str, record: Mapping[str, NDArray[Any]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{KEY: np.asarray(key)}, **record)  # type: ignore[arg-type]
        content = buffer.getvalue()
        write_atomically(self._path(key), content + hashlib.sha256(content).digest())

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self.folder.glob("*.npz")):
            record = _read(path)
            if record is not None and KEY in record:
                yield str(record[KEY])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    try:
        whole = path.read_bytes()
        content, digest = whole[:-DIGEST], whole[-DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return dict(file.items())
    except OSError:
        return None
