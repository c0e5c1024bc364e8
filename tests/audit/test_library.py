"""`run_audit` from Python, the archive of adversarial images and its verification, and one card pinned by value."""

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hiresnn.audit import PRESETS, Card, Preset, run_audit, verify
from hiresnn.audit.verify import read_archive
from hiresnn.errors import RunError, UsageError
from hiresnn.network import SpikingNetwork

from .small import TINY

Shown = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def folder(network: SpikingNetwork, shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audit with a preset that takes a second. Read only."""
    folder = tmp_path_factory.mktemp("library") / "audit"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "quick", Preset("quick", 60, (TINY,)))
        run_audit(network, *shown, eps="24/255", bounds=("8/255", "inf"), batch_size=30, folder=folder)
    return folder


def card_in(folder: Path) -> Card:
    return Card.model_validate_json((folder / "card.json").read_bytes())


def test_the_card_of_a_small_seeded_network_has_these_values(folder: Path) -> None:
    card = card_in(folder)
    # FGSM, PGD, worst case. Another CPU rounds differently, which can move an image across a boundary.
    counts = {point.bound: (point.fgsm.count, point.pgd.count, point.worst.count) for point in card.curve}
    golden = {"0": (50, 50, 50), "8/255": (43, 43, 40), "24/255": (32, 29, 20), "inf": (0, 0, 0)}
    for bound, expected in golden.items():
        assert counts[bound] == pytest.approx(expected, abs=2), bound
    assert (card.conclusion.verdict, card.conclusion.own) == ("overestimated", "inconclusive")
    assert {check.result for check in card.checks} == {"passed"}
    assert card.subject.timesteps == 3


def test_the_stored_images_are_confirmed(folder: Path, network: SpikingNetwork) -> None:
    found = verify(card_in(folder), read_archive(folder / "adversarial.npz"), network)
    assert found.problems == ()
    card = card_in(folder)
    assert found.images == card.clean.count - card.at("inf").worst.count > 30


def further(arrays: dict[str, Any]) -> None:
    arrays["adversarial"] = 1 - arrays["clean"]


def harmless(arrays: dict[str, Any]) -> None:
    arrays["adversarial"] = arrays["clean"].copy()


def fewer(arrays: dict[str, Any]) -> None:
    for name in arrays:
        arrays[name] = arrays[name][1:]


def twice(arrays: dict[str, Any]) -> None:
    arrays["index"][1] = arrays["index"][0]


def not_finite(arrays: dict[str, Any]) -> None:
    arrays["adversarial"][0, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (further, "further from the clean image than eps"),
        (harmless, "classified correctly although the card counts them as broken"),
        (fewer, "the images leave"),
        (twice, "not distinct positions"),
        (not_finite, "not finite"),
    ],
)
def test_images_that_do_not_prove_the_card_are_reported(
    folder: Path, network: SpikingNetwork, change: Any, problem: str
) -> None:
    arrays = {name: values.copy() for name, values in read_archive(folder / "adversarial.npz").items()}
    change(arrays)
    assert any(problem in text for text in verify(card_in(folder), arrays, network).problems)


def test_another_network_is_not_confirmed_either_where_no_image_was_broken(folder: Path) -> None:
    card = card_in(folder)
    empty = {name: values[:0] for name, values in read_archive(folder / "adversarial.npz").items()}
    assert "the network's weights are not those that the card names" in verify(card, empty, torch.nn.Flatten()).problems


def test_some_images_of_a_random_network_may_answer_otherwise(folder: Path, network: SpikingNetwork) -> None:
    card, arrays = card_in(folder), read_archive(folder / "adversarial.npz")
    few = len(arrays["index"]) // 5
    arrays["adversarial"][:few] = arrays["clean"][:few]
    subject = card.subject.model_copy(update={"random": True})
    assert "are classified correctly" in verify(card, arrays, network).problems[0]
    assert not verify(card.model_copy(update={"subject": subject}), arrays, network).problems


def test_another_network_is_not_confirmed(folder: Path, network: SpikingNetwork) -> None:
    state = {name: values.clone() for name, values in network.state_dict().items()}
    try:
        with torch.no_grad():
            next(iter(network.parameters())).add_(1e-6)
        problems = verify(card_in(folder), read_archive(folder / "adversarial.npz"), network).problems
    finally:
        network.load_state_dict(state)
    assert "the network's weights are not those that the card names" in problems


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not an archive"])
def test_a_damaged_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "adversarial.npz").write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        read_archive(tmp_path / "adversarial.npz")


def test_an_archive_with_damaged_bytes_inside_is_refused(folder: Path, tmp_path: Path) -> None:
    whole, unnoticed = (folder / "adversarial.npz").read_bytes(), []
    for place in range(0, len(whole) - 20, max(1, len(whole) // 40)):
        flipped = bytes(byte ^ 0xFF for byte in whole[place : place + 20])
        (tmp_path / "adversarial.npz").write_bytes(whole[:place] + flipped + whole[place + 20 :])
        with suppress(RunError):  # and no other error; the directory of a ZIP archive has bytes that nothing reads
            read_archive(tmp_path / "adversarial.npz")
            unnoticed.append(place)
    assert len(unnoticed) < 10


def test_an_archive_that_is_missing_or_holds_other_arrays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        read_archive(tmp_path / "adversarial.npz")
    np.savez(tmp_path / "adversarial.npz", index=np.arange(3))
    with pytest.raises(RunError, match="does not hold the arrays"):
        read_archive(tmp_path / "adversarial.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.rand(3, 8, 8)}, "an audit needs images"),
        ({"labels": torch.zeros(4, dtype=torch.int64)}, "an audit needs images"),
        ({"labels": torch.zeros(3, 1, dtype=torch.int64)}, r"labels \[3, 1\] of torch.int64; an audit needs"),
        ({"labels": torch.zeros(3)}, "an audit needs images"),
        ({"labels": torch.tensor([0, 10, 3])}, "labels reach from 0 to 10, but the network has 10 classes"),
        ({"images": torch.full((3, 1, 8, 8), 255.0)}, r"\[0, 1\]"),
        ({"eps": 8}, "did you mean 8/255"),
        ({"preset": "fast"}, "preset is 'fast'"),
        ({"attacks": ("pgd:eps=0.1",)}, "names eps"),
    ],
)
def test_images_and_options_that_cannot_be_used_are_refused(
    network: SpikingNetwork, changes: dict[str, Any], message: str
) -> None:
    values = {"images": torch.rand(3, 1, 8, 8), "labels": torch.zeros(3, dtype=torch.int64), **changes}
    with pytest.raises(UsageError, match=message):
        run_audit(network, values.pop("images"), values.pop("labels"), **values)


def test_the_next_step_is_a_call_with_the_larger_preset(folder: Path) -> None:
    assert "preset='standard'" in card_in(folder).conclusion.next_step
    assert card_in(folder).setting.command.endswith("preset='quick')")


def test_a_cache_is_for_one_network_and_its_images(
    network: SpikingNetwork, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "quick", Preset("quick", 60, (TINY,)))
    images, labels = (each[:6] for each in shown)
    cache: dict[str, Any] = {}
    card = run_audit(network, images, labels, bounds="8/255", cache=cache)
    assert [point.bound for point in card.curve] == ["0", "8/255"]
    assert run_audit(network, images, labels, bounds="8/255", cache=cache).curve == card.curve
    other = copy.deepcopy(network)
    next(iter(other.parameters())).data.neg_()
    for model, pictures in ((other, images), (network, images.flip(0))):
        with pytest.raises(UsageError, match="cache holds the work of another network, other images"):
            run_audit(model, pictures, labels, bounds="8/255", cache=cache)


def test_too_few_names_of_classes_are_refused_before_the_audit(network: SpikingNetwork, shown: Shown) -> None:
    with pytest.raises(UsageError, match="classes has 2 names, but the network has 10"):
        run_audit(network, *shown, classes=["a", "b"])


def test_an_audit_inside_inference_mode_finds_the_same(
    network: SpikingNetwork, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "quick", Preset("quick", 60, (TINY,)))
    images, labels = (each[:12] for each in shown)
    card = run_audit(network, images, labels, bounds=("8/255",))
    with torch.inference_mode():
        inside = run_audit(network, images + 0, labels + 0, bounds=("8/255",))
    assert inside.curve == card.curve


def test_the_call_on_the_card_repeats_the_audit(
    network: SpikingNetwork, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "quick", Preset("quick", 60, (TINY,)))
    images, labels = (each[:6] for each in shown)
    options: dict[str, Any] = {
        "bounds": ("1/255",),
        "attacks": ["pgd:iterations=3"],
        "batch_size": 3,
        "eps": "2/255",
        "seed": 4,
    }
    card = run_audit(network, images, labels, twins={"other": network}, **options)
    expected = (
        "hiresnn.run_audit(model, images, labels, eps='2/255', seed=4, bounds=['1/255'], attacks=['pgd:iterations=3'], "
        "twins={'other': ...}, batch_size=3"
    )
    assert card.setting.command == f"{expected}, preset='quick')"
