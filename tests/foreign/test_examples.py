"""The examples of docs/foreign.md, with three epochs of training."""

from pathlib import Path

import pytest
import torch

from hiresnn.data import load

from ..scripts import imported

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("library", "label"), [("snntorch", "snnTorch"), ("spikingjelly", "SpikingJelly")])
def test_an_example_trains_the_same_network_every_time(library, label, monkeypatch):
    pytest.importorskip(library, exc_type=ImportError)
    example = imported(EXAMPLES / f"{library}_digits.py")
    monkeypatch.setattr(example, "EPOCHS", 3)
    test = load("digits").test
    with torch.random.fork_rng():
        model, again = example.network(), example.network()
    with torch.no_grad():
        logits = model(test.images.float() / 255)
        assert torch.equal(again(test.images.float() / 255), logits)
    assert (model.library, model.neurons, model.timesteps, model.training) == (label, 2, 6, False)
    # three epochs get most digits right; chance is a tenth
    assert (logits.argmax(1) == test.labels).float().mean() > 0.7
