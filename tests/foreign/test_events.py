"""A SpikingJelly network trained on event grids is audited by the command, through its adapter."""

import numpy as np
import pytest
import torch

from hiresnn.app.audit import EVENT_PAGE, verify
from hiresnn.audit.events import ARCHIVE, CARD, EventCard
from hiresnn.files import read_json

from ..cli.commands import run

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
BINS, SIZE = 4, 8
FORMS = ("s", "m", "own_loop")  # one timestep per call, the sequence [T, B, 2, H, W], or grids [B, T, 2, H, W]
FILE = """
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from hiresnn.foreign import spikingjelly

FORM = "{form}"


class Whole(nn.Sequential):
    def forward(self, grids):  # [B, T, P, H, W]
        return super().forward(grids.transpose(0, 1)).mean(0)


def network():
    torch.manual_seed(0)

    def lif():
        return neuron.LIFNode(tau=2.0, decay_input=False, surrogate_function=surrogate.ATan(), detach_reset=True)

    layers = (
        layer.Conv2d(2, 8, 3, padding=1, stride=2), lif(), layer.Flatten(), layer.Linear(128, 32), lif(),
        layer.Linear(32, 3),
    )
    model = (Whole if FORM == "own_loop" else nn.Sequential)(*layers)
    functional.set_step_mode(model, "s" if FORM == "s" else "m")
    return spikingjelly(model, timesteps=4, own_loop=FORM == "own_loop")
"""


def archive(path):
    """A bright bar that moves right, left or down, 2 x 4 bins, with noise: [N, 8, 2, 8, 8]."""
    generator = np.random.default_rng(0)
    labels = np.arange(330) % 3
    grids = (generator.random((330, 2 * BINS, 2, SIZE, SIZE)) < 0.02).astype(np.uint8)
    for t in range(2 * BINS):
        grids[labels == 0, t, 1, :, t] = grids[labels == 1, t, 1, :, -1 - t] = grids[labels == 2, t, 1, t, :] = 1
    split = {"x_train": grids[:300], "x_test": grids[300:], "y_train": labels[:300], "y_test": labels[300:]}
    np.savez(path, **split, class_names=["right", "left", "down"], events="binary")
    return grids, labels


def trained(network, grids, labels):
    """Weights of the network after a short training on the grids, merged into 4 bins."""
    images = torch.from_numpy(grids).float().unflatten(1, (BINS, 2)).amax(2)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    network.train()
    for _ in range(8):
        for rows in torch.randperm(300).split(50):
            loss = torch.nn.functional.cross_entropy(network(images[rows]), torch.from_numpy(labels)[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.network.state_dict()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("threat", ["flips", "retiming(within=1)"])
def test_a_spikingjelly_network_on_event_grids_is_audited_by_the_command(form, threat, tmp_path, monkeypatch):
    pytest.importorskip("spikingjelly.activation_based", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE.format(form=form))
    namespace = {}
    exec(compile(FILE.format(form=form), "mine.py", "exec"), namespace)
    torch.save(trained(namespace["network"](), *archive(tmp_path / "grids.npz")), "weights.pt")
    target = ("mine.py:network", "--data", "grids.npz", "--weights", "weights.pt")
    assert run("audit", *target, "--threat", threat, "--budget", "3", "--images", "30", "--out", "out") == 0
    card = read_json(tmp_path / "out" / CARD, EventCard)
    assert (card.subject.library, card.subject.timesteps, card.data.size) == ("SpikingJelly", BINS, [BINS, 2, 8, 8])
    assert card.clean.percent > 80
    assert card.verdict != "unreliable"
    assert card.smallest.count(None) < 15
    assert any("bptr" in row.label for row in card.attacks)
    assert (tmp_path / "out" / EVENT_PAGE).exists()
    broken = np.load(tmp_path / "out" / ARCHIVE)
    assert len(broken["index"]) == sum(bool(value) for value in card.smallest)
    assert not verify(tmp_path / "out", "mine.py:network", weights=tmp_path / "weights.pt").problems


def test_without_its_adapter_the_network_is_refused(tmp_path, monkeypatch, capsys):
    pytest.importorskip("spikingjelly.activation_based", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        FILE.format(form="m").replace("return spikingjelly(", "return (lambda x, **_: x)(")
    )
    archive(tmp_path / "grids.npz")
    assert run("audit", "mine.py:network", "--data", "grids.npz") == 2
    assert "hiresnn.foreign.spikingjelly(network, timesteps=...)" in " ".join(capsys.readouterr().err.split())
