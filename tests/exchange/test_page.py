"""docs/deploy.md is executed: its commands print what it shows, and its Python runs.

Audits run on 10 images and trainings for few epochs, because they take minutes; only their words are compared. All
other numbers may differ by 3.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif("HIRESNN_PAGES" not in os.environ, reason="takes minutes; make test-page runs it")

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
TOLERANCE = 3.0
BLOCKS = re.findall(r"(?m)^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands(block):
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        command, *lines = part.replace("\\\n", "").splitlines()
        yield shlex.split(command), [line for line in lines if line.strip()]


def tokens(line, numbers):
    words = [word.rstrip(",") for word in re.sub(r"[│┃┏┓┡┩└┘━─┳╇┴]", " ", line).split()]
    words = [re.sub(r"^\d+\.\d+\.\d+$", "VERSION", word) for word in words]
    return words if numbers else [re.sub(r"^\d+(\.\d+)?$", "NUMBER", word) for word in words]


def alike(shown, printed):
    def close(one, other):
        try:
            return abs(float(one) - float(other)) <= TOLERANCE
        except ValueError:
            return one == other

    return len(shown) == len(printed) and all(map(close, shown, printed))


def execute(words, folder):
    program = [sys.executable, "-m", "hiresnn"] if words[0] == "hiresnn" else [sys.executable]
    assert words[0] in ("hiresnn", "python"), words
    done = subprocess.run(
        [*program, *words[1:]], cwd=folder, capture_output=True, text=True, check=False,
        env={
            **os.environ, "PYTHONPATH": str(PAGE.parents[1] / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "160",
            "HIRESNN_CACHE": str(folder / "cache"),
        },
    )  # fmt: skip
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


SHORTER = {"audit": ("--images", "10"), "train": ("--set", "ann.epochs=2", "--set", "snn.epochs=1")}
"""Command -> options that make it shorter."""


def is_exact(words):
    return words[1] not in SHORTER and "runs/zero" not in words


def require_shown(shown, printed, numbers):
    rest = iter(tokens(line, numbers) for line in printed.splitlines())
    for line in shown:
        wanted = tokens(line, numbers)
        assert not wanted or any(alike(wanted, found) for found in rest), f"not printed: {line}\n{printed}"


def test_the_page_is_executed(tmp_path):
    for library in ("snntorch", "norse", "spikingjelly", "nirtorch", "onnxscript", "onnxruntime"):
        pytest.importorskip(library, exc_type=ImportError)
    executed, printed = 0, ""
    for number, (kind, block) in enumerate(BLOCKS):
        if kind == "python":
            first, _, _ = block.partition("\n")
            name = first.removeprefix("# ") if first.endswith(".py") else f"block{number}.py"
            (tmp_path / name).write_text(block, encoding="utf-8")
            printed = execute(["python", name], tmp_path)
            executed += 1
        elif not block.startswith("$ "):  # what the Python before it prints
            require_shown(block.splitlines(), printed, numbers=True)
        for words, shown in commands(block):
            if words[0] != "pip":
                printed = execute([*words, *SHORTER.get(words[1], ())], tmp_path)
                require_shown(shown, printed, is_exact(words))
                executed += 1
    assert executed >= 10
