"""Plain networks (ANNs), which are trained first and converted to spiking networks afterwards."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from hiresnn.errors import UsageError, closest
from hiresnn.models import networks
from hiresnn.models.networks import QCFS, Normalise, OwnNetwork

__all__ = ["MODELS", "QCFS", "Classifier", "Normalise", "OwnNetwork", "build", "spec_of"]

MODELS = {name: 1 << layers.count("pool") for name, layers in networks.CONFIGURATIONS.items()} | {"resnet12": 2}
"""Name -> the smallest image that the network accepts, in pixels per side: one pixel must remain behind the pools."""


class Classifier(nn.Sequential):
    """A network from images [B, C, H, W] in [0, 1] to logits [B, K].

    Attributes:
        spec: every argument of `build`, in JSON types: `build(**network.spec)` is the same architecture with new
            weights.
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
    batch_norm: bool = False,
    activation: str = "relu",
    levels: int = 8,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Classifier:
    """Build an untrained network, with Kaiming-normal weights (fan in) from torch's global generator.

    Args:
        name: one of `MODELS`: vgg5, vgg11, vgg16, vgg16-4pools, resnet12.
        num_classes: K, the number of logits.
        in_channels, image_size: C and H = W of the images.
        width: factor on the channels of every convolution, above 0.
        hidden: width of the hidden linear layers; resnet12 has none.
        dropout: probability in [0, 1) that an activation is dropped in training.
        batch_norm: a batch norm after each convolution; `convert` folds it into the convolution.
        activation: "relu", or "qcfs" with that many `levels`: quantised and clipped, see `QCFS`.
        mean, std: one number per channel, in [0, 1] units, for a `Normalise` as the first layer; None for none.

    Raises:
        UsageError: an unknown name, an argument out of range, or an image too small for the pooling layers.
    """
    spec: dict[str, Any] = {
        "name": name,
        "num_classes": int(num_classes),
        "in_channels": int(in_channels),
        "image_size": int(image_size),
        "width": float(width),
        "hidden": int(hidden),
        "dropout": float(dropout),
        "batch_norm": bool(batch_norm),
        "mean": None if mean is None else [float(number) for number in mean],
        "std": None if std is None else [float(number) for number in std],
    }
    if activation != "relu":  # earlier versions read the spec of a network with ReLU
        spec |= {"activation": activation, "levels": int(levels)}
    _check_ranges(spec)
    make: Callable[[], nn.Module] = nn.ReLU if activation == "relu" else partial(QCFS, levels)
    layers = networks.resnet12_layers(spec, make) if name == "resnet12" else networks.vgg_layers(spec, make)
    first = [("normalise", Normalise(mean, std))] if mean is not None and std is not None else []
    network = Classifier(OrderedDict([*first, *layers]))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    network.spec = spec
    return network


def spec_of(network: object) -> dict[str, Any] | None:
    """Return the `spec` of a network that `build` made or that wraps a user's own; None for any other network."""
    spec = getattr(network, "spec", None)
    return spec if isinstance(spec, dict) and {"name", "num_classes", "in_channels"} <= spec.keys() else None


def _check_ranges(spec: dict[str, Any]) -> None:
    name, size, mean, std = spec["name"], spec["image_size"], spec["mean"], spec["std"]
    if name not in MODELS:
        raise UsageError(f"there is no model {name!r}; {closest(name, MODELS)}.")
    for argument in ("num_classes", "in_channels", "hidden"):
        if spec[argument] < 1:
            raise UsageError(f"{argument} is {spec[argument]}; give a whole number of at least 1.")
    if not (math.isfinite(spec["width"]) and spec["width"] > 0):
        raise UsageError(f"width is {spec['width']}; give a number above 0, such as 0.5 or 1.")
    if not 0 <= spec["dropout"] < 1:
        raise UsageError(f"dropout is {spec['dropout']}; give a number from 0 up to, but not including, 1.")
    if (activation := spec.get("activation", "relu")) not in ("relu", "qcfs"):
        raise UsageError(f"activation is {activation!r}; choose relu or qcfs.")
    if size < MODELS[name]:
        needed = f"{MODELS[name]}x{MODELS[name]}"
        raise UsageError(f"images of {size}x{size} are too small for the pools of {name}; it needs {needed} or more.")
    if (mean is None) != (std is None):
        raise UsageError("one of mean and std is missing; give both, or neither for no normalisation.")
    if mean is not None and not len(mean) == len(std) == spec["in_channels"]:
        raise UsageError(
            f"mean has {len(mean)} and std has {len(std)} numbers; give one per channel, of which images have "
            f"{spec['in_channels']}."
        )
