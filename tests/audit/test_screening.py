"""Screening: a watched PGD followed by hand, the selection of rules, and every threshold from both sides."""

from math import comb
from typing import Any

import numpy as np
import pytest
import torch

from hiresnn.attacks import fgsm, pgd
from hiresnn.attacks.ball import Ball
from hiresnn.audit import AuditConfig, InstrumentedModel
from hiresnn.audit.build_card import questions, report, significantly_more
from hiresnn.audit.presets import DIRECTIONS
from hiresnn.audit.sweep import LAST, RISE, instability, rising, screen_rule, screening_bound, select_rules, trace_pgd
from hiresnn.calls import parse_bound as bound


def linear(images):
    """Logits (a - b, 0) of the pixels a, b: class 0 where a > b."""
    a, b = images.flatten(1).unbind(1)
    return torch.stack([a - b, torch.zeros_like(a)], 1)


def pixels(*pairs):
    return torch.tensor(pairs).view(-1, 1, 1, 2)


ZERO = torch.zeros(1, dtype=torch.int64)


def test_the_losses_of_a_linear_model_are_those_worked_out_by_hand():
    # margin of class 0 = 0 - (a - b); each step of eps / 4 = 0.05 lowers a and raises b by 0.05, so it grows by 0.1.
    found = trace_pgd(linear, pixels((0.6, 0.4)), ZERO, Ball(0.2), iterations=3, loss="margin")
    assert torch.allclose(found.loss[:, 0], torch.tensor([-0.2, -0.1, 0.0, 0.1]), atol=1e-6)
    assert torch.allclose(found.margin, torch.tensor([0.1]), atol=1e-6)
    assert torch.allclose(found.last, pixels((0.45, 0.55)), atol=1e-6)
    assert found.wrong[:, 0].tolist()[::3] == [False, True]  # at 0 the two are equal but for rounding
    assert torch.allclose(found.gradient, pixels((-1.0, 1.0)))


def test_the_named_loss_is_increased():
    found = trace_pgd(linear, pixels((0.6, 0.4)), ZERO, Ball(0.2), iterations=1, loss="cross-entropy")
    # -log softmax(0.2, 0)_0 = log(1 + e^-0.2), and 0.1 after one step
    expected = torch.log1p(torch.exp(torch.tensor([-0.2, -0.1])))
    assert torch.allclose(found.loss[:, 0], expected, atol=1e-6)
    assert torch.allclose(found.margin, torch.tensor([-0.1]), atol=1e-6)  # the margin is watched all the same


def test_no_iterate_leaves_the_bound_or_the_range_of_pixels():
    # Class 1 is left by a larger a and a smaller b: 8 steps of 0.025 end at the bound of 0.1.
    found = trace_pgd(linear, pixels((0.05, 0.95)), torch.tensor([1]), Ball(0.1), iterations=8, loss="margin")
    assert torch.allclose(found.last, pixels((0.15, 0.85)), atol=1e-6)
    # The other way the range of pixels ends at 0 and 1.
    found = trace_pgd(linear, pixels((0.05, 0.95)), ZERO, Ball(0.1), iterations=8, loss="margin")
    assert torch.allclose(found.last, pixels((0.0, 1.0)), atol=1e-6)


def test_a_gradient_of_exactly_zero_moves_no_pixel():
    def steep(images):  # the first pixel alone, and that only above a half
        a = images.flatten(1)[:, 0]
        return torch.stack([torch.relu(a - 0.5), torch.zeros_like(a) - 1], 1)

    images, labels = pixels((0.7, 0.3), (0.2, 0.3)), torch.zeros(2, dtype=torch.int64)
    found = trace_pgd(steep, images, labels, Ball(0.1), iterations=2, loss="margin")
    assert (found.gradient == 0).flatten(1).tolist() == [[False, True], [True, True]]
    assert torch.equal(found.last[1], images[1])


def is_rising(losses):
    return bool(rising(torch.tensor(losses)[:, None]).item())


LONG = 2 * LAST
"""Steps of a climb whose second half is the last `LAST` steps."""


