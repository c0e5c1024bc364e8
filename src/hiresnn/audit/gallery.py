"""Pictures for the card: images beside their adversarial twins, and what was changed, amplified around grey."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor

GREY = 0.5
"""What an unchanged pixel looks like in an amplified difference."""


def png(image: Tensor) -> str:
    """An image [C, H, W] in [0, 1] as an 8-bit PNG in base64; 1 channel is grey, 3 are colour, else the first is shown.

    Values outside [0, 1] are clipped.
    """
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to("cpu").numpy().astype(np.uint8)
    shown = Image.fromarray(pixels[0], "L") if len(pixels) != 3 else Image.fromarray(pixels.transpose(1, 2, 0), "RGB")
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def amplified(clean: Tensor, adversarial: Tensor) -> tuple[Tensor, float]:
    """(0.5 + factor * difference, factor): the largest change fills the range from black to white."""
    difference = adversarial - clean
    largest = float(difference.abs().max())
    factor = GREY / largest if largest else 1.0
    return GREY + factor * difference, factor


def chosen(levels: list[int], headline: int, count: int) -> list[int]:
    """Images to show: those that fell, from small bounds to large up to the headline, spread evenly; `count` at most.

    Args:
        levels: for each image the position of the smallest bound that broke it, 0 for one that is misclassified or that
            nothing broke.
        headline: position of the headline's bound; if nothing fell up to there, any bound is taken.
    """
    fell = [image for image, level in enumerate(levels) if 0 < level <= headline]
    fell = fell or [image for image, level in enumerate(levels) if level > 0]
    fell.sort(key=lambda image: (levels[image], image))
    if len(fell) <= count:
        return fell
    places = np.linspace(0, len(fell) - 1, count).round().astype(int)
    return [fell[place] for place in places]
