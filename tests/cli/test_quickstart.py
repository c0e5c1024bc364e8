"""`hiresnn quickstart` prints what the main job says."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiresnn.cli import main


@pytest.mark.parametrize(
    ("arguments", "out", "seed"),
    [([], Path("runs/quickstart"), 0), (["--out", "first", "--seed", "2"], Path("first"), 2)],
)
def test_the_table_is_printed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    out: Path,
    seed: int,
) -> None:
    def quickstart(folder: Path, *, seed: int, progress: Any) -> str:
        return f"table of {folder} with seed {seed}"

    stand_in = ModuleType("hiresnn.app.quickstart")
    stand_in.quickstart = quickstart  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hiresnn.app.quickstart", stand_in)
    with pytest.raises(SystemExit) as caught:
        main(["quickstart", *arguments])
    assert not caught.value.code
    printed = capsys.readouterr().out
    assert printed.startswith(f"table of {out} with seed {seed}\n")
    assert f"Next: hiresnn audit {out / f'hire-seed{seed}'}" in printed