def long(at_half, end):
    """From 0 to `at_half` by one step, still until half of the climb, then to `end` by its last step."""
    return [0.0, *[at_half] * LAST, *[at_half] * (LAST - 1), end]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (long(1 - RISE - 0.01, 1.0), True),  # 6 % of the climb in the last steps
        (long(1 - RISE + 0.01, 1.0), False),  # 4 %
        (long(1.0, 1.0), False),
        (long(1.0, 0.2), False),  # it fell: the best is what counts
        (long(0.0, 0.0), False),  # a flat loss does not rise
        (long(0.0, 1e-6), True),
        ([*[1.0] * LAST, 0.0, *[0.5] * LAST], False),  # back up, not above the best
        ([0.0, *[9.0] * (LAST - 1), 9.0, *[9.0] * (LAST - 1), 9.4], False),  # 0.4 of 9.4 is 4.3 %
        ([-9.0, *[0.0] * LAST, *[0.0] * (LAST - 1), 0.6], True),  # 0.6 of 9.6 is 6.3 %
    ],
)
def test_a_loss_is_rising_if_its_best_gains_more_than_a_share_in_the_last_steps(losses, expected):
    assert len(losses) == LONG + 1
    assert is_rising(losses) == expected


def test_the_last_steps_of_a_short_run_are_its_second_half():
    assert not is_rising([0.0, 0.5, 1.0, 1.0, 1.0])
    assert is_rising([0.0, 0.5, 0.5, 0.5, 1.0])


def logits(score):
    """Two classes whose cross-entropy at class 0 is `score`: -log softmax(-log(e^s - 1), 0)_0 = s."""

    def model(images):
        s = score(images.flatten(1))
        return torch.stack([-torch.log(torch.expm1(s)), torch.zeros_like(s)], 1)

    return model


IMAGES, LABELS = pixels((0.5, 0.5), (0.4, 0.6)), torch.zeros(2, dtype=torch.int64)


def test_the_change_is_relative_to_the_loss_at_the_image():
    assert instability(logits(lambda flat: torch.ones(len(flat))), IMAGES, LABELS, 9).tolist() == [0.0, 0.0]

    # s = c (1 + r / R) with r uniform in [-R, R]: |change| / c is uniform in [0, 1], so 1/2 in the mean, whatever c.
    def score(flat):
        centre = torch.tensor([0.5, 0.4])
        return torch.tensor([0.5, 3.0]) * (1 + (flat[:, 0] - centre) * 255 / 8)

    torch.manual_seed(0)
    found = instability(logits(score), IMAGES, LABELS, directions=2000)
    assert found.tolist() == pytest.approx([0.5, 0.5], abs=0.03)  # 4 standard deviations: 4 * 0.29 / sqrt(2000)


def test_no_change_counts_more_than_one():
    def score(flat):
        at_the_image = (flat[:, 0] == flat.new_tensor([0.5, 0.4])).float()
        return 5 - 4.9 * at_the_image  # 0.1 there, 5 everywhere else: a change of 49 times

    torch.manual_seed(0)
    assert instability(logits(score), IMAGES, LABELS, directions=5).tolist() == [1.0, 1.0]


def some(*parts, count=100):
    """True from the first to before the second of each pair."""
    found = np.zeros(count, bool)
    for start, stop in parts:
        found[start:stop] = True
    return found


def screened(count=100, **changes):
    """A rule that can be trusted: climbs break 40 %, one step 20 % of the same, a wider bound 80 %, no bound all."""
    tenth = count // 10
    values: dict[str, Any] = {
        "fgsm": some((0, 2 * tenth), count=count),
        "entropy": some((0, 3 * tenth), count=count),
        "margin": some((0, 4 * tenth), count=count),
        "reached": np.zeros(count),
        "wider": some((0, 8 * tenth), count=count),
        "unbounded": np.ones(count, bool),
        "zero": some(count=count),
        "zero_pixels": np.zeros(count),
        "unstable": np.full(count, 0.1),
        "silent": some(count=count),
        "rising": some(count=count),
    }
    return {**values, **changes}


