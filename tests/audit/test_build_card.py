"""The card: its numbers are those of the result, and the number to report, each verdict from both sides."""

import base64
import copy
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hiresnn.audit import About, InstrumentedModel, run_audit
from hiresnn.audit import parse_bound as bound
from hiresnn.audit.build_card import PICTURES, Evidence, build_card, choose_pictures, conclude, png
from hiresnn.audit.card import Check, Point, RuleReport, share
from hiresnn.audit.presets import PROTOCOL, Choice, stage_attack
from hiresnn.network import record

from ..scripts import imported
from .small import square, stage

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "seen_both_ways.py"

STAGE = stage(
    stage_attack("apgd", Choice.BEST, iterations=5, loss="dlr"), square(10),
    rules=("own", "arctan", "assg"), sample=20, iterations=4, queries=10, most=1,
)  # fmt: skip
CLASSES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COMMAND = "hiresnn audit mine"
ABOUT = About(
    "mine", data="digits", split="test", classes=CLASSES, target="mine", command=COMMAND, repeat=COMMAND,
    environment={"python": "3.11"},
)  # fmt: skip


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture(scope="module")
def found(run, network, shown, kept):
    return run(network, *shown, kept, stages=(STAGE,))


def made(found):
    return build_card(found, ABOUT)


@pytest.fixture(scope="module")
def card(found):
    return made(found)


def test_the_network_the_images_and_the_settings_are_described(card, found):
    data, subject, setting = card.data, card.subject, card.setting
    assert (data.name, data.split, data.images, data.classes, data.size) == ("digits", "test", 60, CLASSES, [1, 8, 8])
    names = (subject.name, subject.kind, subject.architecture, subject.library)
    assert names == ("mine", "function", "SpikingNetwork", "hiresnn")
    assert (subject.timesteps, subject.neurons, subject.random) == (3, 2, False)
    assert subject.fingerprint == found.model.weights
    assert (setting.preset, setting.seed, setting.headline, setting.batch_size) == ("quick", 0, "24/255", 30)
    assert setting.bounds == ["0", "8/255", "24/255", "inf"]
    assert (setting.command, setting.target) == (COMMAND, "mine")


def test_the_curve_counts_the_images_that_stand(card, found):
    assert [point.bound for point in card.curve] == ["0", "8/255", "24/255", "inf"]
    assert [point.eps for point in card.curve] == [0.0, 8 / 255, 24 / 255, None]
    for point, each in zip(card.curve, found.worst.bounds, strict=True):
        assert (point.worst.count, point.worst.of) == (found.worst.count(each), 60)
        for one, text in ((point.fgsm, "fgsm"), (point.pgd, "pgd"), (point.noise, PROTOCOL[2])):
            assert one.count == 60 - int(found.alone[text][point.bound].sum())
            assert one.count >= point.worst.count


def test_rows_hold_the_attacks_in_order_with_broken_images_and_cost(card, found):
    assert [row.label for row in card.attacks] == [
        label for label in found.attacks if found.worst.costs[label].attacked
    ]
    for row in card.attacks:
        entry = found.worst.costs[row.label]
        assert (row.shown, row.forward, row.backward) == (entry.attacked, entry.forward, entry.backward)
        assert row.broke == found.worst.broke(row.label)
    fell = card.clean.count - card.at("inf").worst.count
    assert sum(sum(row.broke.values()) for row in card.attacks) == fell == len(found.worst.adversarial)
    first = card.attacks[0]
    assert (first.label, first.attack, first.rule, first.loss) == ("fgsm", "fgsm", "own", "cross-entropy")
    last = {row.attack: row for row in card.attacks}
    assert last["apgd"].loss == "dlr"
    assert (last["noise"].rule, last["noise"].loss) == (None, None)


