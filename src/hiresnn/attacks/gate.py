"""The gate that every adversarial image passes, and the frozen model that every attack works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hiresnn.errors import AttackError, UsageError

Model = Callable[[Tensor], Tensor]
"""Images [B, C, H, W] in [0, 1] -> logits [B, K]."""
Attack = Callable[[Model, Tensor, Tensor], Tensor]
"""(model, images, labels) -> adversarial images of the same shape."""

ROUNDING = 1e-6
"""How far float32 rounding of image + perturbation may exceed a bound."""


def verified(attack: Attack, model: Model, images: Tensor, labels: Tensor, *, eps: float | None) -> Tensor:
    """Run any attack, also a user's own, and check what it returns.

    Args:
        eps: L-infinity bound in pixel units that the attack claims to keep; None checks the range alone.

    Raises:
        UsageError: images that are not floats in [0, 1].
        AttackError: the result has another shape, a value that is not finite, outside [0, 1], or further than eps away.
    """
    _attackable(images)
    with frozen(model):
        # The attack gets copies: one that wrote into its input would move what it is measured against.
        adversarial = attack(model, images.clone(), labels.clone()).detach()
    check(images, adversarial, eps=eps)
    return adversarial


def check(images: Tensor, adversarial: Tensor, *, eps: float | None) -> None:
    """Raise AttackError unless `adversarial` is a valid result for `images` within `eps`."""
    if adversarial.shape != images.shape:
        raise AttackError(f"the attack returned shape {tuple(adversarial.shape)} for {tuple(images.shape)} images.")
    if not images.numel():
        return
    if not torch.isfinite(adversarial).all():
        raise AttackError("the attack returned pixels that are not finite.")
    low, high = adversarial.aminmax()
    if low < 0 or high > 1:
        raise AttackError(f"the attack returned pixels in [{low:.4f}, {high:.4f}]; they must lie in [0, 1].")
    if eps is not None:
        distance = (adversarial - images).abs().max().item()
        if distance > eps + ROUNDING:
            raise AttackError(f"the attack moved a pixel by {distance:.6f}; its bound is eps = {eps:.6f}.")


def _attackable(images: Tensor) -> None:
    if not images.is_floating_point():
        raise UsageError(f"images are {images.dtype}; attacks work on floats in [0, 1]: images.float() / 255.")
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):  # NaN is neither
        raise UsageError(
            f"images have pixels in [{images.min():.4g}, {images.max():.4g}]; attacks work on pixels in [0, 1], so put "
            "any normalisation into the model (hiresnn.models.Normalise)."
        )


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Eval mode and no gradient for any parameter, for a while: an attack wants that of the images alone."""
    if not isinstance(model, nn.Module):
        yield
        return
    training = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, was in training:
            module.training = was
        for parameter, was in wanted:
            parameter.requires_grad_(was)
