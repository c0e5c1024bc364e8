"""VGG networks that convert well to spikes: no bias, average pooling, dropout, and batch norm only on request."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

from torch import nn

Pool = Literal["pool"]

_VGG16: tuple[int | Pool, ...] = (
    *(64, 64, "pool"),
    *(128, 128, "pool"),
    *(256, 256, 256, "pool"),
    *(512, 512, 512, "pool"),
    *(512, 512, 512),
)
# A number is a 3x3 convolution with that many output channels, "pool" a 2x2 average pooling.
CONFIGURATIONS: dict[str, tuple[int | Pool, ...]] = {
    "vgg5": (64, "pool", 128, 128, "pool"),
    "vgg11": (64, "pool", 128, 256, "pool", 512, 512, 512, "pool", 512, 512),
    "vgg16": (*_VGG16, "pool"),
    "vgg16-4pools": _VGG16,  # as in the code of the paper's authors
}


def vgg_layers(
    name: str,
    num_classes: int,
    *,
    in_channels: int,
    image_size: int,
    width: float,
    hidden: int,
    dropout: float,
    batch_norm: bool = False,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a VGG in order, each with its name: its kind and its number within the kind, from 1.

    `width` scales the channels of the convolutions, `hidden` is the width of the two hidden linear layers. A dropout
    follows each activation except before a pooling. With `batch_norm` a batch norm follows each convolution.
    `activation` makes each activation; its name is relu, whatever its kind.
    `hiresnn.models.build` checks the arguments.
    """
    count: Counter[str] = Counter()

    def named(kind: str, layer: nn.Module) -> tuple[str, nn.Module]:
        count[kind] += 1
        return f"{kind}{count[kind]}", layer

    configuration = CONFIGURATIONS[name]
    channels, size = in_channels, image_size
    for entry, following in zip(configuration, (*configuration[1:], None), strict=True):
        if entry == "pool":
            yield named("pool", nn.AvgPool2d(2))
            size //= 2
            continue
        scaled = max(1, round(entry * width))
        yield named("conv", nn.Conv2d(channels, scaled, 3, padding=1, bias=False))
        if batch_norm:
            yield named("norm", nn.BatchNorm2d(scaled))
        yield named("relu", activation())
        if following != "pool":
            yield named("drop", nn.Dropout(dropout))
        channels = scaled

    yield "flatten", nn.Flatten()
    features = channels * size * size
    for _ in range(2):
        yield named("linear", nn.Linear(features, hidden, bias=False))
        yield named("relu", activation())
        yield named("drop", nn.Dropout(dropout))
        features = hidden
    yield named("linear", nn.Linear(features, num_classes, bias=False))