def reaching(*reached):
    return screened(count=10, reached=np.asarray(reached))


def test_rules_are_selected_by_how_many_images_they_win():
    rules = {
        "a": reaching(0.0, 0.0, 0.0, 0.0, 9.0, 0.0),
        "b": reaching(1.0, 1.0, 1.0, 0.0, 0.0, 0.0),
        "c": reaching(0.5, 0.5, 0.5, 2.0, 1.0, 1.0),
        "d": reaching(0.9, 0.9, 0.9, 1.9, 0.9, 0.9),
    }
    # b wins three, c two, a one, d none
    assert select_rules(rules, 2) == (["b", "c"], ["a", "d"])
    assert select_rules(rules, 9) == (["b", "c", "a"], ["d"])
    assert select_rules(rules, None) == (["b", "c", "a", "d"], [])
    # The first of equals wins.
    rules = {"own": reaching(1.0, 2.0), "same": reaching(1.0, 2.0), "third": reaching(0.0, 2.5)}
    assert select_rules(rules, 9) == (["own", "third"], ["same"])
    assert select_rules({"own": reaching(-3.0)}, 3) == (["own"], [])


BOUNDS = AuditConfig(bounds=("2/255", "4/255", "8/255", "16/255", "inf")).curve


def where(*standing, headline="8/255", sample=40):
    """Standing at 2, 4, 8 and 16/255 and without a bound."""
    counts = dict(zip(BOUNDS, (sample, *standing), strict=True))
    return screening_bound(BOUNDS, counts, sample, bound(headline)).label


def test_rules_are_compared_where_about_half_of_the_sample_stands_at_most_at_the_headline():
    assert where(39, 22, 3, 0, 0) == "4/255"
    assert where(24, 15, 3, 0, 0) == "2/255"
    assert where(40, 40, 40, 20, 0) == "8/255"
    assert where(40, 40, 40, 20, 0, headline="16/255") == "16/255"
    assert where(0, 0, 0, 0, 0) == "8/255"  # never at zero
    assert (
        where(40, 40, 40, 40, 40) == "8/255"
    )  # of equally close bounds the largest: a network that hides its gradients
    assert where(25, 15, 0, 0, 0) == "4/255"


@pytest.fixture(scope="module")
def record(network, shown):
    audited = InstrumentedModel(network, shown[0][:4])
    torch.manual_seed(0)
    return dict(screen_rule(audited, "arctan", shown[0][:20], shown[1][:20], bound("8/255"), 6, DIRECTIONS))


def test_a_rule_is_screened_with_the_documented_attacks(network, shown, record):
    images, labels, eps = shown[0][:20], shown[1][:20], 8 / 255
    audited = InstrumentedModel(network, images[:4])
    with audited.under("arctan"):
        single = fgsm(audited, images, labels, eps=eps)
        last = pgd(audited, images, labels, eps=eps, step=eps / 4, iterations=6)
    with torch.no_grad():
        assert record["fgsm"].tolist() == (network(single).argmax(1) != labels).tolist()
        last_wrong = (network(last).argmax(1) != labels).numpy()
    # What the last iterate of PGD with the same steps breaks, the climb has broken at some iterate.
    assert (record["entropy"] | ~last_wrong).all()
    assert (record["silent"] == (record["entropy"] & ~last_wrong)).all()
    assert ((record["reached"] > 0) == (record["entropy"] | record["margin"])).all()
    # As many steps of the margin at four times the bound, half as many at none.
    for name, radius, iterations in (("wider", 4 * eps, 6), ("unbounded", 1.0, 3)):
        with audited.under("arctan"):
            further = trace_pgd(audited, images, labels, Ball(radius), iterations=iterations, loss="margin")
        assert (record[name] == further.wrong.any(0).numpy()).all()
    assert record["fgsm"].sum() < record["wider"].sum() < record["unbounded"].sum()


