"""The losses that attacks maximise, their gradients in the images, and the worst case per sample.

The logits of a spiking network are sums over T steps. Cross-entropy saturates on large logits, down to a gradient of
exactly zero; `mean_logits` divides them by T first. In float32, torch's own cross-entropy loses the true class from its
gradient once it leads by 16.6, so that attacks take `cross_entropy`, which does not round it off. The margin keeps its
gradient at any scale, and the difference of logits ratio (DLR) does not depend on the scale at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.attacks.gate import Attack, Model, frozen
from hiresnn.checks import correct, require_classes, require_logits
from hiresnn.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, K], labels [B]) -> loss [B], higher where the model is further from the label."""


def cross_entropy(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return -log softmax(logits) at the label, as log(1 + exp(d)), d the log-sum-exp of the others minus the label's.

    The gradient is softmax(d) and keeps its digits at any lead; 1 - p, from which torch takes it, is 0 in float32 once
    the class leads by 16.6.
    """
    others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return F.softplus(others - logits.gather(1, labels[:, None])[:, 0])


def rounded_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the same loss [B] as torch computes it, with the gradient that published FGSM and PGD follow."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return max over i != y of z_i, minus z_y: above 0 where the model is wrong (Carlini and Wagner 2017)."""
    true = logits.gather(1, labels[:, None])
    return (logits.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True) - true)[:, 0]


def dlr(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return margin / (z_1 - z_3), z_1 and z_3 the largest and third largest logit (Croce and Hein 2020)."""
    _need_classes("dlr", logits, 3)
    top = logits.topk(3, 1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def dlr_targeted(
    logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"], targets: Int64[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return (z_t - z_y) / (z_1 - (z_3 + z_4) / 2) for one target class per sample (Croce and Hein 2020)."""
    _need_classes("dlr-targeted", logits, 4)
    top = logits.topk(4, 1).values
    gap = logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])
    return gap[:, 0] / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "margin": margin, "dlr": dlr}
"""Untargeted losses by name."""
LossName = Literal["cross-entropy", "margin", "dlr"]


ROUNDED_LOSSES = {**LOSSES, "cross-entropy": rounded_cross_entropy}
"""The same with torch's cross-entropy, which trainings and published attacks ascend."""


def choose_loss(model: Model, name: str, *, mean_logits: bool = False, float32: bool = False) -> Loss:
    """Return the untargeted loss of that name; `mean_logits` divides the logits by `summed_steps` first.

    `float32` takes that of `ROUNDED_LOSSES`.

    It always does for an adapter (`hiresnn.foreign`): its `readout` only says how it writes its outputs, and whether
    that is their sum or their mean must not change what an attack finds.
    """
    loss, steps = (ROUNDED_LOSSES if float32 else LOSSES)[name], loss_steps(model, mean_logits=mean_logits)
    return loss if steps == 1 else lambda logits, labels: loss(logits / steps, labels)


def summed_steps(model: Model) -> int:
    """Return the number of timesteps that logits are a sum over; 1 without `timesteps` or if `readout` is "mean"."""
    steps = getattr(model, "timesteps", 1)
    return steps if isinstance(steps, int) and steps > 1 and getattr(model, "readout", "sum") != "mean" else 1


def loss_steps(model: Model, *, mean_logits: bool = False) -> int:
    """Return what logits are divided by before a loss, see `choose_loss`."""
    return summed_steps(model) if mean_logits or isinstance(getattr(model, "readout", None), str) else 1


class LossGradient(NamedTuple):
    """What one forward and backward pass gives."""

    logits: Tensor  # [B, K], float32
    loss: Tensor  # [B]
    gradient: Tensor  # of each sample's loss in its image, [B, C, H, W]

    def at(self, rows: Tensor) -> LossGradient:
        """Return the entries of some rows."""
        return LossGradient(*(entry[rows] for entry in self))


