"""Options of attacks: types, limits and text form, the same in every attack.

The checks on images before and after every attack, and the state that a model is attacked in.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from hiresnn.eps import format_eps, format_number, parse_eps, read_number
from hiresnn.errors import AttackError, UsageError, quoted
from hiresnn.network import evaluating

Value = bool | int | float | str
"""A value of an option."""

STEP_SHARE = 0.01 / (8 / 255)
"""Step size as a share of eps unless an option says otherwise: the paper's alpha = 0.01 at eps = 8/255."""

NUMBERS: dict[str, tuple[Any, float, float]] = {
    "eps": (float, 0, 1),
    "step": (float, 0, 1),
    "relative_step": (float, 0, 1e6),
    "iterations": (int, 0, 100_000),
    "restarts": (int, 1, 1_000),
    "targets": (int, 1, 1_000),
    "draws": (int, 1, 100_000),
    "queries": (int, 0, 1_000_000),
    "finish": (int, 0, 1_000_000),
    "area": (float, 1e-6, 1),
    "seed": (int, 0, 2**63 - 1),
}
"""Numeric option -> its type, smallest and largest value. The largest values refuse typing errors such as 10**18."""
LARGEST = 1e18
"""Largest value of a number that only a user's attack has."""
SWITCHES = ("random_start", "mean_logits")
"""Options that are true or false."""


def relative_step(eps: float, share: float = STEP_SHARE) -> float:
    """Return the step size at a bound: the given share of eps, at most 1, rounded to 1e-12.

    >>> relative_step(8 / 255), relative_step(2 / 255)
    (0.01, 0.0025)
    """
    return min(round(share * eps, 12), 1.0)


def read_option(
    attack: str, name: str, value: Any, choices: Collection[str] | None = None, default: Value | None = None
) -> Value:
    """Return the value of an option, read from its text if it is one.

    Args:
        attack: name or text of the attack for the message.
        choices: the texts allowed, for an option that takes a text.
        default: of an option of a user's attack, which says its type.

    Raises:
        UsageError: the value has the wrong type or is outside its limits.
    """
    wrong = f"{attack}: {name} is {quoted(value)}; "
    if choices is not None:
        if value not in choices:
            raise UsageError(f"{wrong}choose one of {', '.join(choices)}.")
        return str(value)
    if name in SWITCHES or (isinstance(default, bool) and name not in NUMBERS):
        switch = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(switch, bool):
            raise UsageError(f"{wrong}write true or false.")
        return switch
    if name == "eps":
        try:
            return parse_eps(value)
        except UsageError as error:
            raise UsageError(f"{attack}: eps: {error}") from None
    kind: Any
    number: Any
    kind, low, high = NUMBERS[name] if name in NUMBERS else (type(default), -LARGEST, LARGEST)

    try:
        number = value if not isinstance(value, str) else int(value) if kind is int else read_number(value)
    except (ValueError, OverflowError):
        number = None
    if isinstance(number, np.number):
        number = number.item()
    if not (type(number) is int or type(number) is kind):
        raise UsageError(f"{wrong}write a {'whole number' if kind is int else 'number'}.")
    if not low <= number <= high:  # also true of NaN
        raise UsageError(f"{wrong}it must lie in [{low:,}, {high:,}].")
    return float(number) if kind is float else int(number)


def format_option(name: str, value: Value) -> str:
    """Return the text that `read_option` reads back as exactly `value`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format_eps(value) if name == "eps" else format_number(value)
    return str(value)


Images = Float[Tensor, "batch channel height width"]
Labels = Int64[Tensor, " batch"]
Model = Callable[[Tensor], Tensor]
"""Images [B, C, H, W] in [0, 1] -> logits [B, K]."""
Attack = Callable[[Model, Tensor, Tensor], Tensor]
"""(model, images, labels) -> adversarial images of the same shape."""

P = ParamSpec("P")
R = TypeVar("R")
ROUNDING = 1e-6
"""How far float32 rounding of image + perturbation may exceed a bound."""


def with_gradients(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that needs gradients so that it works inside torch.inference_mode, on tensors made there."""

    def ordinary(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) and value.is_inference() else value

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        inside = torch.is_inference_mode_enabled()
        with torch.inference_mode(False) if inside else nullcontext():  # it would leave torch.no_grad as well
            return function(*map(ordinary, args), **{name: ordinary(value) for name, value in kwargs.items()})

    return called