def test_screening_has_one_cell_per_rule_and_attack(card, found):
    cells = {(cell.attack, cell.rule): cell.standing for cell in card.screening.cells}
    attacks = ("FGSM", "PGD, cross-entropy", "PGD, margin")
    blind = {(name, "none") for name in found.without_gradient}
    assert set(cells) == {(attack, rule) for attack in attacks for rule in STAGE.rules} | blind
    assert len(card.screening.cells) == len(cells)
    for rule, screening in found.screened.items():
        assert cells["PGD, margin", rule].count == 20 - int(screening["margin"].sum())
        assert cells["FGSM", rule].of == 20
    assert card.screening.images == 20
    assert card.screening.bound == found.screened_at.label
    assert [report.rule for report in card.screening.rules] == list(STAGE.rules)
    assert (card.screening.selected, card.screening.dropped) == (found.selected, found.dropped)
    assert len(card.screening.selected) == 1


def test_the_headline_is_the_number_to_report_at_the_headline_bound(card):
    own = next(report for report in card.screening.rules if report.rule == "own")
    worst, pgd = card.at("24/255").worst, card.at("24/255").pgd
    assert card.conclusion.own == own.verdict
    assert card.conclusion.verdict == "overestimated"
    interval = f"{worst.percent:.1f} % ({worst.low:.1f}-{worst.high:.1f})"
    assert card.conclusion.headline == f"Report at most {interval}, not {pgd.percent:.1f} %, at 24/255."
    assert card.conclusion.next_step == "hiresnn audit mine --preset standard"


def test_unbroken_images_are_listed(card, found):
    assert card.unbroken == [image for image in range(60) if found.worst.level[image] == 4]
    assert len(card.unbroken) == card.at("inf").worst.count


def test_activity_is_measured_on_clean_and_attacked_images(card, found, network, shown):
    attacked = shown[0].clone()
    for image, adversarial in found.worst.adversarial.items():
        if found.worst.level[image] <= 2:  # at 24/255 or below
            attacked[image] = adversarial
    assert not torch.equal(attacked, shown[0])
    assert [layer.name for layer in card.activity] == list(network.neurons)
    for images, name in ((shown[0], "clean"), (attacked, "attacked")):
        with torch.no_grad(), record(network) as spikes:
            network(images)
        for layer in card.activity:
            shape = spikes[layer.name].shape  # [T, B, ...]
            rate = float(spikes[layer.name].mean())
            assert getattr(layer, name) == pytest.approx(rate, rel=1e-5)
            assert layer.neurons == int(np.prod(shape[2:]))


def test_a_network_of_another_library_has_no_activity(found, network, shown):
    class Wrapped(nn.Module):
        def forward(self, images):
            return network(images)

    foreign = copy.copy(found)
    foreign.model = InstrumentedModel(Wrapped(), shown[0][:16])
    assert made(foreign).activity is None


@pytest.mark.skipif(not BENCHMARK.is_file(), reason="the benchmarks are only in a checkout")
def test_rules_that_the_network_refuses_are_listed_with_the_reason(card, found, network, shown):
    foreign = copy.copy(found)
    foreign.model = InstrumentedModel(imported(BENCHMARK).Elementwise(network), shown[0][:16])
    assert made(foreign).screening.refused == {"assg": "rules of a whole layer are left out"}
    assert card.screening.refused == {}
    foreign.model = InstrumentedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), shown[0][:16])
    assert made(foreign).screening.refused == {}  # it has no neurons, so the rules are not for it


def pixels(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)


