"""The registry: every table and figure of the paper, imported only when it is made."""

import subprocess
import sys
from pathlib import Path

import pytest

from hiresnn.paper.artefact import ARTEFACTS
from hiresnn.paper.scales import SCALES
from hiresnn.paper.study import Study
from hiresnn.progress import Progress

TABLES = [f"table{number}" for number in range(1, 8)]
FIGURES = [
    f"fig{end}" for end in ("1b", "1c", "3", "4", "5a", "5b", "7", "8a", "8b", "9", "10a", "10b-e", "11a", "11b")
]


def test_the_registry_has_every_table_and_figure() -> None:
    assert list(ARTEFACTS) == TABLES + FIGURES
    assert [name for name, entry in ARTEFACTS.items() if entry.drawn] == FIGURES


def test_reading_the_registry_imports_no_artefact() -> None:
    code = (
        "import sys\n"
        "import hiresnn.paper.reproduce\n"
        "print([name for name in sys.modules if name.startswith(('hiresnn.paper.table', 'hiresnn.paper.fig'))],"
        " 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"


@pytest.mark.parametrize("name", ARTEFACTS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_artefact_can_be_planned_at_every_scale(scale: str, name: str, tmp_path: Path) -> None:
    root = tmp_path / "study"
    study = Study(SCALES[scale], root=root, seeds=(0,), sources={}, progress=Progress(quiet=True))
    study.plan([ARTEFACTS[name]])
    assert not root.exists()
