"""Black-box attacks by transfer: the images are made on a twin and shown to the model (sec. 5.2)."""

from __future__ import annotations

from torch import Tensor

from hiresnn.attacks.gate import Attack, Model, frozen


def transfer(attack: Attack, twin: Model) -> Attack:
    """An attack that never looks at its model: it attacks `twin` instead.

    The paper's twin is the same architecture trained by the same method from another seed. Whether it starts
    from the same ANN is not said, and decides the number: report both.
    """

    def on_twin(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        with frozen(twin):
            return attack(twin, images, labels)

    return on_twin