def test_the_gallery_shows_images_broken_up_to_the_headline(card, found, network, shown):
    worst = found.worst
    only = [image for image, level in enumerate(worst.level.tolist()) if level < worst.gradient_level[image]]
    searched = [image for image in only if worst.level[image] <= worst.bounds.index(bound("24/255"))]
    assert card.searched == searched
    assert searched
    assert {picture.index for picture in card.gallery if picture.searched} == {*searched}  # all, as there are few
    assert len(searched) < len(card.gallery) <= PICTURES + len(searched)
    for picture in card.gallery:
        adversarial = found.worst.adversarial[picture.index]
        assert picture.label == CLASSES[int(shown[1][picture.index])] != picture.predicted
        assert picture.predicted == CLASSES[int(network(adversarial[None]).argmax())]
        assert bound(picture.bound).eps <= 24 / 255
        assert picture.bound == found.worst.bounds[int(found.worst.level[picture.index])].label
        assert picture.attack == found.worst.by[picture.index]
        clean = (shown[0][picture.index, 0] * 255).round().int().numpy()
        assert (pixels(picture.clean) == clean).all()
        change = pixels(picture.adversarial) - pixels(picture.clean)
        assert 0 < np.abs(change).max() <= bound(picture.bound).eps * 255 + 1
        difference = 127.5 + picture.amplified * (adversarial - shown[0][picture.index])[0].numpy() * 255
        assert np.abs(pixels(picture.difference) - difference).max() <= 2  # amplified is rounded to two digits


def test_a_repeated_audit_gives_the_same_card_except_its_date(run, network, shown, kept, card):
    again = made(run(network, *shown, dict(kept), stages=(STAGE,)))
    assert again.model_copy(update={"date": card.date}) == card  # also the seconds: those of the first time


def decoded(text):
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (2, "L")])
def test_a_png_holds_the_image_in_eight_bits(channels, mode):
    levels = torch.randint(0, 256, (channels, 4, 6), generator=torch.Generator().manual_seed(0))
    found = decoded(png(levels / 255))
    assert (found.format, found.mode, found.size) == ("PNG", mode, (6, 4))  # PIL: width first
    expected = levels.permute(1, 2, 0).numpy() if channels == 3 else levels[0].numpy()
    assert (np.asarray(found) == expected).all()


def test_broken_images_are_chosen_evenly_from_small_bounds_to_large():
    # 0: misclassified; 4: beyond the headline; 5: nothing broke it
    assert choose_pictures([3, 0, 1, 4, 2, 1, 5], headline=3, count=10) == [2, 5, 4, 0]
    assert choose_pictures([1, 1, 1, 2, 2, 2, 3], headline=3, count=3) == [0, 3, 6]
    assert len(set(choose_pictures([1] * 13, headline=1, count=12))) == 12
    assert choose_pictures([0, 4, 3], headline=1, count=5) == [2, 1]  # none up to the headline: any bound counts
    assert choose_pictures([0, 0], headline=1, count=5) == []


NONE = Evidence(gradient_left=100, without_gradient=0, unbroken=0, correct=1000)
OWN = RuleReport(
    rule="own", zero_gradients=0, zero_pixels=0, unstable=0, silent=0, rising=0, unbounded=0, questions=[],
    verdict="consistent", reasons=[],
)  # fmt: skip


def concluded(pgd, worst, *, of=200, evidence=NONE, checks=(), **changes):
    pgd_share, worst_share = share(pgd, of), share(worst, of)
    point = Point(bound="8/255", eps=8 / 255, fgsm=pgd_share, pgd=pgd_share, noise=pgd_share, worst=worst_share)
    values = {"preset": "standard", "command": "hiresnn audit mine", **changes}
    return conclude(point, OWN, evidence, checks, **values)


@pytest.mark.parametrize(
    ("pgd", "worst", "of", "verdict"),
    [
        (94, 53, 200, "overestimated"),  # 47.0 and 26.5
        (160, 140, 200, "overestimated"),  # 80.0 and 70.0
        (183, 178, 200, "overestimated"),  # five images and 2.5 points
        (183, 179, 200, "agrees"),  # four images may be chance
        (610, 601, 1000, "agrees"),  # nine images, but less than one point
        (611, 601, 1000, "overestimated"),
        (7, 2, 500, "overestimated"),  # exactly one point
        (0, 0, 200, "agrees"),
        (160, 160, 200, "agrees"),
    ],
)
def test_the_gap_between_pgd_and_the_worst_case_decides(pgd, worst, of, verdict):
    assert concluded(pgd, worst, of=of).verdict == verdict


