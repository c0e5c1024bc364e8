"""Plain networks (ANNs), which are trained first and made spiking afterwards; they know nothing of spikes."""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from hiresnn.errors import UsageError
from hiresnn.models import resnet, vgg
from hiresnn.models.normalise import Normalise

__all__ = ["MODELS", "Classifier", "Normalise", "build"]

# Name -> the smallest image, in pixels a side, that the network can take.
MODELS: dict[str, int] = {
    **{name: vgg.smallest_image(name) for name in vgg.CONFIGURATIONS},
    "resnet12": resnet.SMALLEST_IMAGE,
}


class Classifier(nn.Sequential):
    """A network from images [B, C, H, W] in [0, 1] to logits [B, K].

    `spec` holds every argument of `build`, in types that JSON knows: `build(**network.spec)` is a network
    of the same architecture, with fresh weights.
    """

    spec: dict[str, Any]


def build(
    name: str,
    num_classes: int,
    *,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    hidden: int = 4096,
    dropout: float = 0.2,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Classifier:
    """An untrained network, its weights drawn Kaiming-normal (fan in) from torch's global generator.

    name: one of `MODELS`: vgg5, vgg11, vgg16, resnet12.
    num_classes: K, the number of logits.
    in_channels, image_size: C and H = W of the images.
    width: factor on the channels of every convolution.
    hidden: width of the hidden linear layers; resnet12 has none.
    dropout: probability in [0, 1) that an activation is dropped in training.
    mean, std: one number a channel, in [0, 1] units, for a `Normalise` as the first layer; None for none.

    Raises UsageError for an unknown name, an argument out of its range, or an image too small for the pools.
    """
    _check_ranges(name, num_classes, in_channels, image_size, width, hidden, dropout)
    normalise = _normalise(in_channels, mean, std)
    layers: Iterator[tuple[str, nn.Module]]
    if name == "resnet12":
        layers = resnet.resnet12_layers(
            num_classes, in_channels=in_channels, image_size=image_size, width=width, dropout=dropout
        )
    else:
        layers = vgg.vgg_layers(
            name,
            num_classes,
            in_channels=in_channels,
            image_size=image_size,
            width=width,
            hidden=hidden,
            dropout=dropout,
        )
    network = Classifier(OrderedDict([*normalise, *layers]))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    network.spec = {
        "name": name,
        "num_classes": int(num_classes),
        "in_channels": int(in_channels),
        "image_size": int(image_size),
        "width": float(width),
        "hidden": int(hidden),
        "dropout": float(dropout),
        "mean": None if mean is None else [float(number) for number in mean],
        "std": None if std is None else [float(number) for number in std],
    }
    return network


def _check_ranges(
    name: str,
    num_classes: int,
    in_channels: int,
    image_size: int,
    width: float,
    hidden: int,
    dropout: float,
) -> None:
    if name not in MODELS:
        raise UsageError(f"There is no model {name!r}: choose one of {', '.join(MODELS)}.")
    counts = {"num_classes": num_classes, "in_channels": in_channels, "hidden": hidden}
    for argument, count in counts.items():
        if count < 1:
            raise UsageError(f"{argument} is {count}: give a whole number of at least 1.")
    if not (math.isfinite(width) and width > 0):
        raise UsageError(f"width is {width}: give a number above 0, such as 0.5 or 1.")
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout is {dropout}: give a number from 0 up to, but not including, 1.")
    if image_size < MODELS[name]:
        raise UsageError(
            f"Images of {image_size}x{image_size} are too small for the pools of {name}: it takes "
            f"{MODELS[name]}x{MODELS[name]} or larger. Use larger images or another model."
        )


def _normalise(
    in_channels: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> list[tuple[str, nn.Module]]:
    if mean is None and std is None:
        return []
    if mean is None or std is None:
        given, missing = ("std", "mean") if mean is None else ("mean", "std")
        raise UsageError(f"{given} is given without {missing}: give both, or neither for no normalisation.")
    if len(mean) != in_channels or len(std) != in_channels:
        raise UsageError(
            f"mean has {len(mean)} and std has {len(std)} numbers, but images have {in_channels} "
            "channel(s): give one number a channel."
        )
    return [("normalise", Normalise(mean, std))]
