"""An installed package that offers plug-ins, for tests."""

import sys
from pathlib import Path

import pytest


def offer(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, **groups: dict[str, str]) -> None:
    """Write the package `offering` and make it importable.

    Args:
        code: of the module offering.
        groups: kind of plug-in -> name -> what it is in that module.
    """
    (folder / "offering.py").write_text(code)
    about = folder / "offering-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    lines = [
        line
        for kind, names in groups.items()
        for line in (f"[hiresnn.{kind}]", *(f"{name} = offering:{item}" for name, item in names.items()), "")
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "offering", raising=False)
