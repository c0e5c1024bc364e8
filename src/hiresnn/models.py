"""Plain networks (ANNs), which are trained first and converted to spiking networks afterwards; and their layers.

The VGGs and ResNet12 have no bias, average pooling, dropout, and batch norm on request, so that they convert well.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hiresnn.errors import UsageError, closest

__all__ = ["MODELS", "QCFS", "Classifier", "MeanOverBins", "Normalise", "OwnNetwork", "build", "spec_of"]


class QCFS(nn.Module):
    """Quantised clipped ReLU with a learned threshold (Bu et al., ICLR 2022).

        y = threshold * clip(floor(levels * x / threshold + 1/2) / levels, 0, 1)

    The gradient passes straight through the rounding: with respect to x it is 1 where 0 <= x <= threshold, else 0; with
    respect to the threshold it is (y - x) / threshold there, 1 above and 0 below.

    `hiresnn.convert` makes it a LIF with this threshold. Over T = `levels` steps of constant input, a neuron that
    starts at half its threshold and does not leak sends exactly levels * y / threshold spikes.

    Args:
        levels: number of steps above 0, at least 1.
        threshold: first value, above 0. It moves slowly, so a large one stays coarse; 1 is a standard deviation behind
            a batch norm.

    Example:
        >>> QCFS(4, threshold=1.0)(torch.tensor([-1.0, 0.1, 0.2, 0.9, 2.0])).tolist()
        [0.0, 0.0, 0.25, 1.0, 1.0]
    """

    def __init__(self, levels: int, threshold: float = 1.0) -> None:
        super().__init__()
        if levels < 1 or not threshold > 0:
            raise UsageError(f"QCFS: levels is {levels} (at least 1) and threshold is {threshold} (above 0).")
        self.levels = levels
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))
        self.quantises = True  # False: a ReLU, as in the first epochs of a training

    @no_type_check  # torch.fx may call it with a Proxy
    def forward(self, current: Tensor) -> Tensor:
        if not self.quantises:
            return current.relu() + 0 * self.threshold  # an optimiser needs a gradient of it from the start
        threshold = self.threshold.clamp(min=1e-3)
        scaled = (current / threshold).clamp(0, 1) * self.levels
        rounded = scaled + ((scaled + 0.5).floor() - scaled).detach()
        return rounded * (threshold / self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, threshold={self.threshold.item():.4g}"


class Normalise(nn.Module):
    """Subtract `mean` and divide by `std`, so that an attack outside measures its bound in pixel units.

    Args:
        mean, std: one finite number per channel, in the units of the images, [0, 1]; std above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise UsageError(f"mean has {len(mean)} and std has {len(std)} numbers; give one per channel in both.")
        if not (all(map(math.isfinite, mean)) and all(0 < number < math.inf for number in std)):
            raise UsageError(f"mean is {list(mean)} and std is {list(std)}; give finite numbers, those of std above 0.")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    @no_type_check  # torch.fx calls it with a Proxy, which a run-time check of the shapes would refuse
    def forward(self, images: Tensor) -> Tensor:
        if isinstance(images, Tensor) and images.shape[1] != self.mean.shape[1]:  # grey would pass as colour
            raise UsageError(f"images have {images.shape[1]} channels, not {self.mean.shape[1]}; give [N, C, H, W].")
        return (images - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


class MeanOverBins(nn.Module):
    """Average event grids [B, T, P, H, W] over their T bins: [B, P, H, W]. The first layer of an ANN for events.

    An ANN has no time. The mean input current of a neuron in the first layer is that of the mean over the bins, and
    its spike rate follows the mean current, so the mean is what the ANN of a conversion sees. `hiresnn.convert` puts
    the encoder in the place of this layer. A batch of four dimensions, which has no bins, stays as it is.
    """

    @no_type_check  # torch.fx calls it with a Proxy, which a run-time check of the shapes would refuse
    def forward(self, grids: Tensor) -> Tensor:
        return grids.mean(1) if grids.dim() == 5 else grids


class OwnNetwork(nn.Module):
    """Images [B, C, H, W] in [0, 1], or event grids [B, T, P, H, W], -> logits [B, K], by a network of the user.

    Args:
        network: the user's; it gets normalised images, or the mean of event grids over their bins.
        spec: what describes it, in JSON types: name, source, num_classes, in_channels, height, width, normalise, and
            events, true for event grids, which may be left out.
        mean, std: of `normalise`, a `Normalise`, which is None without them.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: dict[str, Any],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.mean_over_bins = MeanOverBins() if spec.get("events") else None
        self.normalise = Normalise(mean, std) if mean is not None and std is not None else None
        self.network, self.spec = network, spec

    @no_type_check  # torch.fx calls it with a Proxy, which a run-time check of the shapes would refuse
    def forward(self, images: Tensor) -> Float[Tensor, "batch classes"]:
        images = images if self.mean_over_bins is None else self.mean_over_bins(images)
        return self.network(images if self.normalise is None else self.normalise(images))


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


def vgg_layers(spec: dict[str, Any], activation: Callable[[], nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a VGG in order, each with its name: its kind and its number within the kind, from 1.

    `spec` has the arguments of `hiresnn.models.build`. A dropout follows each activation except before a pooling.
    `activation` makes each activation; its name is relu, whatever its kind.
    """
    count: Counter[str] = Counter()

    def named(kind: str, layer: nn.Module) -> tuple[str, nn.Module]:
        count[kind] += 1
        return f"{kind}{count[kind]}", layer

    configuration = CONFIGURATIONS[spec["name"]]
    channels, size, dropout = spec["in_channels"], spec["image_size"], spec["dropout"]
    for entry, following in zip(configuration, (*configuration[1:], None), strict=True):
        if entry == "pool":
            yield named("pool", nn.AvgPool2d(2))
            size //= 2
            continue
        scaled = max(1, round(entry * spec["width"]))
        yield named("conv", nn.Conv2d(channels, scaled, 3, padding=1, bias=False))
        if spec["batch_norm"]:
            yield named("norm", nn.BatchNorm2d(scaled))
        yield named("relu", activation())
        if following != "pool":
            yield named("drop", nn.Dropout(dropout))
        channels = scaled

    yield "flatten", nn.Flatten()
    features = channels * size * size
    for _ in range(2):
        yield named("linear", nn.Linear(features, spec["hidden"], bias=False))
        yield named("relu", activation())
        yield named("drop", nn.Dropout(dropout))
        features = spec["hidden"]
    yield named("linear", nn.Linear(features, spec["num_classes"], bias=False))


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
    def forward(self, features: Tensor) -> Tensor:
        residual = self.conv2(self.drop1(self.relu1(self.conv1(features))))
        return self.relu2(residual + self.shortcut(features))


def resnet12_layers(spec: dict[str, Any], activation: Callable[[], nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of ResNet12 in order, each with its name; see `vgg_layers`."""
    channels, size, dropout, batch_norm = (spec[key] for key in ("in_channels", "image_size", "dropout", "batch_norm"))
    stem = max(1, round(64 * spec["width"]))
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
        scaled = max(1, round(full * spec["width"]))
        yield f"block{number}", BasicBlock(channels, scaled, stride, dropout, batch_norm, activation)
        channels = scaled
        size = -(-size // stride)

    yield "flatten", nn.Flatten()
    yield "linear1", nn.Linear(channels * size * size, spec["num_classes"], bias=False)


def resnet9_layers(spec: dict[str, Any], activation: Callable[[], nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of ResNet9, a small network for robust training, in order, each with its name.

    Four convolutions of 64, 128, 256 and 512 channels times `width`, with a residual block behind the second and the
    fourth. A 2x2 average pooling halves the image three times, and the mean over what is left goes to the classes.
    """
    count: Counter[str] = Counter()
    channels, size, batch_norm = spec["in_channels"], spec["image_size"], spec["batch_norm"]
    for entry in (64, 128, "pool", "block", 256, "pool", 512, "pool", "block"):
        kind = "conv" if isinstance(entry, int) else entry
        count[kind] += 1
        if entry == "pool":
            yield f"pool{count[kind]}", nn.AvgPool2d(2)
            size //= 2
        elif entry == "block":
            yield f"block{count[kind]}", BasicBlock(channels, channels, 1, spec["dropout"], batch_norm, activation)
        else:
            scaled = max(1, round(int(entry) * spec["width"]))
            yield f"conv{count[kind]}", nn.Conv2d(channels, scaled, 3, padding=1, bias=False)
            if batch_norm:
                yield f"norm{count[kind]}", nn.BatchNorm2d(scaled)
            yield f"relu{count[kind]}", activation()
            channels = scaled
    yield "pool4", nn.AvgPool2d(size)
    yield "flatten", nn.Flatten()
    yield "linear1", nn.Linear(channels, spec["num_classes"], bias=False)


MODELS = {name: 1 << layers.count("pool") for name, layers in CONFIGURATIONS.items()} | {"resnet12": 2, "resnet9": 8}
"""Name -> the smallest image that the network accepts, in pixels per side: one pixel must remain behind the pools."""


class Classifier(nn.Sequential):
    """A network from images [B, C, H, W] in [0, 1], or from event grids, to logits [B, K].

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
    events: bool = False,
) -> Classifier:
    """Build an untrained network, with Kaiming-normal weights (fan in) from torch's global generator.

    Args:
        name: one of `MODELS`: vgg5, vgg11, vgg16, vgg16-4pools, resnet12, resnet9.
        num_classes: K, the number of logits.
        in_channels, image_size: C and H = W of the images.
        width: factor on the channels of every convolution, above 0.
        hidden: width of the hidden linear layers of a VGG.
        dropout: probability in [0, 1) that an activation is dropped in training.
        batch_norm: a batch norm after each convolution; `convert` folds it into the convolution.
        activation: "relu", or "qcfs" with that many `levels`: quantised and clipped, see `QCFS`.
        mean, std: one number per channel, in [0, 1] units, for a `Normalise` as the first layer; None for none.
        events: take event grids [B, T, P, H, W], of which the network sees the mean over the T bins; in_channels is P.

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
    if events:
        spec["events"] = True
    _check_ranges(spec)
    make: Callable[[], nn.Module] = nn.ReLU if activation == "relu" else partial(QCFS, levels)
    residual = {"resnet12": resnet12_layers, "resnet9": resnet9_layers}
    layers = residual.get(name, vgg_layers)(spec, make)
    first: list[tuple[str, nn.Module]] = [("mean_over_bins", MeanOverBins())] if events else []
    first += [("normalise", Normalise(mean, std))] if mean is not None and std is not None else []
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