@with_gradients
def verified(attack: Attack, model: Model, images: Tensor, labels: Tensor, *, eps: float | None) -> Tensor:
    """Run any attack, also a user's own, and check its result.

    The attack gets copies of images and labels, so it cannot change what its result is compared with.

    Args:
        eps: L-infinity bound in pixel units that the attack claims to keep; None checks only the pixel range.

    Raises:
        UsageError: the images are not floats in [0, 1].
        AttackError: the result is no tensor, has another shape, is not finite, leaves [0, 1], or is further away than
            eps.
    """
    require_images(images)
    with frozen(model):
        adversarial: object = attack(model, images.clone(), labels.to(torch.int64, copy=True))
    if not isinstance(adversarial, Tensor):
        raise AttackError(f"the attack returned {type(adversarial).__name__}; it must return a tensor of images.")
    adversarial = adversarial.detach()
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
        if distance > eps + max(ROUNDING, torch.finfo(images.dtype).eps / 2):  # of a pixel below 1 in half precision
            raise AttackError(f"the attack moved a pixel by {distance:.6f}; its bound is eps = {eps:.6f}.")


def require_images(images: Tensor) -> None:
    """Raise UsageError unless the images are floats in [0, 1]; the message names the likely cause."""
    if not images.is_floating_point():
        raise UsageError(f"images are {images.dtype}; attacks need floats in [0, 1]: divide by 255 (images / 255).")
    if not images.numel():
        return
    low, high = images.aminmax()
    if low >= 0 and high <= 1:  # false for NaN
        return
    found = f"images have pixels in [{low:.4g}, {high:.4g}]; attacks need pixels in [0, 1]"
    if low >= 0 and 1 < high <= 255:
        raise UsageError(f"{found}: divide by 255.")
    if not (low.isfinite() and high.isfinite()):
        raise UsageError(f"{found}: remove the pixels that are not finite.")
    raise UsageError(f"{found}: move any normalisation into the model (hiresnn.models.Normalise).")


def checked(name: str) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Decorate the attack of that name so that options and images are checked before it runs, its result afterwards.

    The model is frozen meanwhile. The errors are UsageError for an option out of range, images that are not floats in
    [0, 1] or labels that are not [B], and AttackError for an invalid result.
    """

    def decorate(attack: Callable[P, Tensor]) -> Callable[P, Tensor]:
        signature = inspect.signature(attack)

        @with_gradients
        @wraps(attack)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                call = f"{name}(model, images, labels, eps=8/255)"
                raise TypeError(f"{name}: {error}; write options by name, such as {call}") from None
            bound.apply_defaults()
            values = bound.arguments
            for option, value in values.items():
                if (option in NUMBERS or option in SWITCHES) and value is not None:
                    values[option] = read_option(name, option, value)
            require_images(values["images"])
            values["labels"] = class_numbers(values["images"], values["labels"])
            with frozen(values["model"]):
                adversarial = attack(*bound.args, **bound.kwargs).detach()
            check(values["images"], adversarial, eps=values["eps"])
            return adversarial

        return guarded

    return decorate


def class_numbers(images: Tensor, labels: Tensor) -> Tensor:
    """Return the labels as int64; raises UsageError unless there is one class number per image, [B]."""
    if images.dim() != 4 or labels.shape != images.shape[:1] or labels.is_floating_point():
        raise UsageError(
            f"images are {list(images.shape)} and labels {list(labels.shape)} of {labels.dtype}; an attack needs "
            "images [B, C, H, W] and one class number per image, [B]."
        )
    return labels.long()


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Put a module into eval mode without parameter gradients; restore both afterwards.

    An attack needs the gradient of the images only, which makes the backward pass cheaper.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        with evaluating(model):
            yield
    finally:
        for parameter, was in wanted:
            parameter.requires_grad_(was)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python in the block; later they continue from where they were.

    This covers the CPU and all GPUs. GPUs that were not initialised before continue from the caller's seed.
    """
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    before = np.random.get_state(), random.getstate()  # a user's network may draw from these
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if used else (), device_type="cuda"):
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])
        if not used:  # there is no earlier state to restore, and `seed` would remain in force
            torch.cuda.manual_seed_all(torch.initial_seed())
