"""From findings to a card: every figure on it is that of the findings, and of the network itself."""

import base64
import io
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hiresnn.audit import Audited, Card, Findings, Plan, Record, assembled, bound
from hiresnn.audit.assemble import PICTURES
from hiresnn.audit.card import Images, Setting, Share, Subject
from hiresnn.audit.presets import PROTOCOL, Wave
from hiresnn.network import SpikingNetwork, record

Run = Callable[..., Findings]
Shown = tuple[Tensor, Tensor]

WAVE = Wave(
    rules=("own", "arctan", "assg"),
    sample=20,
    iterations=4,
    queries=10,
    most=1,
    attacks=("apgd:iterations=5,loss=dlr,rule={best}", "square:queries=10"),
)
SUBJECT = Subject(
    name="mine", kind="function", architecture="Net", library="hiresnn", method=None, timesteps=3, neurons=2,
    random=False, draws=1, rounds=False, fingerprint=None,
)  # fmt: skip
CLASSES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
DATA = Images(name="digits", split="test", images=60, classes=CLASSES, size=[1, 8, 8])
SETTING = Setting(
    preset="quick", seed=0, bounds=["0", "8/255", "24/255", "inf"], headline="24/255", batch_size=30, twins=[],
    attacks=[], command="hiresnn audit",
)  # fmt: skip
ENVIRONMENT = {"python": "3.11"}


@pytest.fixture(scope="module")
def plan(tiny_plan: Callable[..., Plan]) -> Plan:
    return tiny_plan(waves=(WAVE,))


@pytest.fixture(scope="module")
def kept() -> dict[str, Record]:
    return {}


@pytest.fixture(scope="module")
def found(audit: Run, network: SpikingNetwork, shown: Shown, kept: dict[str, Record]) -> Findings:
    return audit(network, *shown, kept, waves=(WAVE,))


