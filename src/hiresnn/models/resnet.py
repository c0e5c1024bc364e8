"""ResNet12: a stem of three convolutions, four basic blocks and a linear layer, without bias; batch norm on request."""

from collections.abc import Callable, Iterator
from typing import no_type_check

from jaxtyping import Float
from torch import Tensor, nn

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
