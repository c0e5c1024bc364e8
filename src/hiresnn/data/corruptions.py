"""Corruptions at five severities: noise, blur and others of images, faults of the sensor in event grids.

Those of images are twelve of CIFAR-10-C (Hendrycks and Dietterich 2019) with the published constants, regenerated from
their definitions, because the original images cannot be shipped. Results are rounded to the nearest of 256 levels.
Lengths in pixels are those for 32x32 and are not scaled. JPEG is left out, because its bytes depend on the version of
the library, as are zoom, snow, frost, spatter, elastic transforms, and saturation, which does nothing to grey images.

A seed gives the same bytes on every machine. Draws are integers from the raw output of Philox, which numpy keeps fixed
over its versions. Sums are of whole numbers below 2**53, so their order does not matter; other steps are single
operations of IEEE 754 (+, -, *, /, rounding), exact everywhere. The normal quantile, exp, sin and cos, whose last bits
differ between machines, fill only small tables of multiples of 1/65536, and no entry is near the middle between two.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hiresnn.checks import require_batch
from hiresnn.errors import UsageError, closest

Whole = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
UNIT = 1 << 16  # one, in tables of whole numbers; and a draw is one of so many numbers
CHUNK = 100  # images at a time
PHOTONS = 700  # counts that shot noise distinguishes; the brightest pixel has a mean of 500


class Draws:
    """Whole numbers from 0 to 65535 for each image of a batch, whose content and `key` determine the stream."""

    def __init__(self, images: Whole, key: str) -> None:
        texts = (f"{key} {image.shape}".encode() + image.astype("<i8").tobytes() for image in images)
        digests = (hashlib.sha256(text).digest()[:16] for text in texts)
        self._streams = [np.random.Philox(key=int.from_bytes(digest, "little")) for digest in digests]

    def __call__(self, *shape: int) -> Whole:
        """The next draws, [B, *shape]."""
        count = math.prod(shape)
        words = np.stack([stream.random_raw(-(-count // 4)) for stream in self._streams]).astype("<u8")
        return words.view("<u2")[:, :count].reshape(-1, *shape).astype(np.int64)

    def true(self, percent: float, *shape: int) -> Any:
        """True with this probability, [B, *shape]."""
        return 100 * self(*shape) < percent * UNIT


def corrupt(images: Tensor, name: str, severity: int, *, seed: int = 0, binary: bool = False) -> Tensor:
    """Corrupt images or event grids, with the same bytes on every machine.

    What happens to an image depends on its content and on the arguments, not on the rest of the batch.

    Args:
        images: [B, C, H, W], floats in [0, 1], which are rounded to 8 bits first, or uint8; or event grids
            [B, T, P, H, W] of any type, whose cells are numbers of events from 0 to 255.
        name: of `CORRUPTIONS` for images, of `EVENT_CORRUPTIONS` for event grids.
        severity: 1 (weak) to 5.
        seed: of all random choices.
        binary: whether cells of event grids stay 0 or 1; else they stay in 0 to 255.

    Returns:
        A tensor of the same shape, type and device; floats are multiples of 1/255, cells of grids whole numbers.

    Raises:
        UsageError: no such corruption or severity, or a tensor that holds no images or event grids.

    Example:
        >>> grey = torch.full((1, 1, 1, 2), 0.5)
        >>> (255 * corrupt(grey, "brightness", 3)).round().int().tolist()  # 128 + 0.15 * 255
        [[[[166, 166]]]]
    """
    require_batch(images, pixels="either")
    grids = images.dim() == 5
    table, title = (EVENT_CORRUPTIONS, "event grids") if grids else (CORRUPTIONS, "images")
    if name not in table:
        raise UsageError(f"no corruption of {title} is {name!r}; {closest(name, table)}.")
    apply, constants = table[name]
    if severity not in range(1, len(constants) + 1):
        raise UsageError(f"severity is {severity}; give a whole number from 1 to {len(constants)}.")
    floats = not grids and images.is_floating_point()
    values = (images.detach().cpu().double() * 255).round() if floats else images.detach().cpu()
    if grids and not ((values <= 255) & (values.long() == values)).all():
        raise UsageError("event grids have cells that are no number of events; give whole numbers from 0 to 255.")
    result = values.long().clone()
    for chunk in torch.split(result, CHUNK) if len(result) else ():
        draws = Draws(chunk.numpy(), f"{name} {severity} {seed}")
        corrupted = apply(chunk.numpy(), constants[severity - 1], draws)
        chunk.copy_(torch.from_numpy(corrupted.clip(0, 1 if grids and binary else 255)))
    return (result.to(images.dtype) / 255 if floats else result.to(images.dtype)).to(images.device)


def _divided(numerator: Whole, denominator: Whole | np.int64 | int) -> Whole:
    """The quotient, rounded to the nearest whole number, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