def test_the_headline_is_the_number_to_report():
    assert concluded(94, 53).headline == "Report at most 26.5 % (20.9-33.0), not 47.0 %, at 8/255."
    assert concluded(160, 160).headline == "Report at most 80.0 % (73.9-85.0) at 8/255; the paper's PGD says 80.0 %."


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        # Lower ends of the exact 95 % interval, quantiles of the beta distribution: 20 of 130 broken images 9.7 %,
        # 21 10.3 %; 16 of 190 correct ones 4.9 %, 17 5.3 %; 26 of 40 screened ones 48.3 %, 27 50.9 %.
        ({"without_gradient": 20}, False),
        ({"without_gradient": 21}, True),
        ({"unbroken": 16}, False),
        ({"unbroken": 17}, True),
        ({"without": (26, 40)}, False),
        ({"without": (27, 40)}, True),
    ],
)
def test_where_attacks_surely_fail_no_number_is_reported(changes, failed):
    evidence = replace(NONE, correct=190, **changes)
    gap = concluded(190, 60, evidence=evidence)  # 130 images are broken
    assert gap.verdict == ("unreliable" if failed else "overestimated")  # the lower number is far from the truth, too
    assert ("may leave far less than 30.0 %" in gap.headline) == (failed and "without" not in changes)
    assert ("could follow a gradient" in gap.headline) == (failed and "without" in changes)
    assert any(reason.startswith("this audit: ") for reason in gap.reasons) == failed
    told = [reason for reason in gap.reasons if "fell only to attacks without gradients; the number" in reason]
    assert bool(told) == (changes.get("without_gradient") == 20)
    assert all("20 of 130 images that were broken at 8/255" in reason for reason in told)


@pytest.mark.parametrize(
    ("of", "correct", "pairs", "verdict"),
    [
        # Images that stand, and that only attacks without gradients broke: the extremes of 20 seeds on the networks of
        # results/audit-validation.md whose counts change with the seed (benchmarks/audit_validation.py --seeds 20).
        (100, 98, [(22, 1), (23, 2), (26, 0)], "overestimated"),  # linear, with noise on its logits
        (100, 98, [(20, 0), (20, 2), (22, 0)], "overestimated"),  # plain SNN, narrow surrogate
        (100, 98, [(19, 1), (21, 1), (22, 0)], "overestimated"),  # logits times 1e4
        (100, 98, [(19, 2), (20, 2), (22, 1), (23, 1)], "overestimated"),  # random quantiser
        (100, 98, [(46, 49), (50, 47), (53, 43), (56, 37)], "unreliable"),  # gradient cut
        (100, 98, [(45, 22), (45, 25), (50, 17), (53, 16)], "unreliable"),  # gradient of 70 % of the pixels cut
        (50, 48, [(4, 0)], "overestimated"),  # SpikingJelly at 32/255
        (50, 48, [(21, 4), (22, 3), (24, 1)], "overestimated"),  # at 16/255
        (50, 48, [(35, 4), (36, 3), (38, 1)], "overestimated"),  # at 8/255
    ],
)
def test_no_counts_that_seeds_gave_change_the_verdict(of, correct, pairs, verdict):
    for worst, missed in pairs:
        evidence = replace(NONE, correct=correct, without_gradient=missed)
        assert concluded(correct, worst, of=of, evidence=evidence).verdict == verdict


def test_the_seed_does_not_change_the_verdict_on_a_network_of_the_digits(network, shown):
    cards = [run_audit(network, *shown, eps="24/255", bounds=["inf"], seed=seed) for seed in range(3)]
    assert len({tuple(row.broke.get("24/255", 0) for row in card.attacks) for card in cards}) > 1  # but other counts
    assert {card.conclusion.verdict for card in cards} == {"overestimated"}


