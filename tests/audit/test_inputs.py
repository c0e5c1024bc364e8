"""Inputs other than images in [0, 1]: the map to images and back, its errors, and an audit with a known answer."""

import pytest
import torch
from torch import nn

from hiresnn import convert, run_audit
from hiresnn.attacks import parse
from hiresnn.audit.inputs import image_form
from hiresnn.errors import UsageError


@pytest.mark.parametrize(
    ("shape", "time_axis", "images"),
    [
        ((5, 7), None, (5, 1, 1, 7)),
        ((5, 6, 7), None, (5, 1, 6, 7)),
        ((5, 2, 6, 7), None, (5, 2, 6, 7)),
        ((5, 2, 3, 6, 7), None, (5, 2, 3, 42)),
        ((4, 5, 7), 0, (5, 1, 4, 7)),  # [T, B, features]
        ((4, 5, 2, 6, 7), 0, (5, 4, 2, 42)),
    ],
)
def test_the_network_gets_its_own_inputs_back(shape, time_axis, images):
    inputs = torch.rand(shape, dtype=torch.float64) * 6 - 4
    seen = []
    model, scaled = image_form(lambda x: seen.append(x) or x, inputs, -4.0, 2.0, time_axis=time_axis)
    model(scaled)
    assert scaled.shape == images
    torch.testing.assert_close(seen[0], inputs)
    torch.testing.assert_close(scaled.amin(), (inputs.amin() + 4) / 6)


def test_each_feature_has_its_range_and_a_bound_is_a_share_of_it():
    low, high = torch.tensor([0.0, -100.0]), torch.tensor([1.0, 100.0])
    weights = torch.tensor([[0.0, 1.0], [0.0, -1.0]])  # the second feature decides
    model, images = image_form(lambda rows: rows @ weights.T, torch.tensor([[0.5, 10.0], [0.5, 30.0]]), low, high)
    labels = torch.tensor([0, 0])
    for eps, left in ((0.04, 2), (0.06, 1), (0.16, 0)):  # 200 eps is the change: 8, 12 and 32
        adversarial = parse("fgsm", eps=eps)(model, images, labels)
        assert int((model(adversarial).argmax(1) == labels).sum()) == left


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (torch.zeros(3), {}, "give floats"),
        (torch.zeros(3, 4, dtype=torch.int64), {}, "give floats"),
        (torch.full((3, 4), 2.0), {}, "3 of 3 inputs leave the range"),
        (torch.tensor([[0.5], [torch.nan]]), {}, "1 of 2 inputs leave the range"),
        (torch.zeros(3, 4), {"low": 1.0}, "empty"),
        (torch.zeros(3, 4), {"high": torch.ones(3)}, "does not broadcast"),
        (torch.zeros(4, 3), {"time_axis": 0}, "give floats"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(inputs, options, message):
    with pytest.raises(UsageError, match=message):
        image_form(lambda x: x, inputs, **options)


def test_a_linear_model_of_two_classes_on_rows_gets_its_exact_robust_accuracy():
    torch.manual_seed(0)
    weights = torch.randn(6)
    rows = (torch.randn(60, 6) * 2).clamp(-5, 5)
    gap = rows @ weights  # of class 1 over class 0
    labels = (gap > 0).long()
    model, images = image_form(
        lambda x: torch.stack([torch.zeros(len(x)), x @ weights], 1) + 0 * x[:, :2], rows, -5.0, 5.0
    )
    card = run_audit(model, images, labels, eps=0.05, bounds=())
    # A change of 0.05 of the range 10 in every feature, none of which leaves [-5, 5] for most rows.
    towards = -torch.sign(gap)[:, None] * weights.sign()
    moved = (rows + 0.5 * towards).clamp(-5, 5) @ weights
    exact = int(((moved > 0) == (gap > 0)).sum())
    assert 0 < exact < 60
    assert card.at(card.setting.headline).worst.count == exact
    assert {row.loss for row in card.attacks if row.loss} <= {"cross-entropy", "margin"}  # no DLR of two classes


class Rows(nn.Module):
    """A spiking network of images as one of rows in [-2, 2]."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        ann = nn.Sequential(nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2, bias=False))
        self.snn = convert(ann, torch.rand(40, 1, 1, 8), timesteps=4).eval()
        self.timesteps = 4

    def forward(self, rows):
        return self.snn(((rows + 2) / 4)[:, None, None])


def test_a_spiking_network_on_rows_is_attacked_under_rules_of_its_neurons():
    model, images = image_form(Rows(), torch.rand(40, 8) * 4 - 2, -2.0, 2.0)
    labels = model(images).argmax(1)
    texts = [f"pgd(eps=0.2, iterations=5, rule={rule})" for rule in ("linear", "bptr")]
    own, other = (parse(text)(model, images, labels) for text in texts)
    assert model.timesteps == 4
    assert not torch.equal(own, other)
