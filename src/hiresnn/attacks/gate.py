"""What every attack shares: its options, the L-infinity step, the checks of its arguments and result, a frozen model.

The signature of an attack says its options: names, defaults, and the texts allowed for those that are `Literal`.
"""

import inspect
import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar, get_args, get_origin

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from hiresnn.calls import parse_eps, typed
from hiresnn.checks import require_batch
from hiresnn.errors import AttackError, UsageError, closest, quoted
from hiresnn.modes import cleared, evaluating

Images = Float[Tensor, "batch *shape"]
Labels = Int64[Tensor, " batch"]
Model = Callable[[Tensor], Tensor]
"""Images [B, C, H, W] in [0, 1] -> logits [B, K]."""
Attack = Callable[[Model, Tensor, Tensor], Tensor]
"""(model, images, labels) -> adversarial images of the same shape."""
Value = bool | int | float | str
"""A value of an option."""
Norm = Literal["linf", "l2"]
"""The norm of a bound: the largest change of a pixel, or the Euclidean length of the change of an image."""

P = ParamSpec("P")
R = TypeVar("R")
ROUNDING = 1e-6
"""How far float32 rounding of image + perturbation may exceed a bound, see `tolerance`."""
STEP_SHARE = 0.01 / (8 / 255)
"""Step size as a share of eps unless an option says otherwise: the paper's alpha = 0.01 at eps = 8/255."""
LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("relative_step", "iterations", "queries", "finish"), (0, math.inf)),
    **dict.fromkeys(("restarts", "narrow", "targets", "draws", "budget", "candidates"), (1, math.inf)),
    **{"step": (0, 1), "area": (1e-6, 1), "seed": (0, 2**63 - 1)},
}
"""Numeric option -> its smallest and largest value; those of eps are 0 and 1. In L2 a step and eps have no largest."""
ALIASES = {"steps": "iterations", "alpha": "step", "eot_samples": "draws"}
"""Another name of an option, as papers and other packages call it -> its name here."""


class Option(NamedTuple):
    """An option of an attack: its default (None for a step that scales with eps) and the texts it allows, if any."""

    default: Value | None
    choices: tuple[str, ...] = ()


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """Return the options in a signature: what is a step, a number, a switch or one of several texts."""
    options = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if get_origin(parameter.annotation) is Literal:
            options[name] = Option(parameter.default, get_args(parameter.annotation))
        elif name == "step":
            options[name] = Option(None)
        elif type(parameter.default) in (bool, int, float):
            options[name] = Option(parameter.default)
    return options


def text_options(function: Callable[..., Any]) -> dict[str, Option]:
    """Return the options that the text of an attack takes, with the share of eps that stands for a step."""
    options: dict[str, Option] = {}
    for name, option in options_of(function).items():
        options[name] = option
        if name == "step":
            options["relative_step"] = Option(STEP_SHARE)
    return options


