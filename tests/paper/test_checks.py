"""The rules of Table 4 on accuracies that are given: each passes, and fails, where it says so."""

from dataclasses import replace

import pytest

from hiresnn.paper.checks import CHECKS, KEYS, RULES, Accuracies, judge
from hiresnn.paper.claims import claims

HEALTHY = Accuracies(
    clean=80.0,
    white={"fgsm": 30.0, "pgd": 10.0},
    black={"same-ann": {"fgsm": 33.0, "pgd": 12.0}, "independent": {"fgsm": 50.0, "pgd": 40.0}},
    bounds=[("2/255", 55.0), ("8/255", 10.0), ("32/255", 0.0)],
    unbounded=0.0,
    random=75.0,
)


def failing(**changes: object) -> list[str]:
    judged = judge(replace(HEALTHY, **changes))  # type: ignore[arg-type]
    return [key for key, one in zip(KEYS, judged, strict=True) if not one.passed]


def test_a_healthy_network_passes_all_five() -> None:
    assert failing() == []
    assert len(CHECKS) == len(RULES) == len(KEYS) == 5
    assert tuple(claims().table4) == KEYS


def test_one_step_fails_where_pgd_leaves_as_much_as_fgsm() -> None:
    assert failing(white={"fgsm": 10.0, "pgd": 10.0}) == ["one_step"]


@pytest.mark.parametrize("twin", ["same-ann", "independent"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_black_box_fails_where_a_twins_images_leave_less(twin: str, attack: str) -> None:
    weaker = {kind: dict(left) for kind, left in HEALTHY.black.items()}
    weaker[twin][attack] = HEALTHY.white[attack] - 1
    assert failing(black=weaker) == ["black_box"]


def test_black_box_passes_where_nothing_is_left_on_either_side() -> None:
    nothing = {"fgsm": 30.0, "pgd": 0.0}
    assert failing(white=nothing, black={"same-ann": nothing, "independent": nothing}) == []


@pytest.mark.parametrize(
    ("bounds", "fails"),
    [
        ([55.0, 10.0, 11.0], []),  # a point more is slack
        ([55.0, 10.0, 11.5], ["bound"]),
        ([79.5, 78.6, 79.4], []),  # 0.8 more than the smallest, and less than clean
        ([80.0, 80.0, 80.0], ["bound"]),  # no bound helps
        ([10.0, 10.9, 11.7], ["bound"]),  # small steps up add up: 1.7 above the lowest
    ],
)
def test_bound_fails_where_a_larger_one_leaves_more(bounds: list[float], fails: list[str]) -> None:
    labels = ("2/255", "8/255", "32/255")
    assert failing(bounds=list(zip(labels, bounds, strict=True))) == fails


def test_unbounded_fails_above_one_percent() -> None:
    assert failing(unbounded=1.0) == []
    assert failing(unbounded=1.1) == ["unbounded"]


def test_sampling_fails_where_random_draws_leave_no_more_than_pgd() -> None:
    assert failing(random=10.1) == []
    assert failing(random=10.0) == ["sampling"]


def test_evidence_holds_the_numbers_that_decided() -> None:
    one_step, black_box, bound, unbounded, sampling = judge(HEALTHY)
    assert one_step.evidence == "FGSM leaves 30.0 %, PGD 10.0 %"
    assert "PGD leaves 10.0 % made on itself, 12.0 % made on the same-ann twin" in black_box.evidence
    assert bound.evidence == "PGD leaves 80.0 % at 0, 55.0 % at 2/255, 10.0 % at 8/255, 0.0 % at 32/255"
    assert unbounded.evidence == "PGD without a bound leaves 0.0 %"
    assert sampling.evidence == "random draws leave 75.0 %, PGD 10.0 %"
