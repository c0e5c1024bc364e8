"""AutoAttack by the package: it follows the rule in force, leaves nothing behind, and says what it cannot do."""

import logging
import sys

import pytest
import torch
from torch import nn

from hiresnn import gradient_rule
from hiresnn.attacks import autoattack, parse
from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, Linear, Window


class Veiled(nn.Module):
    """Mean of 64 pixels -> a LIF of threshold 0.5 over one step -> logits (0.4, spike, -1, -1.2).

    A grey image of 0.44 is class 0 and becomes class 1 where its mean passes 0.5: a step of 0.07 along the gradient
    takes it there at once, while the mean of 64 draws from -0.1 to 0.1 reaches 0.06 less than once in a million
    (its standard deviation is 0.0125 at most). The own rule is zero further than 1e-6 from the threshold.
    """

    def __init__(self):
        super().__init__()
        self.lif = LIF(0.5, surrogate=Linear(width=1e-6))

    def forward(self, images):
        spikes = self.lif(images.mean((1, 2, 3))[:, None], Window(1, len(images)))
        others = [torch.full_like(spikes, value) for value in (0.4, -1.0, -1.2)]
        return torch.cat([others[0], spikes, *others[1:]], 1)


IMAGES, LABELS = torch.full((3, 1, 8, 8), 0.44), torch.zeros(3, dtype=torch.int64)


def standing(model, images):
    return int((model(images).argmax(1) == LABELS[: len(images)]).sum())


def linear(classes):
    """Logits that differ by 0.03 on a grey image of 0.5, each in its own pixel."""
    layer = nn.Linear(16, classes)
    layer.weight.data = torch.eye(classes, 16)
    layer.bias.data = -0.03 * torch.arange(classes)
    return nn.Sequential(nn.Flatten(), layer)


GREY = torch.full((2, 1, 4, 4), 0.5)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("version", ["standard", "rand"])
def test_autoattack_follows_the_gradient_rule_in_force(version, monkeypatch):
    monkeypatch.setattr("pyautoattack.square.SquareAttack.perturb", lambda self, x, y: x)  # it needs no gradient
    model = Veiled()
    text = f"autoattack:eps=0.1,version={version}"
    assert standing(model, parse(text)(model, IMAGES, LABELS)) == 3
    assert standing(model, parse(f"{text},rule=arctan")(model, IMAGES, LABELS)) == 0
    with gradient_rule(model, Linear(width=1)):
        assert standing(model, autoattack(model, IMAGES[:1], LABELS[:1], eps=0.1, version=version)) == 0


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("classes", "version"), [(3, "rand"), (4, "standard"), (6, "plus"), (12, "standard")])
def test_autoattack_runs_with_fewer_and_more_than_ten_classes(classes, version):
    model = linear(classes)
    # 0.015 is needed to swap the first two classes. Below it every attack of the version runs, and finds nothing.
    assert torch.equal(autoattack(model, GREY, LABELS[:2], eps=0.014, version=version), GREY)
    assert standing(model, autoattack(model, GREY, LABELS[:2], eps=0.016, version=version)) == 0


@pytest.mark.parametrize(("classes", "version"), [(3, "standard"), (3, "plus"), (2, "rand"), (2, "standard")])
def test_too_few_classes_for_the_loss_are_refused_with_the_remedy(classes, version):
    needed = {"standard": 4, "plus": 4, "rand": 3}[version]
    message = (
        f"version '{version}' needs {needed} classes for its DLR loss, but the model has {classes}; use apgd with loss"
    )
    with pytest.raises(UsageError, match=message):
        autoattack(linear(classes), GREY, LABELS[:2], version=version)


def test_the_seed_decides_the_draws_and_the_global_generator_is_restored():
    model, before = linear(4), torch.get_rng_state()
    runs = [autoattack(model, GREY, LABELS[:2], eps=0.1, version="rand", seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_autoattack_is_silent_and_restores_log_and_trace(capfd, caplog):
    def trace(frame, event, argument):
        return None

    model, before = linear(4), sys.gettrace()
    sys.settrace(trace)
    try:
        # A model that draws is one of those that the package warns of.
        autoattack(lambda images: model(images) + 0.01 * torch.rand(len(images), 4), GREY, LABELS[:2], eps=0.1)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert not logging.getLogger("auto-attack").disabled


def test_without_the_package_the_error_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(UsageError, match=r"pyautoattack, which is not installed; .* pip install 'pyautoattack"):
        autoattack(linear(4), GREY, LABELS[:2])
