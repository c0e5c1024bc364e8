"""docs/neurons.md: its cells run, and the libraries do what it says. docs/foreign.md: its examples run."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from hiresnn.data import load

from ..scripts import imported

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "neurons.md").read_text(encoding="utf-8")
CELLS = re.findall(r"```\{code-cell\}\n(?::tags:[^\n]*\n\n?)?(.*?)```", PAGE, flags=re.DOTALL)


def run(cells):
    names: dict[str, Any] = {}
    for cell in cells:
        exec(cell, names)
    return names


def test_the_equation_gives_the_numbers_of_the_table():
    equation = run(CELLS[:1])["equation"]
    (line,) = re.findall(r"\| sᵗ \|(.*)\|", PAGE)
    assert equation([0.75] * 6, 0.5, 1.0) == [int(cell) for cell in line.split("|")]


def test_the_libraries_agree_and_differ_as_the_page_says(capsys):
    for library in ("snntorch", "spikingjelly", "norse"):
        pytest.importorskip(library, exc_type=ImportError)
    names = run(CELLS)
    spikes = names["spikes"]
    for reference, same in (
        ("equation, u > threshold", ("hiresnn", "norse")),
        ("equation, u >= threshold", ("hiresnn, condition='>='", "SpikingJelly")),
        ("hiresnn, subtract-unleaked", ("snnTorch, default",)),
    ):
        for name in same:
            assert spikes[name] == spikes[reference]
    assert spikes["snnTorch, reset_delay=False"]["4, then nothing"] == "100000"
    assert spikes["hiresnn"]["4, then nothing"] == "110000"
    text = capsys.readouterr().out
    found = {name.strip(): int(count) for name, count in re.findall(r"(?m)^(.*?) +(\d+) of 200 differ$", text)}
    assert {name for name, count in found.items() if count} == {"snnTorch, default"}
    for library in ("hiresnn", "snnTorch", "SpikingJelly", "norse"):
        slopes = re.findall(rf"(?m)^{library} +([\d.]+) +([\d.]+)$", text)[-1]
        cells = next(line for line in PAGE.splitlines() if line.startswith(f"| {library} |") and "|" in line[-14:]
                     and re.search(r"\| [\d.]+ \| [\d.]+ \|$", line)).split("|")  # fmt: skip
        assert [float(slope) for slope in slopes] == pytest.approx([float(cell) for cell in cells[-3:-1]], abs=1e-4)


def test_sinabs_does_what_the_page_says():
    sinabs = pytest.importorskip("sinabs", exc_type=ImportError)
    (block,) = re.findall(r"```python\n(# sinabs\n.*?)```", PAGE, flags=re.DOTALL)
    names = run([CELLS[0], block])
    equation, library = names["equation"], names["run_sinabs"]
    drawn = torch.randint(-4, 12, (200, 12), generator=torch.Generator().manual_seed(0)) / 8
    for row in drawn.tolist():
        assert [int(spike) for spike in library(row, 0.5, 1.0)] == equation(row, 0.5, 1.0, ">=")
    assert [int(spike) for spike in library([1.0] * 6, 0.5, 1.0)] == [1] * 6
    surrogate = sinabs.activation.SingleExponential()
    (line,) = [line for line in PAGE.splitlines() if line.startswith("| sinabs | `SingleExponential")]
    slopes = [float(surrogate(torch.tensor(u), torch.tensor(1.0))) for u in (1.0, 1.25)]
    assert slopes == pytest.approx([float(cell) for cell in line.split("|")[-3:-1]], abs=1e-4)


@pytest.mark.parametrize(("library", "label"), [("snntorch", "snnTorch"), ("spikingjelly", "SpikingJelly")])
def test_an_example_trains_the_same_network_every_time(library, label, monkeypatch):
    pytest.importorskip(library, exc_type=ImportError)
    example = imported(ROOT / "examples" / f"{library}_digits.py")
    monkeypatch.setattr(example, "EPOCHS", 3)
    test = load("digits").test
    with torch.random.fork_rng():
        model, again = example.network(), example.network()
    with torch.no_grad():
        logits = model(test.images.float() / 255)
        assert torch.equal(again(test.images.float() / 255), logits)
    assert (model.library, model.neurons, model.timesteps, model.training) == (label, 2, 6, False)
    # three epochs of training get most digits right; chance is a tenth
    assert (logits.argmax(1) == test.labels).float().mean() > 0.7
