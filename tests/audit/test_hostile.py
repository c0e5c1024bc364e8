"""Each hostile network is named for what it is, and none is reported as robust."""

import re
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from hiresnn.audit import Card, InstrumentedModel
from hiresnn.audit.build_card import build_card, subject_of
from hiresnn.audit.card import Images
from hiresnn.errors import UsageError

from .hostile import HOSTILE, Random, SometimesNaN, WritesIntoItsInput
from .small import ONCE, Run

Shown = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def card_of(run: Run, shown: Shown) -> Callable[[str], Card]:
    """Name of a hostile network -> its card."""

    @cache
    def card_of(name: str) -> Card:
        found = run(HOSTILE[name].make(), *shown, stages=(ONCE,), bounds=("24/255",))
        data = Images(name="digits", split="test", images=60, classes=[str(k) for k in range(10)], size=[1, 8, 8])
        subject = subject_of(found, name=name, library="own code")
        return build_card(found, subject=subject, data=data, command="", repeat="hiresnn audit", environment={})

    return card_of


@pytest.mark.parametrize("name", [name for name, each in HOSTILE.items() if not each.refused])
def test_a_hostile_network_is_named_on_the_card(card_of: Callable[[str], Card], name: str) -> None:
    card = card_of(name)
    named = [check.detail for check in card.checks if check.result == "failed" or "random" in check.detail]
    assert any(re.search(HOSTILE[name].words, detail) for detail in named), card.checks
    if name != "random":
        assert any(re.search(HOSTILE[name].words, reason) for reason in card.conclusion.reasons)


@pytest.mark.parametrize("name", ["drifts", "constant", "dead", "stateful", "depends on the batch"])
def test_no_number_is_reported_for_a_network_whose_answers_are_not_a_function_of_the_image(
    card_of: Callable[[str], Card], name: str
) -> None:
    conclusion = card_of(name).conclusion
    assert conclusion.verdict == "unreliable"
    assert conclusion.headline.startswith("Report no number at 24/255")
    ignores = name in ("constant", "dead")
    advice = "Check that the weights are loaded" if ignores else "Make the network's answers depend on the images alone"
    assert conclusion.next_step.startswith(advice)


@pytest.mark.parametrize("name", [name for name, each in HOSTILE.items() if each.refused])
def test_a_network_that_fails_later_is_refused_in_one_sentence(run: Run, shown: Shown, name: str) -> None:
    with pytest.raises(UsageError, match=HOSTILE[name].words):
        run(HOSTILE[name].make(), *shown, stages=(ONCE,))


def test_logits_that_are_not_finite_count_as_wrong_whatever_the_class(run: Run, shown: Shown) -> None:
    images, labels = shown
    found = run(SometimesNaN(), images, labels, stages=(ONCE,), bounds=("8/255", "24/255"))
    correct = found.worst.count(found.worst.bounds[0])
    assert correct > 40
    assert int((labels == 0).sum()) == 6
    assert found.worst.count(found.worst.bounds[1]) == 0  # noise alone leaves the 8-bit grid
    assert found.cost.nonfinite > 0


def test_a_network_that_writes_into_its_input_leaves_the_images_as_they_were(run: Run, shown: Shown) -> None:
    images, labels = shown[0].clone(), shown[1]
    found = run(WritesIntoItsInput(), images, labels, stages=(ONCE,))
    assert torch.equal(images, shown[0])
    for image, adversarial in found.worst.adversarial.items():
        bound = found.worst.bounds[int(found.worst.level[image])]
        assert (adversarial - images[image]).abs().max() <= bound.radius + 1e-6


def test_a_random_network_keeps_its_number_and_its_batch_is_not_compared(shown: Shown) -> None:
    checks = {check.name: check.result for check in InstrumentedModel(Random(), shown[0][:16]).checks(0)}
    assert checks["repeated calls"] == "passed"
    assert checks["batch order and size"] == "not checked"


def test_the_callers_network_keeps_its_mode(run: Run, shown: Shown) -> None:
    network = WritesIntoItsInput().train()
    run(network, *shown, stages=(ONCE,))
    assert network.training
    assert network.network.training
