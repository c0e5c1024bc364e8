"""A conversion says what became of each layer, and warns of what its author probably does not want."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hiresnn.models import build
from hiresnn.network import ConversionWarning, convert
from hiresnn.network.report import Change

IMAGES = torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def linear(*middle, end=()):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), *middle, nn.Linear(8, 3), *end)


class Calling(nn.Module):
    """Calls a function between two linear layers, after a ReLU, and one at the end."""

    def __init__(self, middle, end=lambda x: x):
        super().__init__()
        self.layers, self.last, self.middle, self.end = linear(), nn.Linear(3, 3), middle, end

    def forward(self, images):
        return self.end(self.last(self.middle(self.layers(images))))


class Inside(nn.Module):
    """Calls a function of the spikes of 8 neurons."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.middle = nn.Linear(16, 8), nn.Linear(8, 3), middle

    def forward(self, images):
        return self.last(self.middle(self.first(images.flatten(1)).relu()))


def test_the_report_lists_what_became_of_each_layer():
    ann = nn.Sequential(
        *(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 3)),
    )
    report = convert(ann.eval(), IMAGES, timesteps=2).report
    assert report.changes == [
        Change("1", "BatchNorm", "part of 0"),
        Change("2", "ReLU", "LIF"),
        Change("3", "AvgPool2d", "AveragePool"),
        Change("5", "Dropout", "SharedDropout"),
    ]
    assert "2  ReLU -> LIF" in str(report).splitlines()
    assert report.warnings == []


@pytest.mark.parametrize(
    ("ann", "message"),
    [
        (lambda: linear(nn.Linear(8, 8), nn.GELU()), r"'4' \(GELU\) stays analogue"),
        (lambda: Calling(F.gelu), r"'gelu' \(gelu\) stays analogue"),
        (lambda: Calling(torch.tanh), r"'tanh' \(tanh\) stays analogue"),
        (lambda: Calling(lambda x: x.sigmoid()), r"'sigmoid' \(sigmoid\) stays analogue"),
        (lambda: Calling(lambda x: x.clamp(min=0)), r"'clamp' \(clamp\) stays analogue"),
        (lambda: Calling(torch.abs), r"'abs_1' \(abs\) stays analogue"),
        (lambda: linear(nn.Linear(8, 8), nn.ReLU6()), r"'4' \(ReLU6\) loses its cap at 6"),
        (lambda: Inside(lambda x: x + x.amax(1, keepdim=True)), "'amax' is not affine in the spikes"),
        (lambda: Inside(lambda x: x.topk(8, 1)[0]), "'topk' is not affine"),
        (lambda: Inside(lambda x: x + x.std(1, keepdim=True)), "'std' is not affine"),
        (lambda: Inside(lambda x: x * x.flip(1)), "'mul' is not affine"),
        (lambda: Inside(lambda x: x / x.sum(1, keepdim=True)), "'truediv' is not affine"),
        (lambda: Inside(lambda x: F.dropout(x, 0.5, True)), "other logits at every call in eval mode"),
        (lambda: linear(end=(nn.Softmax(1),)), "ends with a softmax, '4'"),
        (lambda: linear(end=(nn.LogSoftmax(1), nn.Flatten())), "ends with a softmax, '4'"),
        (lambda: Calling(F.relu, lambda x: x.softmax(1)), "ends with a softmax, 'softmax'"),
        (lambda: linear(end=(nn.ReLU(),)), "ends with the ReLU '4', .* linear layer"),
        (lambda: linear(end=(nn.ReLU(), nn.Dropout(0.1))), "ends with the ReLU '4'"),
    ],
)
def test_a_conversion_warns_of_what_is_probably_not_wanted(ann, message):
    with pytest.warns(ConversionWarning, match=message) as caught:
        network = convert(ann(), IMAGES, timesteps=2)
    assert len(caught) == len(network.report.warnings) == 1
    assert f"warning: {network.report.warnings[0]}" in str(network.report)


@pytest.mark.parametrize("name", ["vgg5", "resnet12"])
def test_the_networks_of_the_package_convert_without_a_warning(name):
    ann = build(name, 3, in_channels=1, image_size=8, width=1 / 16, hidden=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(ann, torch.rand(8, 1, 8, 8), timesteps=1)
