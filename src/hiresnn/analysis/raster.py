"""A picture of which neuron spikes at which timestep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from hiresnn.analysis.spikes import recording
from hiresnn.attacks import frozen
from hiresnn.checks import require_batch
from hiresnn.errors import UsageError
from hiresnn.figures import new_figure
from hiresnn.foreign import Unrolled
from hiresnn.network import SpikingNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_IMAGES = 8


def spike_raster(
    network: SpikingNetwork | Unrolled,
    images: Float[Tensor, "image ..."],
    titles: Sequence[str] = (),
    *,
    neurons: int = 40,
) -> Figure:
    """Draw the spikes of every layer for each image: one column per image, one row per layer, time to the right.

    A neuron that spikes at a timestep is black there, or grey where other neurons spike several times per step.

    For a clean image beside the attacked one: `spike_raster(network, torch.cat([clean, attacked]), ["clean",
    "attacked"])`. Every column shows the same neurons, spread evenly over the layer. The network runs in eval mode and
    is left as it was.

    Args:
        network: a converted network, or one of another library in its adapter.
        images: 1 to 8 images [N, C, H, W] in [0, 1], drawn above their spikes, or event grids [N, T, P, H, W].
        titles: one for each image; the class that the network answers is written below it.
        neurons: how many neurons of each layer are drawn, at least 1.

    Returns:
        A `matplotlib.figure.Figure`, which a notebook shows; `.savefig(path)` writes it.

    Raises:
        UsageError: matplotlib is not installed, the adapter names no layers of neurons, or there are too few or too
            many images, titles or neurons, or images are no floats in [0, 1].
    """
    if not 1 <= len(images) <= MOST_IMAGES or neurons < 1 or (titles and len(titles) != len(images)):
        raise UsageError(
            f"spike_raster draws 1 to {MOST_IMAGES} images, with no titles or one each, and at least 1 neuron; it got "
            f"{len(images)} images, {len(titles)} titles and neurons={neurons}."
        )
    require_batch(images, pixels="float")
    with torch.no_grad(), frozen(network), recording(network) as spikes:
        answers = network(images.clone()).argmax(1).tolist()
    pictures = [_picture(image).numpy() for image in images.detach().float().cpu()] if images.dim() == 4 else []
    heights = [1.4] * bool(pictures) + [1.1] * len(spikes)
    figure = new_figure(1.2 + 2 * len(images), 0.6 + sum(heights))
    grid = figure.subplots(len(heights), len(images), squeeze=False, height_ratios=heights)
    for column, answer in enumerate(answers):
        grid[0, column].set_title("\n".join([*titles[column : column + 1], f"answer: class {answer}"]), fontsize=9)
        if pictures:
            grid[0, column].imshow(pictures[column], cmap="gray", vmin=0, vmax=1)
            grid[0, column].axis("off")
    for row, (name, layer) in enumerate(spikes.items(), start=len(heights) - len(spikes)):
        rows = layer.flatten(2)  # [T, image, neuron]
        chosen = torch.linspace(0, rows.shape[2] - 1, min(neurons, rows.shape[2])).round().long()
        grid[row, 0].set_ylabel(f"{name}\n{len(chosen)} of {rows.shape[2]:,}", fontsize=8)
        for column, axes in enumerate(grid[row]):
            cells, most = rows[:, column, chosen.to(rows.device)].T.cpu().numpy(), max(1.0, float(rows.max()))
            extent = (0.5, len(rows) + 0.5, -0.5, len(chosen) - 0.5)
            axes.imshow(cells, cmap="binary", vmin=0, vmax=most, aspect="auto", interpolation="nearest", extent=extent)
            axes.set_yticks([])
            axes.tick_params(labelbottom=row == len(heights) - 1, labelsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("timestep", fontsize=8)
    return figure


def _picture(image: Tensor) -> Tensor:
    """An image [C, H, W] as matplotlib takes it: colours, or the mean of the channels in grey."""
    return image.permute(1, 2, 0).clamp(0, 1) if len(image) == 3 else image.mean(0)