def loss_gradient(model: Model, images: Tensor, labels: Tensor, loss: Loss) -> LossGradient:
    """Run one forward and one backward pass, UsageError without a gradient. A NaN in the gradient becomes 0."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = _answer(model, images)
        try:
            value = loss(logits, labels)
        except (IndexError, RuntimeError):
            require_classes(labels, logits.shape[1])
            raise
        gradient = None
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value.sum(), images, allow_unused=True)
    if gradient is None:
        hint = "use square, or attack a network that has gradients and transfer the images (hiresnn.attacks.transfer)"
        raise UsageError(f"the logits do not depend on the images by differentiable operations; {hint}.")
    return LossGradient(logits.detach(), value.detach(), gradient.nan_to_num())


def over_draws(draws: int) -> Callable[[Model, Tensor, Tensor, Loss], LossGradient]:
    """Return `loss_gradient` averaged over several passes (EOT, Athalye et al. 2018).

    For networks with anything random in the forward pass, such as Poisson spikes, use at least 10 draws. An image then
    counts as misclassified by its mean logits.
    """
    if draws < 1:
        raise UsageError(f"draws is {draws}; a gradient needs at least 1.")
    if draws == 1:
        return loss_gradient

    def averaged(model: Model, images: Tensor, labels: Tensor, loss: Loss) -> LossGradient:
        passes = [loss_gradient(model, images, labels, loss) for _ in range(draws)]
        return LossGradient(*(torch.stack(each).mean(0) for each in zip(*passes, strict=True)))

    return averaged


@torch.no_grad()
def expected_logits(model: Model, images: Tensor, draws: int = 1) -> Tensor:
    """Return logits [B, K] in float32, averaged over `draws` forward passes; the model gets copies of the images."""
    return torch.stack([_answer(model, images) for _ in range(draws)]).mean(0)


def _answer(model: Model, images: Tensor) -> Tensor:
    logits = model(images.clone())  # it may write into them
    require_logits(logits, len(images))
    return logits.float()


def _need_classes(name: str, logits: Tensor, least: int) -> None:
    if logits.shape[1] < least:
        raise UsageError(f"loss {name!r} needs {least} classes, but the model has {logits.shape[1]}; use 'margin'.")


class WorstCandidates:
    """For each image of a batch, the first misclassified candidate, or else the one with the largest margin loss.

    Logits that are not finite count as misclassified.

    Attributes:
        model, images, labels: the network and the batch under attack.
        draws: forward passes that logits are averaged over.
        first: loss and gradient at the images, if known; the first climb takes it from here.
        logits: of the images themselves, [B, K].
        adversarial: the worst candidates so far, at first the images themselves.
        broken: where a candidate was misclassified; such an image does not change any more.
        margins: margin loss of `adversarial`.
    """

    def __init__(
        self,
        model: Model,
        images: Float[Tensor, "batch ..."],
        labels: Int64[Tensor, " batch"],
        draws: int = 1,
        first: LossGradient | None = None,
    ) -> None:
        self.model, self.images, self.labels, self.draws, self.first = model, images, labels, draws, first
        self.adversarial = images.detach().clone()
        self.logits = first.logits if first else expected_logits(model, images, draws)
        self.broken = ~correct(self.logits, labels)
        self.margins = margin(self.logits, labels)

    @property
    def standing(self) -> Int64[Tensor, " left"]:
        """Rows that no candidate has broken."""
        return (~self.broken).nonzero()[:, 0]

    def update(
        self, rows: Int64[Tensor, " left"], candidates: Float[Tensor, "left ..."], logits: Float[Tensor, "left classes"]
    ) -> Bool[Tensor, " left"]:
        """Take candidates for `rows` with their logits; return where they are misclassified."""
        labels = self.labels[rows]
        wrong, margins = ~correct(logits, labels), margin(logits, labels)
        better = ~self.broken[rows] & (wrong | (margins > self.margins[rows]))
        chosen = rows[better]
        self.adversarial[chosen] = candidates.detach()[better]
        self.margins[chosen] = margins[better]
        self.broken[rows] |= wrong
        return wrong

    def query(self, rows: Int64[Tensor, " left"], candidates: Float[Tensor, "left ..."]) -> Bool[Tensor, " left"]:
        """Run the model on candidates for `rows` and update; return where they are misclassified."""
        if not len(rows):
            return torch.zeros_like(rows, dtype=torch.bool)
        return self.update(rows, candidates, expected_logits(self.model, candidates, self.draws))


def best_of(attacks: Sequence[Attack]) -> Attack:
    """Combine attacks into their worst case per sample.

    They run in order, each on the images that the earlier ones have not broken, so list the cheap ones first.
    """
    if not attacks:
        raise UsageError("best_of needs at least one attack; the list is empty.")

    def worst(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        with frozen(model):
            candidates = WorstCandidates(model, images, labels)
            for attack in attacks:
                rows = candidates.standing
                if not len(rows):
                    break
                candidates.query(rows, attack(model, images[rows], labels[rows]))
        return candidates.adversarial

    return worst


def transfer(attack: Attack, twin: Model) -> Attack:
    """Return a black-box attack that computes its images on `twin` and never queries the model (sec. 5.2).

    The paper's twin has the same architecture and training method and another seed. Whether it starts from the same
    ANN is not stated, but decides the result: report both.
    """

    def on_twin(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        with frozen(twin):
            return attack(twin, images, labels)

    return on_twin