@cache
def _normal() -> Whole:
    """65536 * z for the normal quantiles z of (k + 1/2) / 65536."""
    from scipy.special import ndtri  # here, because its import takes time

    return np.asarray(np.rint(UNIT * ndtri((np.arange(UNIT) + 0.5) / UNIT)), np.int64)


@cache
def _poisson(rate: int) -> Floats:
    """65536 * the Poisson distribution function, [256, PHOTONS], for means of level / 255 * rate."""
    ratios = np.arange(256)[:, None] * rate / 255 / np.arange(1, PHOTONS)
    totals = np.cumprod(np.hstack([np.ones((256, 1)), ratios]), 1).cumsum(1)  # one after another, without exp
    return np.asarray(totals / totals[:, -1:] * UNIT)


def _bell(sigma: float, radius: int) -> Whole:
    """65536 * exp(-x**2 / (2 sigma**2)) for x from -radius to radius."""
    return np.rint([UNIT * math.exp(-(x**2) / (2 * sigma**2)) for x in range(-radius, radius + 1)]).astype(np.int64)


def _filtered(x: Whole, kernel: Whole, pad: Literal["constant", "edge", "reflect"]) -> Whole:
    """The sum of the neighbours, weighted by a kernel of odd size."""
    (up, left), (height, width) = (size // 2 for size in kernel.shape), x.shape[-2:]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(up, up), (left, left)], pad)
    parts = (w * padded[..., i : i + height, j : j + width] for (i, j), w in np.ndenumerate(kernel) if w)
    return np.asarray(sum(parts))


def _gaussian_noise(x: Whole, percent: int, draws: Draws) -> Whole:
    return _divided(100 * UNIT * x + 255 * percent * _normal()[draws(*x.shape[1:])], 100 * UNIT)


def _speckle_noise(x: Whole, percent: int, draws: Draws) -> Whole:
    return _divided(x * (100 * UNIT + percent * _normal()[draws(*x.shape[1:])]), 100 * UNIT)


def _shot_noise(x: Whole, rate: int, draws: Draws) -> Whole:
    position, counts = draws(*x.shape[1:]) + 0.5, np.zeros_like(x)
    for level in np.unique(x):
        same = x == level
        counts[same] = np.searchsorted(_poisson(rate)[level], position[same])
    return _divided(255 * counts, rate)


def _impulse_noise(x: Whole, percent: int, draws: Draws) -> Whole:
    return np.where(draws.true(percent, *x.shape[1:]), 255 * draws.true(50, *x.shape[1:]), x)


def _defocus_blur(x: Whole, constants: tuple[float, float], draws: Draws) -> Whole:
    (radius, sigma), squares = constants, np.arange(-2, 3) ** 2
    disc = (squares[:, None] + squares <= radius**2).astype(np.int64)
    kernel = _filtered(disc, np.outer(_bell(sigma, 1), _bell(sigma, 1)), "constant")
    return _divided(_filtered(x, kernel, "reflect"), kernel.sum())


def _gaussian_blur(x: Whole, sigma: float, draws: Draws) -> Whole:
    bell = _bell(sigma, int(4 * sigma + 0.5))
    return _divided(_filtered(x, np.outer(bell, bell), "edge"), bell.sum() ** 2)


def _glass_blur(x: Whole, constants: tuple[float, int], draws: Draws) -> Whole:
    (sigma, rounds), (height, width), images = constants, x.shape[2:], np.arange(len(x))
    x, moves = _gaussian_blur(x, sigma, draws), draws(rounds, height, width)
    for turn, i, j in product(range(rounds), range(height - 1, 1, -1), range(width - 1, 1, -1)):
        row, column = i - (moves[:, turn, i, j] & 1), j - (moves[:, turn, i, j] >> 1 & 1)
        here, there = x[:, :, i, j].copy(), x[images, :, row, column]
        x[:, :, i, j], x[images, :, row, column] = there, here
    return _gaussian_blur(x, sigma, draws)


def _directions() -> Whole:
    """65536 * (sine, cosine) of -45 to 45 degrees, [2, 91]."""
    angles = [math.radians(degrees) for degrees in range(-45, 46)]
    return np.array([[round(UNIT * function(angle)) for angle in angles] for function in (math.sin, math.cos)])


def _motion_blur(x: Whole, constants: tuple[int, float], draws: Draws) -> Whole:
    (radius, sigma), (height, width), total = constants, x.shape[2:], np.zeros_like(x)
    weights, direction = _bell(sigma, 2 * radius)[2 * radius :], _directions()[:, draws(1, 1) * 91 // UNIT]
    for step, weight in enumerate(weights):
        down, right = -((UNIT - 2 * step * direction) // (2 * UNIT))
        rows, columns = (np.arange(height)[:, None] + down).clip(0, height - 1), np.arange(width) + right
        index = (rows * width + columns.clip(0, width - 1)).reshape(len(x), 1, -1)
        total += weight * np.take_along_axis(x.reshape(*x.shape[:2], -1), index, 2).reshape(x.shape)
    return _divided(total, weights.sum())


def _fog(x: Whole, constants: tuple[float, float], draws: Draws) -> Whole:
    (strength, decay), side = constants, 1 << (max(x.shape[2:]) - 1).bit_length()
    field, amplitude, step = np.zeros((len(x), side, side)), 1.0, side  # a fractal on a torus

    def midpoint(pairs: Floats, others: Floats) -> Floats:
        return (pairs + others) / 4 + amplitude * ((2 * draws(*pairs.shape[1:]) + 1 - UNIT) / UNIT)

    while step >= 2:
        half, corners = step // 2, field[:, ::step, ::step].copy()
        down, right = corners + np.roll(corners, -1, 1), corners + np.roll(corners, -1, 2)
        centres = midpoint(down, np.roll(down, -1, 2))
        field[:, half::step, half::step] = centres
        field[:, ::step, half::step] = midpoint(right, centres + np.roll(centres, 1, 1))
        field[:, half::step, ::step] = midpoint(down, centres + np.roll(centres, 1, 2))
        step, amplitude = half, amplitude / (decay * decay)
    field -= field.min((1, 2), keepdims=True)
    field /= np.maximum(field.max((1, 2), keepdims=True), 1e-9)
    mist, peak = 255 * strength * field[:, None, : x.shape[2], : x.shape[3]], x.max((1, 2, 3), keepdims=True)
    return np.asarray(np.floor((x + mist) * peak / (peak + 255 * strength) + 0.5), np.int64)


def _brightness(x: Whole, percent: int, draws: Draws) -> Whole:
    value = x.max(1, keepdims=True)  # V of HSV; hue and saturation stay
    brighter = np.minimum(100 * value + 255 * percent, 25500)
    return np.where(value, _divided(x * brighter, 100 * np.maximum(value, 1)), _divided(brighter, 100))


def _contrast(x: Whole, percent: int, draws: Draws) -> Whole:
    pixels = x.shape[2] * x.shape[3]
    return _divided(percent * pixels * x + (100 - percent) * x.sum((2, 3), keepdims=True), 100 * pixels)


def _pixelate(x: Whole, percent: int, draws: Draws) -> Whole:
    small = [max(size * percent // 100, 1) for size in x.shape[2:]]
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(x.shape[2:], small, strict=True))
    up, across = ((index == np.arange(m)[:, None]) * 1.0 for index, m in zip((rows, columns), small, strict=True))
    sums, areas = up @ x.astype(np.float64) @ across.T, np.outer(up.sum(1), across.sum(1))
    return _divided(sums.astype(np.int64), areas.astype(np.int64))[:, :, rows[:, None], columns]


def _dead_pixels(x: Whole, percent: int, draws: Draws) -> Whole:
    return np.where(draws.true(percent, 1, 1, *x.shape[3:]), 0, x)


def _hot_pixels(x: Whole, percent: float, draws: Draws) -> Whole:
    hot, polarity = draws.true(percent, 1, 1, *x.shape[3:]), draws(1, 1, *x.shape[3:]) * x.shape[2] // UNIT
    firing = hot & (polarity == np.arange(x.shape[2])[:, None, None])
    return np.where(firing, x.max((1, 2, 3, 4), keepdims=True).clip(1), x)


def _dropped_packets(x: Whole, percent: int, draws: Draws) -> Whole:
    band = np.arange(x.shape[3]) * 4 // x.shape[3]
    return np.where(draws.true(percent, x.shape[1], 1, 4, 1)[:, :, :, band], 0, x)


def _each_event(x: Whole) -> Iterator[Any]:
    """Where there is a first event in a cell, where a second one, and so on."""
    yield from (x > count for count in range(x.max(initial=0)))


def _rate(x: Whole, constants: tuple[int, int], draws: Draws) -> Whole:
    (kept, doubled), result = constants, np.zeros_like(x)
    for event in _each_event(x):
        result += event & draws.true(kept, *x.shape[1:])
        copies = event & draws.true(doubled, *x.shape[1:])
        result[:, 1:] += copies[:, :-1]
        result[:, -1] += copies[:, -1]
    return result


def _jitter(x: Whole, most: int, draws: Draws) -> Whole:
    result, last = np.zeros_like(x), x.shape[1] - 1
    for event in _each_event(x):
        shift = draws(*x.shape[1:]) * (2 * most + 1) // UNIT - most
        for start, step in product(range(last + 1), range(-most, most + 1)):
            result[:, min(max(start + step, 0), last)] += event[:, start] & (shift[:, start] == step)
    return result


def _polarity_errors(x: Whole, percent: int, draws: Draws) -> Whole:
    result = np.zeros_like(x)
    for event in _each_event(x):
        wrong = event & draws.true(percent, *x.shape[1:])
        result += (event & ~wrong) + wrong[:, :, ::-1] * 1
    return result


Table = dict[str, tuple[Callable[[Whole, Any, Draws], Whole], Sequence[Any]]]
CORRUPTIONS: Table = {
    "gaussian-noise": (_gaussian_noise, (4, 6, 8, 9, 10)),
    "shot-noise": (_shot_noise, (500, 250, 100, 75, 50)),
    "impulse-noise": (_impulse_noise, (1, 2, 3, 5, 7)),
    "speckle-noise": (_speckle_noise, (6, 10, 12, 16, 20)),
    "defocus-blur": (_defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "gaussian-blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),
    "glass-blur": (_glass_blur, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))),
    "motion-blur": (_motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "fog": (_fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (_brightness, (5, 10, 15, 20, 30)),
    "contrast": (_contrast, (75, 50, 40, 30, 15)),
    "pixelate": (_pixelate, (95, 90, 85, 75, 65)),
}
"""Name -> function and constants of the five severities: those of CIFAR-10-C, shares in percent."""
EVENT_CORRUPTIONS: Table = {
    "dead-pixels": (_dead_pixels, (5, 10, 20, 30, 50)),  # percent of the pixels, silent in all bins
    "hot-pixels": (_hot_pixels, (0.2, 0.5, 1, 2, 5)),  # percent, with the grid's highest count in every bin
    "rate": (_rate, ((80, 0), (100, 50), (50, 0), (100, 100), (20, 0))),  # percent kept; copied to the next bin
    "jitter": (_jitter, (1, 2, 3, 4, 5)),  # bins by which an event is moved at most, forwards or backwards
    "dropped-packets": (_dropped_packets, (5, 10, 20, 30, 50)),  # percent; a packet is a bin of a quarter of the rows
    "polarity-errors": (_polarity_errors, (5, 10, 20, 30, 50)),  # percent of the events; nothing happens for P = 1
}
"""The same for event grids; the constants are ours."""