def canonical_names(attack: str, given: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """Return `given` with the names in `ALIASES` replaced, unless the attack has an option of that name itself."""
    renamed: dict[str, Any] = {}
    for key, value in given.items():
        if key == "eot_samples" and "kind" in options:  # of noise
            raise UsageError(
                f"{attack}: noise has no gradient to average by eot_samples; draws=N tries N perturbations."
            )
        name = ALIASES[key] if key not in options and ALIASES.get(key) in options else key
        if name in renamed:
            raise UsageError(f"{attack}: {name} is given twice, once under another name; give it once.")
        renamed[name] = value
    return renamed


def read_option(attack: str, name: str, value: Any, option: Option, norm: str = "linf") -> Value:
    """Return the value of an option in its type, also from a text, or raise UsageError; `attack` begins the message."""
    if option.choices:
        if value not in option.choices:
            raise UsageError(f"{attack}: {name} is {quoted(value)}; {closest(value, option.choices)}.")
        return str(value)
    if name == "eps":
        try:
            return parse_eps(value, norm)
        except UsageError as error:
            raise UsageError(f"{attack}: eps: {error}") from None
    default: Any = STEP_SHARE if option.default is None else option.default
    number: float = typed(value, default, f"{attack}: {name}")
    low, high = LIMITS.get(name, (-math.inf, math.inf))
    high = math.inf if name == "step" and norm == "l2" else high
    if not low <= number <= high:
        limit = f"at least {low:g}" if number < low else f"at most {high:g}"
        raise UsageError(f"{attack}: {name} is {quoted(value)}; it must be {limit}.")
    return number


def relative_step(eps: float, share: float = STEP_SHARE) -> float:
    """Return the step size at a bound: the given share of eps, at most 1 or eps, rounded to 1e-12.

    >>> relative_step(8 / 255), relative_step(2 / 255)
    (0.01, 0.0025)
    """
    return min(round(share * eps, 12), max(1.0, eps))


def require_eps(attack: str, given: Mapping[str, Any]) -> None:
    """Raise UsageError for L2 without an eps: the default of every attack is a bound on each pixel."""
    if given.get("norm") == "l2" and "eps" not in given:
        raise UsageError(f"{attack}: norm=l2 needs a bound, such as eps=0.5; the default is one on each pixel.")


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


def ascend(perturbation: Tensor, gradient: Tensor, step: float | Tensor, bound: float) -> Tensor:
    """Return clip(perturbation + step * sign(gradient), -bound, bound), in pixel units.

    Eq. 6 is this function with step eps_s and bound eps_t. Eq. 4 is this function with step alpha and bound eps,
    followed by the clip to [0, 1] in `perturbed`. Eq. 3 is one such step from zero with step = bound = eps. A tensor
    `step` holds one value per sample.
    """
    return (perturbation + step * gradient.sign()).clamp(-bound, bound)


def perturbed(images: Tensor, perturbation: Tensor) -> Tensor:
    """Return images + perturbation, clipped to the valid range of their kind, see `valid_range`."""
    return torch.clamp(images + perturbation, *valid_range(images))


def valid_range(images: Tensor) -> tuple[float, float] | tuple[Tensor, Tensor]:
    """Return the smallest and the largest valid value: 0 and 1, or 0 and the largest cell of each event grid [B, ...].

    The largest cell of a grid [B, T, P, H, W] is at least 1.
    """
    if images.dim() != 5:
        return 0.0, 1.0
    most = images.amax((1, 2, 3, 4), keepdim=True).clamp(min=1)
    return torch.zeros_like(most), most


def uniform(images: Tensor, eps: float, generator: torch.Generator | None) -> Tensor:
    """Draw a perturbation from [-eps, eps], independently for each pixel, on the CPU."""
    return (torch.rand(images.shape, generator=generator) * 2 - 1).to(images) * eps


@with_gradients
def verified(
    attack: Attack, model: Model, images: Tensor, labels: Tensor, *, eps: float | None, norm: str = "linf"
) -> Tensor:
    """Run any attack, also a user's own, and check its result.

    The attack gets copies of images and labels, so it cannot change what its result is compared with.

    Args:
        eps: bound in pixel units that the attack claims to keep, in the `norm`; None checks only the pixel range.

    Raises:
        UsageError: the images are not floats [B, C, H, W] in [0, 1], or the labels are not [B].
        AttackError: the result is no tensor, has another shape, is not finite, leaves [0, 1], or is further away than
            eps.
    """
    require_batch(images, labels)
    with frozen(model):
        adversarial: object = attack(model, images.clone(), labels.to(torch.int64, copy=True))
    if not isinstance(adversarial, Tensor):
        raise AttackError(f"the attack returned {type(adversarial).__name__}; it must return a tensor of images.")
    adversarial = adversarial.detach()
    check(images, adversarial, eps=eps, norm=norm)
    return adversarial


def distances(images: Tensor, adversarial: Tensor, norm: str) -> Tensor:
    """Return the norm of the change of each image [B], counted in float64."""
    change = adversarial.flatten(1).double() - images.flatten(1).double()
    length: Tensor = torch.linalg.vector_norm(change, 2 if norm == "l2" else math.inf, dim=1)
    return length


def tolerance(images: Tensor, norm: str) -> float:
    """Return how far rounding may exceed a bound: every pixel below 1 by half a unit in its last place."""
    pixels = images[:1].numel() if norm == "l2" else 1
    return max(ROUNDING, torch.finfo(images.dtype).eps / 2 * math.sqrt(pixels))


def check(images: Tensor, adversarial: Tensor, *, eps: float | None, norm: str = "linf") -> None:
    """Raise AttackError unless `adversarial` is a valid result for `images` within `eps`."""
    if adversarial.shape != images.shape:
        raise AttackError(f"the attack returned shape {tuple(adversarial.shape)} for {tuple(images.shape)} images.")
    if not images.numel():
        return
    if not torch.isfinite(adversarial).all():
        raise AttackError("the attack returned pixels that are not finite.")
    low, high = valid_range(images)
    if bool(((adversarial < low) | (adversarial > high)).any()):
        reached = "[{:.4f}, {:.4f}]".format(*adversarial.aminmax())
        limits = "[0, 1]" if images.dim() != 5 else "[0, the largest cell of the sample]"
        raise AttackError(f"the attack returned pixels in {reached}; they must lie in {limits}.")
    if eps is not None:
        distance = distances(images, adversarial, norm).max().item()
        if distance > eps + tolerance(images, norm):
            moved = "an image by {:.6f} in L2" if norm == "l2" else "a pixel by {:.6f}"
            raise AttackError(f"the attack moved {moved.format(distance)}; its bound is eps = {eps:.6f}.")


def checked(name: str, *, returns_images: bool = True) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate the attack of that name so that options and images are checked before it runs, its result afterwards.

    The model is frozen meanwhile. UsageError is raised for wrong options, images or labels, AttackError for the result.
    """

    def decorate(attack: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(attack, eval_str=True)

        @with_gradients
        @wraps(attack)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                bound = signature.bind(*args, **canonical_names(name, kwargs, options))
            except TypeError as error:
                example = f"{name}(model, images, labels, eps=8/255)"
                remedy = f"`with hiresnn.gradient_rule(model, {kwargs['rule']!r}):`, then " if "rule" in kwargs else ""
                raise TypeError(f"{name}: {error}; write {remedy}{example}") from None
            require_eps(name, bound.arguments)
            bound.apply_defaults()
            values = bound.arguments
            norm = values.get("norm", "linf")
            for key, option in options.items():
                if values[key] is not None:
                    values[key] = read_option(name, key, values[key], option, norm)
            require_batch(values["images"], values["labels"])
            values["labels"] = values["labels"].long()
            with frozen(values["model"]):
                result: Any = attack(*bound.args, **bound.kwargs)
            if returns_images:
                result = result.detach()
                check(values["images"], result, eps=values["eps"], norm=norm)
            return result  # type: ignore[no-any-return]

        guarded.__signature__ = signature  # type: ignore[attr-defined]
        options = options_of(guarded)
        return guarded

    return decorate


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Put a module into eval mode without parameter gradients, as an attack needs only those of the images."""
    if not isinstance(model, nn.Module):
        yield
        return
    with cleared("requires_grad", model.parameters()), evaluating(model):
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python in the block; afterwards they continue as before.

    This covers the CPU and all GPUs. GPUs that were not initialised before continue from the caller's seed.
    """
    cuda: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    numpy_state, python_state = np.random.get_state(), random.getstate()  # a user's network may draw from these
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if cuda else (), device_type="cuda"):
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if not cuda:  # there is no earlier state to restore, and `seed` would remain in force
            torch.cuda.manual_seed_all(torch.initial_seed())
