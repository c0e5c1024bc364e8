"""Campaign "networks": `hiresnn audit FILE.py:FUNCTION` names every hostile network for what it is."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.harness import Case, command

ROOT = Path(__file__).resolve().parents[2]


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Each network once."""
    from tests.audit.hostile import HOSTILE

    for name in HOSTILE:
        yield Case("networks", name, _audited(folder, name))


def _audited(folder: Path, name: str) -> Callable[[], str | None]:
    def run() -> str | None:
        from tests.audit.hostile import HOSTILE

        place = Path(tempfile.mkdtemp(dir=folder))
        source = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.audit.hostile import HOSTILE\n"
        (place / "mine.py").write_text(f"{source}\n\ndef network():\n    return HOSTILE[{name!r}].make()\n")
        arguments = ("audit", "mine.py:network", "--data", "digits", "--images", "20", "--out", "card")
        ended = command(*arguments, folder=place, seconds=900)
        expected = HOSTILE[name]
        text = ended.output
        if (card := place / "card" / "card.json").is_file():
            text += json.dumps(json.loads(card.read_text())["checks"])
        shutil.rmtree(place)
        if problem := ended.complaint(*((2, 1) if expected.refused else (0,))):
            return problem
        return None if re.search(expected.words, text) else f"not named: expected {expected.words!r} in {text[-400:]!r}"

    return run