def made(found: Findings, plan: Plan, model: Any, shown: Shown) -> Card:
    return assembled(
        found, plan, Audited(model, shown[0][:16]), *shown,
        subject=SUBJECT, data=DATA, setting=SETTING, environment=ENVIRONMENT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def card(found: Findings, plan: Plan, network: SpikingNetwork, shown: Shown) -> Card:
    return made(found, plan, network, shown)


def test_it_reads_back_from_json(card: Card) -> None:
    assert Card.model_validate_json(card.model_dump_json()) == card


def test_where_and_how_are_told_as_they_were_given(card: Card) -> None:
    assert (card.subject, card.data, card.setting, card.environment) == (SUBJECT, DATA, SETTING, ENVIRONMENT)


def test_the_curve_counts_the_images_that_stand(card: Card, found: Findings) -> None:
    assert [point.bound for point in card.curve] == ["0", "8/255", "24/255", "inf"]
    assert [point.eps for point in card.curve] == [0.0, 8 / 255, 24 / 255, None]
    for point, each in zip(card.curve, found.ledger.bounds, strict=True):
        assert (point.worst.count, point.worst.of) == (found.ledger.count(each), 60)
        for share, text in ((point.fgsm, "fgsm"), (point.pgd, "pgd"), (point.noise, PROTOCOL[2])):
            assert share.count == 60 - int(found.alone[text][point.bound].sum())
            assert share.count >= point.worst.count


def test_the_curve_is_monotone(card: Card) -> None:
    worst = [point.worst.percent for point in card.curve]
    assert worst == sorted(worst, reverse=True)
    assert worst[0] == card.clean.percent > worst[-1]


def test_at_zero_everything_is_the_clean_accuracy(card: Card, network: SpikingNetwork, shown: Shown) -> None:
    right = int((network(shown[0]).argmax(1) == shown[1]).sum())
    zero = card.at("0")
    assert card.clean.count == right
    assert {zero.fgsm.count, zero.pgd.count, zero.noise.count, zero.worst.count} == {right}


def test_the_rows_are_the_attacks_in_their_order_with_what_they_broke_and_cost(card: Card, found: Findings) -> None:
    assert [row.label for row in card.attacks] == [label for label in found.trials if found.ledger.entries[label].shown]
    for row in card.attacks:
        entry = found.ledger.entries[row.label]
        assert (row.shown, row.forward, row.backward) == (entry.shown, entry.forward, entry.backward)
        assert row.broke == found.ledger.broke(row.label)
    fell = card.clean.count - card.at("inf").worst.count
    assert sum(sum(row.broke.values()) for row in card.attacks) == fell == len(found.adversarial)
    first = card.attacks[0]
    assert (first.label, first.attack, first.rule, first.loss) == ("fgsm", "fgsm", "own", "cross-entropy")
    last = {row.attack: row for row in card.attacks}
    assert last["apgd"].loss == "dlr"
    assert (last["noise"].rule, last["noise"].loss) == (None, None)


def test_the_budget_is_that_of_the_rows_and_of_scouting_and_the_clean_look(
    card: Card, kept: dict[str, Record], found: Findings
) -> None:
    for name in ("forward", "backward"):
        besides = sum(int(piece[name]) for key, piece in kept.items() if key.split()[0] in ("clean", "scout"))
        assert getattr(card.budget, name) == besides + sum(getattr(row, name) for row in card.attacks)
    assert card.budget.seconds == pytest.approx(found.spent.seconds)
    assert card.budget.forward > card.budget.backward > 0


def test_scouting_has_a_cell_a_rule_and_attack_and_one_for_each_attack_without_a_gradient(
    card: Card, found: Findings
) -> None:
    cells = {(cell.attack, cell.rule): cell.standing for cell in card.scouting.cells}
    attacks = ("FGSM", "PGD, cross-entropy", "PGD, margin")
    blind = {(name, "none") for name in found.blind}
    assert set(cells) == {(attack, rule) for attack in attacks for rule in WAVE.rules} | blind
    assert len(card.scouting.cells) == len(cells)
    for each in found.scouted:
        assert cells["PGD, margin", each.rule].count == 20 - int(each.margin.sum())
        assert cells["FGSM", each.rule].of == 20
    assert card.scouting.images == 20
    assert card.scouting.bound == found.scouted_at.label
    assert [report.rule for report in card.scouting.rules] == list(WAVE.rules)
    assert (card.scouting.kept, card.scouting.dropped) == (found.kept, found.dropped)
    assert len(card.scouting.kept) == 1


def test_the_conclusion_is_that_of_the_own_rule_and_its_sentence_has_the_figures_of_the_headline(
    card: Card, found: Findings
) -> None:
    own = next(report for report in card.scouting.rules if report.rule == "own")
    assert (card.conclusion.own, card.conclusion.own_reasons) == (own.verdict, own.reasons)
    headline = card.at("24/255")
    assert card.conclusion.sentence.startswith(
        f"At 24/255 the paper's PGD with the network's own gradient leaves {100 * headline.pgd.count / 60:.1f} % "
        f"right; the worst case over all attacks leaves {100 * headline.worst.count / 60:.1f} %. "
    )
    assert {
        "consistent": "Nothing found here",
        "inconclusive": "not clearly wrong",
        "masked gradients likely": "do not go by it",
    }[own.verdict] in card.conclusion.sentence


def changed(found: Findings, images: list[int], level: int, by: str) -> Findings:
    """The findings, had those images fallen at that level by that attack."""
    ledger = deepcopy(found.ledger)
    for image in images:
        ledger.level[image], ledger.by[image] = level, by
    return replace(found, ledger=ledger)


def test_the_audit_is_judged_by_what_stands_without_a_bound(
    plan: Plan, network: SpikingNetwork, shown: Shown, found: Findings
) -> None:
    fell = sorted(found.adversarial)[:10]
    card = made(changed(found, fell, len(found.ledger.bounds), ""), plan, network, shown)
    assert set(fell) <= set(card.unbroken)
    assert card.conclusion.audit == "masked gradients likely"
    words = f"{len(card.unbroken)} of {card.clean.count} correct images stand without any bound"
    assert words in card.conclusion.audit_reasons


def test_the_audit_is_judged_by_what_square_broke_of_all_that_it_was_shown(
    plan: Plan, network: SpikingNetwork, shown: Shown, found: Findings
) -> None:
    fell = [image for image in found.adversarial if not found.ledger.by[image].startswith("square")]
    before = sum(found.ledger.broke("square:queries=10").values())
    card = made(changed(found, fell[:10], 3, "square:queries=10"), plan, network, shown)
    assert card.conclusion.audit == "masked gradients likely"
    left = found.ledger.entries["square:queries=10"].shown
    words = f"attacks without gradients broke {before + 10} of {left} that gradients left standing"
    assert words in card.conclusion.audit_reasons


def test_unbroken_images_are_named(card: Card, found: Findings) -> None:
    assert card.unbroken == [image for image in range(60) if found.ledger.level[image] == 4]
    assert len(card.unbroken) == card.at("inf").worst.count


def test_activity_is_that_of_the_clean_and_of_the_attacked_images(
    card: Card, found: Findings, network: SpikingNetwork, shown: Shown
) -> None:
    attacked = shown[0].clone()
    for image, adversarial in found.adversarial.items():
        if found.ledger.level[image] <= 2:  # at 24/255 or below
            attacked[image] = adversarial
    assert not torch.equal(attacked, shown[0])
    assert card.activity is not None
    assert [layer.name for layer in card.activity] == list(network.neurons)
    for images, name in ((shown[0], "clean"), (attacked, "attacked")):
        with torch.no_grad(), record(network) as spikes:
            network(images)
        for layer in card.activity:
            shape = spikes[layer.name].shape  # [T, B, ...]
            rate = float(spikes[layer.name].mean())
            assert getattr(layer, name) == pytest.approx(rate, rel=1e-5)
            assert layer.neurons == int(np.prod(shape[2:]))


def test_a_network_without_neurons_of_ours_has_no_activity(
    found: Findings, plan: Plan, network: Any, shown: Shown
) -> None:
    class Wrapped(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = network(images)
            return logits

    assert made(found, plan, Wrapped(), shown).activity is None


def pixels(text: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)


def test_the_gallery_shows_what_fell_up_to_the_headline(
    card: Card, found: Findings, network: Any, shown: Shown
) -> None:
    assert 0 < len(card.gallery) <= PICTURES
    for picture in card.gallery:
        adversarial = found.adversarial[picture.index]
        assert picture.label == CLASSES[int(shown[1][picture.index])] != picture.predicted
        assert picture.predicted == CLASSES[int(network(adversarial[None]).argmax())]
        assert bound(picture.bound).eps <= 24 / 255
        assert picture.bound == found.ledger.bounds[int(found.ledger.level[picture.index])].label
        assert picture.attack == found.ledger.by[picture.index]
        clean = (shown[0][picture.index, 0] * 255).round().int().numpy()
        assert (pixels(picture.clean) == clean).all()
        change = pixels(picture.adversarial) - pixels(picture.clean)
        assert 0 < np.abs(change).max() <= bound(picture.bound).eps * 255 + 1
        difference = 127.5 + picture.amplified * (adversarial - shown[0][picture.index])[0].numpy() * 255
        assert np.abs(pixels(picture.difference) - difference).max() <= 2  # amplified is rounded to two digits


def test_run_again_the_card_is_the_same_but_for_its_date(
    audit: Run, network: SpikingNetwork, shown: Shown, plan: Plan, kept: dict[str, Record], card: Card
) -> None:
    again = made(audit(network, *shown, dict(kept), waves=(WAVE,)), plan, network, shown)
    assert again.model_copy(update={"date": card.date}) == card  # seconds and all: those of the first time


def test_shares_are_those_of_the_counts(card: Card) -> None:
    assert isinstance(card.clean, Share)
    assert card.clean.percent == pytest.approx(100 * card.clean.count / 60, abs=0.005)
    assert card.clean.low < card.clean.percent < card.clean.high