def test_a_card_of_an_earlier_version_keeps_its_limits():
    for changes, failed in (
        ({"without_gradient": 5}, False), ({"without_gradient": 6}, True),
        ({"gradient_left": 10, "without_gradient": 1}, False), ({"gradient_left": 10, "without_gradient": 2}, True),
        ({"unbroken": 9}, False), ({"unbroken": 10}, True),
        ({"without": (20, 40)}, False), ({"without": (21, 40)}, True),
    ):  # fmt: skip
        evidence = replace(NONE, correct=190, old=True, **changes)
        assert concluded(190, 190, evidence=evidence).verdict == ("unreliable" if failed else "agrees")


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("weights unchanged", "unreliable"), ("repeated calls", "unreliable"), ("input unchanged", "overestimated")],
)
def test_a_severe_check_decides_before_the_gap(name, verdict):
    found = concluded(94, 53, checks=(Check(name=name, result="failed", detail="it changed"),))
    assert found.verdict == verdict
    assert "it changed" in found.reasons
    passed = Check(name=name, result="passed", detail="fine")
    assert concluded(94, 53, checks=(passed,)).verdict == "overestimated"


def test_reasons_say_which_attack_found_the_gap_and_whether_the_search_has_ended():
    evidence = replace(NONE, found_by=("sa-pgd:rule=assg", 30), last=("apgd", 3))
    assert concluded(94, 53, evidence=evidence).reasons == [
        "the paper's PGD misses 41 of the broken images; 30 of these fell to sa-pgd:rule=assg",
        "more images may break, because the last attack still broke 3: apgd",
    ]
    assert len(concluded(94, 53, evidence=replace(evidence, last=("apgd", 2))).reasons) == 1
    single = concluded(94, 93, evidence=replace(NONE, found_by=("square", 1)))
    assert single.reasons == ["the paper's PGD misses one broken image, which fell to square"]


@pytest.mark.parametrize(
    ("preset", "evidence", "step"),
    [
        ("quick", NONE, "hiresnn audit mine --preset standard"),
        ("standard", replace(NONE, last=("apgd", 9)), "hiresnn audit mine --preset thorough"),
        ("thorough", replace(NONE, last=("apgd", 9)), "Add an attack"),
        ("thorough", NONE, "Publish card.json"),
    ],
)
def test_the_next_step_is_a_command_as_long_as_a_larger_preset_may_find_more(preset, evidence, step):
    assert concluded(94, 53, evidence=evidence, preset=preset).next_step.startswith(step)


@pytest.mark.parametrize(("of", "more"), [(50, 200), (200, 1000)])
def test_where_too_few_images_agree_the_next_step_has_more(of, more):
    assert concluded(of - 4, of - 8, of=of).next_step == f"hiresnn audit mine --preset standard --images {more}"
    python = concluded(of - 4, of - 8, of=of, command="hiresnn.run_audit(model")
    assert python.next_step == f"Repeat the audit with at least {more} images."


def test_a_network_that_takes_no_rule_and_whose_attacks_fail_is_to_get_an_adapter_or_a_twin():
    blind = replace(NONE, without=(40, 40), own_only=True)
    assert concluded(190, 60, evidence=blind).next_step.startswith("Give the attacks a gradient, by neurons")


def test_a_network_that_takes_no_rule_has_that_in_its_headline_first_reason_and_next_step():
    for worst in (190, 60):
        conclusion = concluded(190, worst, evidence=replace(NONE, own_only=True), preset="thorough")
        assert conclusion.headline.endswith(". No gradient but the network's own could be followed.")
        assert conclusion.reasons[0].startswith("no gradient rule could be tried on this network; if it spikes")
        assert conclusion.next_step.startswith(
            "If the network spikes, follow docs/papers.md and repeat the audit. If it"
        )
    assert "could be followed" not in concluded(190, 60, evidence=NONE).headline
