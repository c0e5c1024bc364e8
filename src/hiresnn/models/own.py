"""A user's own network with the normalisation of its images in front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, no_type_check

from jaxtyping import Float
from torch import Tensor, nn

from hiresnn.models.normalise import Normalise


class OwnNetwork(nn.Module):
    """Images [B, C, H, W] in [0, 1] -> logits [B, K], by a network of the user.

    Args:
        network: the user's; it gets normalised images.
        spec: what describes it, in JSON types: name, source, num_classes, in_channels, height, width, normalise.
        mean, std: one number per channel, in [0, 1] units; None for no normalisation.

    Attributes:
        normalise: a `Normalise`, or None.
    """

    normalise: Normalise | None

    def __init__(
        self,
        network: nn.Module,
        spec: dict[str, Any],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std) if mean is not None and std is not None else None
        self.network, self.spec = network, spec

    @no_type_check  # torch.fx calls it with a Proxy, which a run-time check of the shapes would refuse
    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Compute logits."""
        return self.network(images if self.normalise is None else self.normalise(images))