def test_the_network_keeps_its_own_rule(network, shown):
    surrogates = [lif.surrogate for lif in network.neurons.values()]
    audited = InstrumentedModel(network, shown[0][:4])
    with audited.measured(0) as cost:
        screen_rule(audited, "assg", shown[0][:3], shown[1][:3], bound("8/255"), 4, DIRECTIONS)
    assert [lif.surrogate for lif in network.neurons.values()] == surrogates
    # FGSM 1 and its check 1; three climbs of 5 looks, one of 3; the loss at one point and in 100 directions
    assert cost.backward == 3 * (1 + 3 * 5 + 3)
    assert cost.forward == cost.backward + 3 * (1 + 101)


EIGHT = bound("8/255")
MASKED, OPEN, FINE = "masked gradients likely", "inconclusive", "consistent"


def judged(subject, rule="own", blind=None, **others):
    found = report(rule, {rule: subject, **others}, blind or {}, EIGHT)
    return found.verdict, found.reasons


def test_a_rule_without_any_sign_of_masking_is_consistent():
    assert [question.yes for question in questions(screened(), {}, EIGHT)] == [False] * 5
    assert judged(screened()) == (FINE, [])


FEW, MORE = some((0, 44)), some((0, 45))
SMALL = screened(count=10)
NOISE = {"noise:kind=uniform": some((40, 43)), "square": some((40, 99))}
ONE, BLACK, WIDER, UNBOUNDED, RANDOM = range(5)


@pytest.mark.parametrize(
    ("number", "subject", "blind", "evidence"),
    [  # PGD breaks 0 to 39 of 100 images; evidence of a yes, "" for a no
        (ONE, screened(fgsm=MORE), {}, "only one step breaks 5, only PGD on either loss 0 of 100 images"),
        (ONE, screened(fgsm=FEW), {}, ""),  # 4 against none may be chance
        (ONE, screened(fgsm=some((40, 45))), {}, ""),  # 5 against 40
        (ONE, screened(fgsm=MORE, entropy=some((20, 45))), {}, ""),  # either loss counts as iterating
        (BLACK, screened(), {"noise": some(), "square": FEW, "transfer": MORE}, "only transfer breaks 5, only PGD 0"),
        (BLACK, screened(), {"square": FEW, "transfer": FEW}, ""),
        (BLACK, screened(), {"square": FEW, "transfer": some((0, 40), (44, 48))}, ""),  # one by one
        (BLACK, screened(), {}, ""),
        (WIDER, screened(wider=FEW), {}, "PGD on the margin breaks 40 of 100 images at 8/255, 44 at 4 times 8/255"),
        (WIDER, screened(wider=MORE), {}, ""),
        (WIDER, screened(margin=some((0, 94)), wider=some((0, 94))), {}, "94 at 4 times 8/255"),
        (WIDER, screened(margin=some((0, 95)), wider=some((0, 95))), {}, ""),  # almost all fall already
        (UNBOUNDED, screened(unbounded=some((6, 100))), {}, "6 of 100 images stand without a bound"),
        (UNBOUNDED, screened(unbounded=some((5, 100))), {}, ""),
        (RANDOM, screened(), {**NOISE, "noise:kind=sign": some((43, 46))}, "noise breaks 6 of 100 images that PGD"),
        (RANDOM, screened(), {**NOISE, "noise:kind=sign": some((0, 2), (42, 45))}, ""),  # together 40 to 44
        (RANDOM, SMALL, {"noise": some((4, 6), count=10)}, "noise breaks 2 of 10"),
        (RANDOM, SMALL, {"noise": some((4, 5), count=10)}, ""),  # one lucky draw, though more than a twentieth
    ],
)
def test_a_question_is_answered_yes_just_beyond_its_threshold(number, subject, blind, evidence):
    question = questions(subject, blind, EIGHT)[number]
    assert question.yes == bool(evidence)
    assert evidence in question.evidence
    if question.yes:
        verdict, reasons = judged(subject, blind=blind)
        assert verdict == MASKED
        assert any(f"{question.name} Yes: {question.evidence}" == reason for reason in reasons)


def test_a_rule_compared_without_a_bound_has_no_larger_one_to_fail_at():
    subject = screened(margin=some((0, 60)), wider=some((0, 55)))
    assert questions(subject, {}, EIGHT)[2].yes
    question = questions(subject, {}, bound("inf"))[2]
    assert not question.yes
    assert question.evidence == "PGD on the margin breaks 60 of 100 images at inf, 55 at any bound, which is no larger"


