"""VGG networks and ResNet12 that convert well to spikes: no bias, average pooling, dropout, batch norm on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, no_type_check

from jaxtyping import Float
from torch import Tensor, nn

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


STEM_CHANNELS = 64
BLOCKS = ((64, 1), (128, 2), (256, 2), (512, 2))  # output channels, stride


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the second activation comes after their sum.

    The shortcut is the identity, or a 1x1 convolution with the block's stride where channels or size change.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        dropout: float,
        batch_norm: bool = False,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()

        def convolution(channels: int, size: int, stride: int) -> nn.Module:
            layer = nn.Conv2d(channels, out_channels, size, stride, padding=size // 2, bias=False)
            return nn.Sequential(layer, nn.BatchNorm2d(out_channels)) if batch_norm else layer

        self.conv1 = convolution(in_channels, 3, stride)
        self.relu1 = activation()
        self.drop1 = nn.Dropout(dropout)
        self.conv2 = convolution(out_channels, 3, 1)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = convolution(in_channels, 1, stride)
        self.relu2 = activation()

    @no_type_check  # torch.fx calls it with a Proxy, which a run-time check of the shapes would refuse
    def forward(
        self, features: Float[Tensor, "batch in_channel height width"]
    ) -> Float[Tensor, "batch out_channel out_height out_width"]:
        """Compute features whose sides are divided by the stride and rounded up."""
        residual = self.conv2(self.drop1(self.relu1(self.conv1(features))))
        return self.relu2(residual + self.shortcut(features))


def resnet12_layers(
    num_classes: int,
    *,
    in_channels: int,
    image_size: int,
    width: float,
    dropout: float,
    batch_norm: bool = False,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of ResNet12 in order, each with its name; `hiresnn.models.build` checks the arguments.

    `width` scales the channels of the stem and of the blocks. With `batch_norm` one follows each convolution;
    `activation` makes each activation.
    """
    channels, size = in_channels, image_size
    stem = max(1, round(STEM_CHANNELS * width))
    for number in (1, 2, 3):
        yield f"conv{number}", nn.Conv2d(channels, stem, 3, padding=1, bias=False)
        if batch_norm:
            yield f"norm{number}", nn.BatchNorm2d(stem)
        yield f"relu{number}", activation()
        if number < 3:
            yield f"drop{number}", nn.Dropout(dropout)
        channels = stem
    yield "pool1", nn.AvgPool2d(2)
    size //= 2

    for number, (full, stride) in enumerate(BLOCKS, start=1):
        scaled = max(1, round(full * width))
        yield f"block{number}", BasicBlock(channels, scaled, stride, dropout, batch_norm, activation)
        channels = scaled
        size = -(-size // stride)

    yield "flatten", nn.Flatten()
    yield "linear1", nn.Linear(channels * size * size, num_classes, bias=False)
