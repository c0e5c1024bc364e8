"""The picture of the README: a real gap is visible, and the file is valid SVG for both schemes."""

import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from ..scripts import imported

ROOT = Path(__file__).parents[2]
CARDS = [ROOT / "results" / f"audit-cpu-{method}.json" for method in ("hire", "traditional")]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return imported(ROOT / "benchmarks" / "readme_picture.py")


def drawn(script: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["readme_picture.py", *arguments, "-o", str(out)])
    script.main()
    return out.read_text(encoding="utf-8")


def test_the_gap_between_pgd_and_the_worst_case_is_written(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = drawn(script, monkeypatch, tmp_path / "p.svg", f"<HIRE>={CARDS[0]}", str(CARDS[1]), "--bound", "2/255")
    svg = ElementTree.fromstring(text)
    assert svg.get("width") == "800"
    texts = ["".join(each.itertext()) for each in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "42.5 %21.0 points too high" in texts
    assert "21.5 %" in texts
    assert any(each.startswith("<HIRE>cifar10, 200 images") for each in texts)
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"@import|https?://(?!www\.w3\.org)|url\((?!#)", text)