@pytest.mark.parametrize(
    ("name", "least", "most", "verdict", "reason"),
    [
        ("zero", some((0, 11)), some((0, 10)), MASKED, "of the images have a gradient of exactly zero"),
        ("zero_pixels", np.full(100, 0.11), np.full(100, 0.1), OPEN, "of the pixels have a gradient of exactly zero"),
        ("silent", some((0, 11)), some((0, 10)), OPEN, "PGD passes a success that its last iterate misses"),
        ("rising", some((0, 11)), some((0, 10)), OPEN, "the loss was still rising when PGD ended on 11 %"),
        ("unstable", np.full(100, 0.51), np.full(100, 0.5), OPEN, "the loss changes by 51 % in random directions"),
    ],
)
def test_an_indicator_counts_just_above_its_threshold(name, least, most, verdict, reason):
    assert judged(screened(**{name: most})) == (FINE, [])
    found, (said,) = judged(screened(**{name: least}))
    assert found == verdict
    assert reason in said


@pytest.mark.parametrize(
    ("breaks", "of_own", "of_another"), [(49, FINE, FINE), (50, OPEN, OPEN), (64, OPEN, OPEN), (65, MASKED, OPEN)]
)
def test_another_rule_that_breaks_a_tenth_more_is_a_doubt_and_a_quarter_more_masks_the_own_one(
    breaks, of_own, of_another
):
    # This rule breaks 0 to 39
    better = screened(entropy=some((0, breaks)))
    verdict, reasons = judged(screened(), arctan=better)
    assert verdict == of_own
    assert (f"the rule arctan breaks {breaks} of 100 images, this rule 40" in reasons) == (of_own != FINE)
    assert judged(screened(), "bptr", arctan=better)[0] == of_another


def test_a_difference_that_may_be_chance_is_no_doubt():
    # 10 to 29 alone against 40 to 69: 30 and 20; the net of 10 of 100 is a tenth, P(30 or more of 50) = 0.10
    this = screened(margin=some((0, 30)), entropy=some(), fgsm=some((0, 10)))
    other = screened(margin=some((0, 10), (40, 70)), entropy=some())
    assert judged(this, arctan=other)[0] == FINE
    clear = screened(margin=some((0, 30), (40, 50)), entropy=some())  # 10 against none
    assert judged(this, arctan=clear)[0] == OPEN


def test_fewer_than_twenty_images_are_inconclusive():
    assert judged(screened(count=20))[0] == FINE
    few = {name: values[:19] for name, values in screened(count=20).items()}
    assert judged(few) == (OPEN, ["only 19 images were screened"])


def test_masking_outweighs_doubts_and_both_are_reported():
    verdict, reasons = judged(screened(zero=some((0, 50)), rising=some((0, 50))))
    assert verdict == MASKED
    assert reasons == [
        "50 % of the images have a gradient of exactly zero",
        "the loss was still rising when PGD ended on 50 % of the images",
    ]


def test_a_report_holds_the_means_of_all_indicators():
    subject = screened(zero=some((0, 3)), silent=some((0, 4)), rising=some((0, 5)), unbounded=some((2, 100)))
    found = report("pdsg", {"pdsg": subject}, {}, EIGHT)
    assert found.rule == "pdsg"
    shares = [found.zero_gradients, found.silent, found.rising, found.unbounded, found.unstable]
    assert shares == pytest.approx([0.03, 0.04, 0.05, 0.02, 0.1])
    assert len(found.questions) == 5


def tail(more, fewer):
    """Chance of at least `more` heads of all throws."""
    throws = more + fewer
    return sum(comb(throws, heads) for heads in range(more, throws + 1)) / 2**throws


def test_only_a_surplus_beyond_chance_is_significant():
    for more in range(20):
        for fewer in range(20):
            assert significantly_more(more, fewer) == (more > fewer and tail(more, fewer) < 0.05), (more, fewer)
