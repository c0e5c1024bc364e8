"""Controls: models whose robust accuracy is known exactly, and networks that mask gradients on purpose."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hiresnn import data
from hiresnn.attacks import Model
from hiresnn.audit import AuditConfig, AuditResult, InstrumentedModel, audit, verdict
from hiresnn.audit import parse_bound as bound
from hiresnn.audit.instrumented import OWN
from hiresnn.runs.model_source import resolve_model

BOUNDS = ("10/255", "26/255", "inf")
HARD = ("26/255",)
TWO_IMAGES = 5.0
"""In percent of the 40 images of the masked networks."""


def audited(
    model: Model, images: Tensor, labels: Tensor, preset: str = "quick", bounds: tuple[str, ...] = BOUNDS
) -> AuditResult:
    config = AuditConfig(preset=preset, eps="26/255", bounds=bounds)
    return audit(InstrumentedModel(model, images[:16]), images, labels, config)


def robust(found: AuditResult) -> dict[str, float]:
    """Worst case at each bound, in percent."""
    worst = found.worst
    return {each.label: 100 * worst.count(each) / len(worst.level) for each in worst.bounds}


class Affine:
    """Linear classes over grey images that touch 0 and 1."""

    def __init__(self, classes: int) -> None:
        draws = torch.Generator().manual_seed(classes)
        self.weight = torch.randn(classes, 25, generator=draws)
        self.images = torch.rand(100, 1, 5, 5, generator=draws)
        self.labels = self(self.images).argmax(1)
        self.labels[:5] = (self.labels[:5] + 1) % classes  # a few are misclassified

    def __call__(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - 0.5) @ self.weight.T

    def exact(self, eps: float) -> float:
        """Percent that no image within eps and [0, 1] misclassifies: the worst pixel is at an end of its range."""
        low, high = ((self.images + by).clamp(0, 1).flatten(1) for by in (-eps, eps))
        standing = 0
        for least, most, label in zip(low, high, self.labels.tolist(), strict=True):
            gains = [
                torch.where(difference > 0, most, least) @ difference - 0.5 * difference.sum()
                for difference in self.weight - self.weight[label]
            ]
            standing += all(gain <= 0 for gain in gains)
        return float(standing)


@pytest.mark.parametrize(("classes", "preset"), [(2, "quick"), (5, "standard")])
def test_a_linear_model_comes_out_at_its_exact_robust_accuracy(classes: int, preset: str) -> None:
    model = Affine(classes)
    found = robust(audited(model, model.images, model.labels, preset))
    exact = {label: model.exact(bound(label).eps) for label in found}
    assert 0 < exact["10/255"] < exact["0"] == 95
    assert found == exact


MASKED = Path(__file__).parents[2] / "examples" / "masked_digits.py"


@pytest.fixture(scope="module")
def shown() -> tuple[Tensor, Tensor]:
    split = data.in_turn(data.load("digits").test, 40)
    return split.images.float() / 255, split.labels


@pytest.fixture(scope="module")
def plain(shown: tuple[Tensor, Tensor]) -> dict[str, float]:
    found = audited(resolve_model(f"{MASKED}:plain").model, *shown, bounds=HARD)
    assert own_verdict(found) != "masked gradients likely"
    assert robust(found)["26/255"] < robust(found)["0"] - 20  # there is something to hide
    return robust(found)


def own_verdict(found: AuditResult) -> str:
    own = next(each for each in found.screened if each.rule == OWN)
    return verdict.report(own, found.screened, found.without_gradient, found.screened_at).verdict


@pytest.mark.parametrize("name", ["narrow", "saturated", "quantised"])
def test_a_network_that_masks_its_gradients_is_broken_like_the_same_without_the_mask(
    name: str, shown: tuple[Tensor, Tensor], plain: dict[str, float]
) -> None:
    model = resolve_model(f"{MASKED}:{name}").model
    found = audited(model, *shown, bounds=HARD)
    believed = 100 * float((~found.alone["pgd"]["26/255"]).float().mean())
    assert believed > plain["26/255"] + 15  # PGD-7 with the own gradient is taken in
    for label, expected in plain.items():
        assert robust(found)[label] <= expected + TWO_IMAGES, label
    assert own_verdict(found) == "masked gradients likely"
