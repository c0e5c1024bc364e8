"""Randomised smoothing: the most frequent answer of a network under noise, and a radius in which it cannot change.

The smoothed classifier g(x) is the class c with the highest P(f(x + noise) = c). The certificate is a statement about
g, not about one call of the network f, and holds with probability 1 - alpha for each image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.attacks.ball import unit
from hiresnn.attacks.gate import Images, Labels, Model, frozen, seeded, with_gradients
from hiresnn.checks import require_batch, require_logits
from hiresnn.errors import UsageError
from hiresnn.foreign import require_adapter
from hiresnn.models import Normalise
from hiresnn.network import SpikingNetwork

ABSTAINS = -1
BLOCK = 500
"""Noisy copies of an image that are drawn at once; the random numbers therefore do not depend on the batch size."""


class Smoothing(Protocol):
    """A kind of noise: noisy copies of an image, and the radius that follows from a probability."""

    norm: ClassVar[str]

    def draw(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return [count, ...], noisy copies of an image [...]."""

    def radius(self, p: float) -> float:
        """Return R for a class of probability >= p > 1/2: g has this class wherever the distance is below R."""

    def distance(self, change: Tensor) -> float:
        """Return the norm of a change of one image."""


@dataclass(frozen=True)
class Gaussian:
    """Gaussian noise of deviation `sigma`, in pixel units, above 0 (Cohen, Rosenfeld and Kolter, ICML 2019).

    R = sigma * Phi^-1(p) in L2. Noisy images are clipped to [0, 1], as in training with method "gaussian"; the clip is
    part of the classifier that is smoothed, so the theorem holds as it is.
    """

    sigma: float
    norm: ClassVar[str] = "L2"

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise UsageError(f"sigma is {self.sigma}; give a deviation above 0 in pixel units, such as 0.25.")

    def draw(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(count, *image.shape, generator=generator)
        return (image + self.sigma * noise.to(image)).clamp(0, 1)

    def radius(self, p: float) -> float:
        from scipy.stats import norm

        return self.sigma * float(norm.ppf(p))

    def distance(self, change: Tensor) -> float:
        return float(change.double().norm())


@dataclass(frozen=True)
class RateCoding:
    """The spikes of rate coding as noise: the network itself draws `timesteps` Bernoulli values for each pixel.

    One draw of a pixel moves in total variation by at most the change of the pixel, and T independent draws by at most
    T times as much. So p falls by at most T times the L1 norm of the change, and R = (p - 1/2) / T in L1. Without the
    division the radius is wrong: see docs/certify.md.

    Args:
        timesteps: T, at least 1.
        scale: pixel change per change of the rate, the smallest `std` of a normalisation before the encoder.
    """

    timesteps: int
    scale: float = 1.0
    norm: ClassVar[str] = "L1"

    def __post_init__(self) -> None:
        if self.timesteps < 1 or not 0 < self.scale < math.inf:
            raise UsageError(f"timesteps is {self.timesteps} (at least 1) and scale is {self.scale} (above 0).")

    @classmethod
    def of(cls, network: object) -> "RateCoding":
        """Return the smoothing of a spiking network with Poisson input. Raises UsageError for another network."""
        if not isinstance(network, SpikingNetwork) or network.encoding.encoding != "poisson":
            raise UsageError("the network has no Poisson input; use Gaussian noise, --smoothing sigma=0.25.")
        scales = [float(layer.std.min()) for layer in network.layers.modules() if isinstance(layer, Normalise)]
        return cls(network.timesteps, min(scales, default=1.0))

    def draw(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        return image.expand(count, *image.shape)

    def radius(self, p: float) -> float:
        return self.scale * (p - 0.5) / self.timesteps

    def distance(self, change: Tensor) -> float:
        return float(change.double().abs().sum())


class Certificate(NamedTuple):
    """Certificates of N images.

    Attributes:
        prediction: class of the smoothed classifier, or `ABSTAINS`.
        radius: R > 0: no image at a smaller distance has another class; 0 where it abstains.
        probability: lower bound of the probability of the class; 0 where it abstains.
    """

    prediction: Int64[Tensor, " images"]
    radius: Float[Tensor, " images"]
    probability: Float[Tensor, " images"]

    def holds(self, labels: Labels, radius: float = 0.0) -> Bool[Tensor, " images"]:
        """Return which images are certified: classified as their label at every distance up to `radius`."""
        return (self.prediction == labels.cpu()) & (self.radius > radius)


def lower_bound(count: int, of: int, alpha: float) -> float:
    """Return the exact (Clopper-Pearson) lower bound of a probability, one-sided with confidence 1 - alpha.

    >>> lower_bound(0, 10, 0.05), round(lower_bound(10, 10, 0.05), 4)  # the last is 0.05 ** (1 / 10)
    (0.0, 0.7411)
    """
    from scipy.stats import beta

    return float(beta.ppf(alpha, count, of - count + 1)) if count else 0.0


def certify_smoothed(
    model: Model,
    images: Tensor,
    smoothing: Smoothing,
    *,
    n0: int = 100,
    n: int = 1000,
    alpha: float = 0.001,
    seed: int = 0,
    batch_size: int = BLOCK,
    advance: Callable[[], object] = lambda: None,
) -> Certificate:
    """Certify a classifier under noise, as a black box, in two stages (Cohen et al. 2019, algorithm CERTIFY).

    The most frequent of `n0` answers selects the class, and `n` further answers bound its probability from below. Where
    the bound is not above 1/2 the classifier abstains.

    Args:
        model: images -> logits; a module is in eval mode meanwhile.
        images: [N, C, H, W] in [0, 1], or event grids [N, T, P, H, W] of 0 and 1 for `Sparse`.
        smoothing: `Gaussian`, `RateCoding` or `Sparse`.
        n0, n: noisy copies of each image for the two stages, at least 1. The largest possible radius grows with n.
        alpha: probability that the certificate of an image is wrong, in (0, 1).
        seed: of the noise; the numbers of an image depend on the seed and the position of the image alone.
        batch_size: copies per forward pass. It changes the result only of a network that draws random numbers itself.
        advance: called after each image, for a progress bar.

    Raises:
        UsageError: a value is out of range, the model returns no logits, or it is a network of another library without
            its adapter, whose answers depend on each other.

    Example:
        >>> certify_smoothed(network, images, Gaussian(0.25), n=10_000).radius  # doctest: +SKIP
    """
    if min(n0, n, batch_size) < 1 or not 0 < alpha < 1:
        raise UsageError(
            f"n0 is {n0}, n is {n}, batch size is {batch_size} (at least 1), alpha is {alpha} (in (0, 1))."
        )
    require_adapter(model)
    if images.dim() == 4:
        require_batch(images)
    rows: list[tuple[int, float, float]] = []
    with frozen(model):
        for position, image in enumerate(images):
            with seeded(_seed(seed, position)):
                generator = torch.Generator().manual_seed(_seed(seed, position))
                selected = int(_votes(model, image, smoothing, n0, generator, batch_size).argmax())
                votes = _votes(model, image, smoothing, n, generator, batch_size)
            p = lower_bound(int(votes[selected]), n, alpha)
            rows.append((selected, smoothing.radius(p), p) if p > 0.5 else (ABSTAINS, 0.0, 0.0))
            advance()
    classes, *numbers = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), 3).T
    return Certificate(classes.long(), *numbers)


