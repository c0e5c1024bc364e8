"""The verdict, from evidence made by hand: every question answered both ways, every threshold from both sides."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hiresnn.audit.bounds import parse_bound as bound
from hiresnn.audit.card import Question, RuleReport
from hiresnn.audit.rules import RuleScreening, questions, report

COUNT = 100
EIGHT = bound("8/255")
MASKED, OPEN, FINE = "masked gradients likely", "inconclusive", "consistent"


def some(*parts: tuple[int, int], count: int = COUNT) -> NDArray[np.bool_]:
    """True from the first to before the second of each pair."""
    found = np.zeros(count, bool)
    for start, stop in parts:
        found[start:stop] = True
    return found


def scouted(rule: str = "own", count: int = COUNT, **changes: Any) -> RuleScreening:
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
    return RuleScreening(rule, **{**values, **changes})


def answers(subject: RuleScreening, blind: Mapping[str, NDArray[np.bool_]] | None = None) -> list[bool]:
    return [question.yes for question in questions(subject, blind or {}, EIGHT)]


def judged(
    subject: RuleScreening, *others: RuleScreening, blind: Mapping[str, NDArray[np.bool_]] | None = None
) -> tuple[str, list[str]]:
    found = report(subject, [subject, *others], blind or {}, EIGHT)
    return found.verdict, found.reasons


def test_a_rule_without_any_sign_of_masking_is_consistent() -> None:
    assert answers(scouted()) == [False] * 5
    assert judged(scouted()) == (FINE, [])


def yes(number: int, subject: RuleScreening, blind: Mapping[str, NDArray[np.bool_]] | None = None) -> Question:
    """The question of that number, which is answered yes, and so makes the rule masked."""
    asked = questions(subject, blind or {}, EIGHT)
    assert asked[number].yes
    verdict, reasons = judged(subject, blind=blind)
    assert verdict == MASKED
    assert any(asked[number].evidence in reason for reason in reasons)
    return asked[number]


def test_one_step_is_better_where_it_breaks_images_that_iterating_does_not() -> None:
    # Climbs break 0 to 39. One step besides 40 to 44, but not 0 to 39: 5 against 40.
    assert not answers(scouted(fgsm=some((40, 45))))[0]
    assert not answers(scouted(fgsm=some((0, 44))))[0]  # 4 against none may be chance
    question = yes(0, scouted(fgsm=some((0, 45))))
    assert question.name == "Is one step better than iterating?"
    assert question.evidence == "only one step breaks 5, only PGD 0 of 100 images"


def test_either_loss_counts_as_iterating() -> None:
    assert not answers(scouted(fgsm=some((0, 45)), entropy=some((20, 45))))[0]


def test_a_black_box_is_better_where_any_attack_without_gradients_breaks_more() -> None:
    few, more = some((0, 44)), some((0, 45))
    assert not answers(scouted(), {"square": few, "transfer": few})[1]
    question = yes(1, scouted(), {"noise": some(), "square": few, "transfer": more})
    assert question.name == "Is a black box better than the white box?"
    assert question.evidence == "only transfer breaks 5, only PGD 0 of 100 images"


def test_attacks_without_gradients_are_compared_one_by_one() -> None:
    assert not answers(scouted(), {"square": some((0, 44)), "transfer": some((0, 40), (44, 48))})[1]


def test_without_a_black_box_the_question_is_answered_no() -> None:
    question = questions(scouted(), {}, EIGHT)[1]
    assert not question.yes
    assert question.evidence == "no attack without gradients was run"


def test_a_larger_bound_fails_to_help_where_fewer_than_a_twentieth_more_fall() -> None:
    assert not answers(scouted(wider=some((0, 45))))[2]
    question = yes(2, scouted(wider=some((0, 44))))
    assert question.name == "Does a larger bound fail to help?"
    assert question.evidence == "PGD breaks 40 of 100 images at 8/255, 44 at 4 times 8/255"


def test_a_larger_bound_need_not_help_where_almost_all_fall_already() -> None:
    assert not answers(scouted(margin=some((0, 95)), wider=some((0, 95))))[2]
    assert answers(scouted(margin=some((0, 94)), wider=some((0, 94))))[2]


def test_a_rule_compared_without_a_bound_has_no_larger_one_to_fail_at() -> None:
    subject = scouted(margin=some((0, 60)), wider=some((0, 55)))
    assert answers(subject)[2]  # at 8/255
    question = questions(subject, {}, bound("inf"))[2]
    assert not question.yes
    assert question.evidence == "PGD breaks 60 of 100 images at inf, 55 at any bound, which is no larger"


def test_the_unbounded_attack_may_leave_a_twentieth() -> None:
    assert not answers(scouted(unbounded=some((5, 100))))[3]
    question = yes(3, scouted(unbounded=some((6, 100))))
    assert question.name == "Does the unbounded attack stay below 100 %?"
    assert question.evidence == "6 of 100 images stand without a bound"


def test_noise_may_find_a_twentieth_that_gradients_leave() -> None:
    beyond = {"noise:kind=uniform": some((40, 43)), "noise:kind=sign": some((0, 2), (42, 45)), "square": some((40, 99))}
    assert not answers(scouted(), beyond)[4]  # both kinds together 40 to 44; Square is no noise
    more = {**beyond, "noise:kind=sign": some((43, 46))}
    question = questions(scouted(), more, EIGHT)[4]
    assert question.yes
    assert question.name == "Does random sampling find what gradients do not?"
    assert question.evidence == "noise breaks 6 of 100 images that PGD leaves"


def test_one_lucky_draw_says_nothing_of_a_small_sample() -> None:
    # 1 of 10 is more than a twentieth
    small = scouted(count=10, unbounded=np.ones(10, bool))
    assert not answers(small, {"noise": some((4, 5), count=10)})[4]
    assert answers(small, {"noise": some((4, 6), count=10)})[4]


def test_more_than_a_tenth_of_zero_gradients_is_masking() -> None:
    assert judged(scouted(zero=some((0, 10))))[0] == FINE
    verdict, reasons = judged(scouted(zero=some((0, 11))))
    assert verdict == MASKED
    assert reasons == ["11 % of the images have a gradient of exactly zero"]


@pytest.mark.parametrize(("share", "verdict"), [(0.1, FINE), (0.11, OPEN)])
def test_pixels_without_a_gradient_are_a_doubt(share: float, verdict: str) -> None:
    found = report(scouted(zero_pixels=np.full(COUNT, share)), [], {}, EIGHT)
    assert found.zero_pixels == pytest.approx(share)
    assert found.verdict == verdict
    assert found.reasons == ["11 % of the pixels have a gradient of exactly zero"] * (verdict == OPEN)


@pytest.mark.parametrize(
    ("breaks", "of_own", "of_another"),
    [(49, FINE, FINE), (50, OPEN, OPEN), (64, OPEN, OPEN), (65, MASKED, OPEN)],
)
def test_another_rule_that_breaks_a_tenth_more_is_a_doubt_and_a_quarter_more_masks_the_own_one(
    breaks: int, of_own: str, of_another: str
) -> None:
    # This rule breaks 0 to 39
    better = scouted("arctan", entropy=some((0, breaks)))
    verdict, reasons = judged(scouted(), better)
    assert verdict == of_own
    assert (f"the rule arctan breaks {breaks} of 100 images, this rule 40" in reasons) == (of_own != FINE)
    assert judged(scouted("bptr"), better)[0] == of_another


def test_a_difference_that_may_be_chance_is_no_doubt() -> None:
    # 10 to 29 alone against 40 to 69: 30 and 20; the net of 10 of 100 is a tenth, P(30 or more of 50) = 0.10
    this = scouted(margin=some((0, 30)), entropy=some(), fgsm=some((0, 10)))
    other = scouted("arctan", margin=some((0, 10), (40, 70)), entropy=some())
    assert judged(this, other)[0] == FINE
    clear = scouted("arctan", margin=some((0, 30), (40, 50)), entropy=some())  # 10 against none
    assert judged(this, clear)[0] == OPEN


def test_the_best_of_the_other_rules_is_the_one_that_counts() -> None:
    assert judged(scouted(), scouted("a", entropy=some((0, 45))), scouted("b", entropy=some((0, 65))))[0] == MASKED


@pytest.mark.parametrize(
    ("least", "most", "reason"),
    [
        (
            {"silent": some((0, 11))},
            {"silent": some((0, 10))},
            "PGD passes a success that its last iterate misses on 11 %",
        ),
        ({"rising": some((0, 11))}, {"rising": some((0, 10))}, "the loss was still rising when PGD ended on 11 %"),
        ({"unstable": np.full(COUNT, 0.51)}, {"unstable": np.full(COUNT, 0.5)}, "the loss changes by 51 %"),
    ],
)
def test_an_indicator_of_a_failed_attack_is_a_doubt(least: dict[str, Any], most: dict[str, Any], reason: str) -> None:
    assert judged(scouted(**most))[0] == FINE
    verdict, reasons = judged(scouted(**least))
    assert verdict == OPEN
    assert len(reasons) == 1
    assert reasons[0].startswith(reason)


def test_fewer_than_twenty_images_are_inconclusive() -> None:
    assert judged(scouted(count=20))[0] == FINE
    few = scouted(**{name: values[:19] for name, values in vars(scouted(count=20)).items() if name != "rule"})
    assert judged(few) == (OPEN, ["only 19 images were screened"])


def test_masking_outweighs_doubts_and_both_are_reported() -> None:
    verdict, reasons = judged(scouted(zero=some((0, 50)), rising=some((0, 50))))
    assert verdict == MASKED
    assert reasons == [
        "50 % of the images have a gradient of exactly zero",
        "the loss was still rising when PGD ended on 50 % of the images",
    ]


def test_a_report_holds_the_means_of_all_indicators() -> None:
    found = report(
        scouted("pdsg", zero=some((0, 3)), silent=some((0, 4)), rising=some((0, 5)), unbounded=some((2, 100))),
        [], {}, EIGHT,
    )  # fmt: skip
    assert isinstance(found, RuleReport)
    assert found.rule == "pdsg"
    shares = [found.zero_gradients, found.silent, found.rising, found.unbounded, found.unstable]
    assert shares == pytest.approx([0.03, 0.04, 0.05, 0.02, 0.1])
    assert len(found.questions) == 5
