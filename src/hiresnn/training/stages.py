"""Stages of a robust training of an ANN: quantise its activations late, and craft by PGD at the end."""

import torch
from torch import Tensor

from hiresnn.attacks.gate import frozen
from hiresnn.attacks.losses import LossName
from hiresnn.models import QCFS
from hiresnn.network.calibration import PERCENTILE, percentile_of
from hiresnn.training.loop import Training
from hiresnn.training.losses import Adversarial


class Stages:
    """What changes during the training of a robust ANN: when activations quantise, and when PGD crafts.

    Args:
        quantise_from: epoch from which `QCFS` activations quantise. Until then they are ReLUs; then each threshold
            becomes SCALE times the `PERCENTILE` of its input on `images`, and an average of the weights, if there
            is one, takes the place of the weights.
        pgd_from: epoch from which two steps of PGD craft the images, instead of what the method crafts them by.
        eps: bound of PGD in pixel units.
        images: [N, C, H, W] in [0, 1], training images that thresholds are set by.
        craft_loss: name of the loss that PGD ascends.
    """

    SCALE = 0.8

    def __init__(
        self, quantise_from: int, pgd_from: int, eps: float, images: Tensor, craft_loss: LossName = "cross-entropy"
    ) -> None:
        self.quantise_from, self.pgd_from, self.eps, self.images = quantise_from, pgd_from, eps, images
        self.craft_loss: LossName = craft_loss

    def __call__(self, training: Training, epoch: int) -> None:
        """Prepare an epoch, counted from 0; that of a resumed training, too."""
        networks = [training.model] if training.average is None else [training.model, training.average.model]
        layers = [layer for network in networks for layer in network.modules() if isinstance(layer, QCFS)]
        if epoch == self.quantise_from > 0:
            self._set_thresholds(training)
        if epoch in (self.quantise_from, self.pgd_from) and training.selection is not None:
            training.selection.best = {}  # accuracies before were of another network, or of another attack
        for layer in layers:
            layer.quantises = epoch >= self.quantise_from
        if epoch >= self.pgd_from:
            step = 5 / 8 * self.eps
            training.method.noise = Adversarial(
                step, start=self.eps, bound=self.eps, iterations=2, evaluating=True, craft_loss=self.craft_loss
            )

    @torch.no_grad()
    def _set_thresholds(self, training: Training) -> None:
        if training.average is not None:
            training.model.load_state_dict(training.average.model.state_dict())

        def set_threshold(layer: QCFS, inputs: tuple[Tensor]) -> None:
            highest = percentile_of(inputs[0].relu().float().flatten(), PERCENTILE)
            layer.threshold.fill_(self.SCALE * max(highest, 1e-2))

        layers = [layer for layer in training.model.modules() if isinstance(layer, QCFS)]
        for layer in layers:
            layer.quantises = False
        hooks = [layer.register_forward_pre_hook(set_threshold) for layer in layers]
        with frozen(training.model):
            training.model.forward(self.images)  # not through torch.compile, which would compile the hooks
        for hook in hooks:
            hook.remove()
        if training.average is not None:
            training.average.model.load_state_dict(training.model.state_dict())
