"""The number to report, from evidence made by hand: every verdict from both sides of its thresholds."""

from dataclasses import replace
from typing import Any

import pytest

from hiresnn.audit.card import Check, Conclusion, Point, RuleReport, share
from hiresnn.audit.conclusion import Evidence, conclude

NONE = Evidence(gradient_left=100, without_gradient=0, unbroken=0, correct=190)
OWN = RuleReport(
    rule="own", zero_gradients=0, zero_pixels=0, unstable=0, silent=0, rising=0, unbounded=0, questions=[],
    verdict="consistent", reasons=[],
)  # fmt: skip


def concluded(
    pgd: int, worst: int, *, of: int = 200, evidence: Evidence = NONE, checks: tuple[Check, ...] = (), **changes: Any
) -> Conclusion:
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
def test_the_gap_between_pgd_and_the_worst_case_decides(pgd: int, worst: int, of: int, verdict: str) -> None:
    assert concluded(pgd, worst, of=of).verdict == verdict


def test_the_headline_is_the_number_to_report() -> None:
    assert concluded(94, 53).headline == "Report at most 26.5 % (20.9-33.0), not 47.0 %, at 8/255."
    assert concluded(160, 160).headline == "Report at most 80.0 % (73.9-85.0) at 8/255; the paper's PGD says 80.0 %."


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"without_gradient": 5}, False),
        ({"without_gradient": 6}, True),
        ({"gradient_left": 10, "without_gradient": 1}, False),  # one lucky image
        ({"gradient_left": 10, "without_gradient": 2}, True),
        ({"unbroken": 9}, False),
        ({"unbroken": 10}, True),
        ({"without": (20, 40)}, False),
        ({"without": (21, 40)}, True),
    ],
)
def test_where_attacks_fail_no_number_is_reported(changes: dict[str, Any], failed: bool) -> None:
    evidence = replace(NONE, **changes)
    assert concluded(190, 190, evidence=evidence).verdict == ("unreliable" if failed else "agrees")
    gap = concluded(190, 60, evidence=evidence)
    assert gap.verdict == ("unreliable" if failed else "overestimated")  # the lower number is far from the truth, too
    assert ("may leave far less than 30.0 %" in gap.headline) == failed
    assert any(reason.startswith("this audit: ") for reason in gap.reasons) == failed


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("weights unchanged", "unreliable"), ("repeated calls", "unreliable"), ("input unchanged", "overestimated")],
)
def test_a_severe_check_decides_before_the_gap(name: str, verdict: str) -> None:
    found = concluded(94, 53, checks=(Check(name=name, result="failed", detail="it changed"),))
    assert found.verdict == verdict
    assert "it changed" in found.reasons
    passed = Check(name=name, result="passed", detail="fine")
    assert concluded(94, 53, checks=(passed,)).verdict == "overestimated"


def test_reasons_say_which_attack_found_the_gap_and_whether_the_search_has_ended() -> None:
    evidence = replace(NONE, found_by=("sa-pgd:rule=assg", 30), last=("apgd", 3))
    assert concluded(94, 53, evidence=evidence).reasons == [
        "of the 41 images that the paper's PGD misses, sa-pgd:rule=assg broke 30",
        "the last attack, apgd, still broke 3 images: more may break",
    ]
    assert len(concluded(94, 53, evidence=replace(evidence, last=("apgd", 2))).reasons) == 1


@pytest.mark.parametrize(
    ("preset", "evidence", "step"),
    [
        ("quick", NONE, "hiresnn audit mine --preset standard"),
        ("standard", replace(NONE, last=("apgd", 9)), "hiresnn audit mine --preset thorough"),
        ("thorough", replace(NONE, last=("apgd", 9)), "Add an attack"),
        ("thorough", NONE, "Publish card.json"),
    ],
)
def test_the_next_step_is_a_command_as_long_as_a_larger_preset_may_find_more(
    preset: str, evidence: Evidence, step: str
) -> None:
    assert concluded(94, 53, evidence=evidence, preset=preset).next_step.startswith(step)


def test_a_network_that_takes_no_rule_and_whose_attacks_fail_is_to_get_an_adapter_or_a_twin() -> None:
    blind = replace(NONE, without=(40, 40), own_only=True)
    assert concluded(190, 60, evidence=blind).next_step.startswith("Give the attacks a gradient, by an adapter")
    assert concluded(190, 190, evidence=replace(NONE, own_only=True)).next_step.startswith("Publish")


def test_a_network_that_takes_no_rule_has_that_as_a_reason_where_its_own_gradient_is_in_doubt() -> None:
    doubtful = OWN.model_copy(update={"verdict": "inconclusive", "reasons": ["jagged"]})
    values = {"preset": "standard", "command": "hiresnn audit mine"}
    pgd = share(190, 200)
    point = Point(bound="8/255", eps=8 / 255, fgsm=pgd, pgd=pgd, noise=pgd, worst=pgd)
    for own, only, told in ((doubtful, True, True), (doubtful, False, False), (OWN, True, False)):
        reasons = conclude(point, own, replace(NONE, own_only=only), (), **values).reasons
        assert any("no gradient rule could be tried" in reason for reason in reasons) == told
