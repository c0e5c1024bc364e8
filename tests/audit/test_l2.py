"""Audits in L2: the exact number of a linear model, the texts of bounds, the card, and what --verify refuses."""

from typing import Any

import numpy as np
import pytest
import torch

from hiresnn.attacks.gate import distances
from hiresnn.audit import AuditConfig, Preset, run_audit, verify
from hiresnn.audit.card import Card
from hiresnn.audit.presets import plan_attack
from hiresnn.audit.run import read_archive
from hiresnn.calls import CLEAN, UNBOUNDED, parse_bound
from hiresnn.errors import UsageError
from hiresnn.report.pages import audit_page
from hiresnn.report.words import ticks

from .small import TINY

PRESET: Any = Preset("quick", 60, (TINY,), shares=(0.5,))
WEIGHT = torch.randn(3, 36, generator=torch.Generator().manual_seed(1))
IMAGES = 0.3 + 0.4 * torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(2))  # far from 0 and 1


def linear(images):
    return (images.flatten(1) - 0.5) @ WEIGHT.T


LABELS = linear(IMAGES).argmax(1)


def exact(eps):
    """How many images stand: those whose distance to every other class, margin / |w_y - w_k|, is above eps."""
    standing = 0
    for scores, label in zip(linear(IMAGES).tolist(), LABELS.tolist(), strict=True):
        others = [k for k in range(3) if k != label]
        standing += all(scores[label] - scores[k] > eps * float((WEIGHT[label] - WEIGHT[k]).norm()) for k in others)
    return standing


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """(card, archive) of an audit of the linear model at L2 0.1, 0.2 and without a bound."""
    folder = tmp_path_factory.mktemp("l2")
    card = run_audit(
        linear, IMAGES, LABELS, preset=PRESET, norm="l2", eps=0.2, attacks=["apgd(iterations=20)"], folder=folder
    )
    return card, read_archive(folder / "adversarial.npz")


def test_a_linear_model_gets_its_exact_robust_accuracy(audited):
    card, _ = audited
    assert {point.bound: point.worst.count for point in card.curve} == {
        "0": 60, "L2 0.1": exact(0.1), "L2 0.2": exact(0.2), "inf": 0,
    }  # fmt: skip
    assert 0 < exact(0.2) < exact(0.1) < 60


def test_the_card_says_its_norm_and_what_ran_in_the_place_of_sa_pgd(audited):
    card, _ = audited
    assert (card.setting.norm, card.setting.headline) == ("l2", "L2 0.2")
    assert card.setting.replaced == {"sa-pgd": "it has no L2 form; momentum ran with its options"}
    assert {row.attack for row in card.attacks} >= {"fgsm", "pgd", "noise", "momentum", "square", "apgd"}
    assert not any(row.attack == "sa-pgd" for row in card.attacks)
    assert "at L2 0.2" in card.conclusion.headline
    assert "norm='l2'" in card.setting.command
    page = audit_page(card)
    for text in ("Euclidean length (L2)", "sa-pgd did not run", "bound in L2"):
        assert text in page


def test_a_random_model_gets_the_number_of_its_mean_by_majority_vote(tmp_path):
    def noisy(images):
        return linear(images) + 0.05 * torch.randn(len(images), 3)

    folder = tmp_path / "random"
    card = run_audit(noisy, IMAGES, LABELS, preset=PRESET, norm="l2", eps=0.2, bounds="inf", folder=folder)
    assert card.random is not None
    assert abs(card.random.attacked.vote.count - exact(0.2)) <= 2  # images within the noise of their boundary
    assert card.setting.headline == "L2 0.2"
    assert not verify(card, read_archive(folder / "adversarial.npz"), noisy).problems


def test_stored_images_lie_within_their_length_and_are_confirmed(audited):
    card, arrays = audited
    assert verify(card, arrays, linear, (IMAGES, LABELS)).problems == ()
    lengths = distances(torch.from_numpy(arrays["clean"]), torch.from_numpy(arrays["adversarial"]), "l2").numpy()
    bounded = np.isfinite(arrays["eps"])
    assert (lengths[bounded] <= arrays["eps"][bounded] + 1e-6).all()
    assert (lengths[bounded] > 0.05).any()


def test_an_image_that_keeps_only_the_bound_of_each_pixel_is_found(audited):
    card, arrays = audited
    row = int(np.flatnonzero(np.isfinite(arrays["eps"]))[0])
    moved = {**arrays, "adversarial": arrays["adversarial"].copy()}
    moved["adversarial"][row] = arrays["clean"][row] + 0.9 * arrays["eps"][row]  # six times as long as eps allows
    assert any(
        "1 of" in text and "further from the clean image" in text for text in verify(card, moved, linear).problems
    )


def test_a_card_that_hides_its_norm_cannot_be_read_and_one_without_the_field_is_in_linf(audited):
    content = audited[0].model_dump(mode="json")
    content["setting"]["norm"] = "linf"
    with pytest.raises(ValueError, match="not one of the norm 'linf'"):
        Card.model_validate(content)
    content = run_audit(linear, IMAGES[:8], LABELS[:8], preset=PRESET, eps="8/255").model_dump(mode="json")
    del content["setting"]["norm"], content["setting"]["replaced"]
    assert Card.model_validate(content).setting.norm == "linf"


@pytest.mark.parametrize(
    ("value", "label", "eps"),
    [(0.5, "L2 0.5", 0.5), ("128/255", "L2 128/255", 128 / 255), (3, "L2 3", 3.0), ("L2 1.0", "L2 1", 1.0)],
)
def test_a_bound_in_l2_has_a_text_that_names_its_norm(value, label, eps):
    bound = parse_bound(value, "l2")
    assert (bound.label, bound.norm, bound.radius) == (label, "l2", eps)
    assert parse_bound(label) == bound
    assert parse_bound("inf", "l2") == UNBOUNDED
    assert parse_bound(0, "l2") == CLEAN


def test_the_default_bounds_in_l2():
    assert [bound.label for bound in AuditConfig(norm="l2").curve] == ["0", "L2 0.125", "L2 0.25", "L2 0.5", "inf"]
    labels = [bound.label for bound in AuditConfig("standard", norm="l2", eps=0.5).curve]
    assert labels == ["0", "L2 0.1", "L2 0.25", "L2 0.5", "L2 1", "L2 2", "inf"]
    assert AuditConfig().eps == "8/255"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l1"}, "norm is 'l1'"),
        ({"eps": "L2 0.5"}, "bounds are in L2"),
        ({"norm": "l2", "eps": -1}, "no L2 bound"),
        ({"norm": "l2", "attacks": ("sa-pgd",)}, "has no L2 form"),
        ({"norm": "l2", "attacks": ("pgd(norm=linf)",)}, "names norm"),
        ({"norm": "l2", "attacks": ("pgd(eps=1)",)}, "names eps"),
    ],
)
def test_settings_that_do_not_fit_the_norm_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        AuditConfig(**settings)


def test_a_step_beyond_1_is_a_share_of_the_bound():
    spec = plan_attack("pgd(step=2)", parse_bound(8, "l2")).spec
    assert spec.options == {"relative_step": 0.25}
    assert spec.at(4.0, "l2").resolved()["step"] == 1.0


def test_axes_name_the_norm():
    assert ticks(["0", "L2 0.5", "inf"]) == (["0", "0.5", "∞"], "bound in L2")
    assert ticks(["0", "8/255", "L2 0.5"])[1] == "bound"