@with_gradients
def attack_smoothed(
    model: Model,
    images: Images,
    labels: Labels,
    smoothing: Smoothing,
    *,
    step: float = 0.1,
    steps: int = 40,
    draws: int = 32,
    n: int = 500,
    alpha: float = 0.001,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Float[Tensor, " images"]:
    """Return the distance of the nearest image found that the smoothed classifier does not assign to the label.

    It follows the gradient averaged over `draws` noisy copies (Salman et al., NeurIPS 2019) for up to `steps` steps of
    L2 length `step`, and then bisects the way back to the image. An image counts if the label has a probability below
    1/2 with confidence 1 - alpha over `n` copies. The distance is infinite where the attack fails, and in the norm of
    the smoothing. No certified radius may exceed it, but for the images on which a certificate or this test errs.
    """
    require_adapter(model)
    require_batch(images, labels)
    distances = []

    def broken(image: Tensor, label: int, generator: torch.Generator) -> bool:
        others = n - int(_votes(model, image, smoothing, n, generator, n)[label:][:1].sum())
        return lower_bound(others, n, alpha) > 0.5

    with frozen(model):
        for position, (image, label) in enumerate(zip(images, labels, strict=True)):
            with seeded(_seed(seed, position)):
                generator = torch.Generator().manual_seed(_seed(seed + 1, position))
                moved, reached = image, False
                for _ in range(steps + 1):
                    start = moved.detach().requires_grad_()
                    logits = model(smoothing.draw(start, draws, generator))
                    if (logits.argmax(1) == label).sum() < draws / 2 and (
                        reached := broken(moved, int(label), generator)
                    ):
                        break
                    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, label.expand(draws)), start)
                    moved = (start + step * unit(gradient[None])[0]).detach().clamp(0, 1)
                low, high = 0.0, 1.0
                for _ in range(8 if reached else 0):
                    middle = (low + high) / 2
                    inside = broken(image + middle * (moved - image), int(label), generator)
                    low, high = (low, middle) if inside else (middle, high)
                distances.append(smoothing.distance(high * (moved - image)) if reached else math.inf)
            advance()
    return torch.tensor(distances, dtype=torch.float64)


def _seed(seed: int, position: int) -> int:
    return int(np.random.SeedSequence([seed, position]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@torch.no_grad()
def _votes(
    model: Model, image: Tensor, smoothing: Smoothing, count: int, generator: torch.Generator, batch_size: int
) -> Tensor:
    """Count the answers to `count` noisy copies, per class; an answer that is not finite is that of no class."""
    votes = torch.zeros(0, dtype=torch.int64)
    for start in range(0, count, BLOCK):
        block = smoothing.draw(image, min(BLOCK, count - start), generator)
        for copies in torch.split(block, batch_size):
            logits = model(copies)
            require_logits(logits, len(copies))
            answers = logits.argmax(1)[logits.isfinite().all(1)].cpu()
            found = answers.bincount(minlength=logits.shape[1])
            votes = found + votes if len(votes) else found
    return votes
