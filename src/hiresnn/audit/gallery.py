"""Pictures for the card: images, their adversarial versions, and the change, amplified around grey."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor

GREY = 0.5
"""Grey value of an unchanged pixel in an amplified difference."""


def png(image: Tensor) -> str:
    """Encode an image [C, H, W] in [0, 1] as an 8-bit PNG in base64; values outside [0, 1] are clipped.

    Three channels become a colour picture; otherwise the first channel becomes a grey one.
    """
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to("cpu").numpy().astype(np.uint8)
    picture = Image.fromarray(pixels[0], "L") if len(pixels) != 3 else Image.fromarray(pixels.transpose(1, 2, 0), "RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def amplified(clean: Tensor, adversarial: Tensor) -> tuple[Tensor, float]:
    """(0.5 + factor * difference, factor); the factor makes the largest change fill the range from black to white."""
    difference = adversarial - clean
    largest = float(difference.abs().max())
    factor = GREY / largest if largest else 1.0
    return GREY + factor * difference, factor


def choose_pictures(levels: list[int], headline: int, count: int) -> list[int]:
    """At most `count` broken images, spread evenly from the smallest bound up to the headline.

    Args:
        levels: for each image the position of the smallest bound that broke it; 0 if it is misclassified or unbroken.
        headline: position of the headline bound; if nothing was broken up to it, any bound counts.
    """
    broken = [image for image, level in enumerate(levels) if 0 < level <= headline]
    broken = broken or [image for image, level in enumerate(levels) if level > 0]
    broken.sort(key=lambda image: (levels[image], image))
    if len(broken) <= count:
        return broken
    places = np.linspace(0, len(broken) - 1, count).round().astype(int)
    return [broken[place] for place in places]
