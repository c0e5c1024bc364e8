"""The card as JSON reads back as it was written and refuses what it does not know; its intervals."""

import json
from math import sqrt
from pathlib import Path
from typing import Any, get_args

import pytest

from hiresnn.audit.card import (
    AttackRow,
    Budget,
    Card,
    Cell,
    Check,
    Conclusion,
    GradientVerdict,
    Images,
    Layer,
    Picture,
    Point,
    Question,
    RuleReport,
    Screening,
    Setting,
    Share,
    Subject,
    Verdict,
    read_card,
    share,
)
from hiresnn.errors import RunError

SHARE = Share(count=1, of=4, percent=25.0, low=4.56, high=69.94)


@pytest.fixture
def card() -> Card:
    """One of every part."""
    return Card(
        hiresnn="0.1",
        date="2026-11-24T18:00:00+00:00",
        subject=Subject(
            name="mine", kind="function", architecture="Net", library="snntorch", method=None, timesteps=None,
            neurons=2, random=True, draws=10, rounds=False, fingerprint=None,
        ),
        data=Images(name="digits", split="test", images=4, classes=["0", "1"], size=[1, 8, 8]),
        setting=Setting(
            preset="quick", seed=3, bounds=["0", "8/255", "inf"], headline="8/255", batch_size=200, twins=[],
            attacks=["apgd"], command="hiresnn audit mine.py:net",
        ),
        environment={"python": "3.11", "packages": {"numpy": "2"}, "git": None},
        clean=SHARE,
        curve=[
            Point(bound=bound, eps=eps, fgsm=SHARE, pgd=SHARE, noise=SHARE, worst=SHARE)
            for bound, eps in (("0", 0.0), ("8/255", 8 / 255), ("inf", None))
        ],
        unbroken=[2],
        attacks=[
            AttackRow(
                label="fgsm", attack="fgsm", rule=None, loss=None, shown=8, broke={"8/255": 1}, forward=16,
                backward=8, seconds=0.25,
            )
        ],
        screening=Screening(
            bound="8/255",
            images=4,
            cells=[Cell(attack="FGSM", rule="own", standing=SHARE)],
            rules=[
                RuleReport(
                    rule="own", zero_gradients=0.0, zero_pixels=0.5, unstable=0.1, silent=0.0, rising=0.25,
                    unbounded=0.0, questions=[Question(name="?", yes=True, evidence="seen")],
                    verdict="inconclusive", reasons=["few"],
                )
            ],
            selected=["own"],
            dropped=[],
        ),
        checks=[Check(name="finite logits", result="passed", detail="all logits were finite")],
        conclusion=Conclusion(verdict="agrees", headline="So.", reasons=[], next_step="Next.", own="consistent"),
        activity=[Layer(name="1", neurons=384, clean=0.25, attacked=0.5)],
        gallery=[
            Picture(
                index=1, label="0", predicted="1", bound="8/255", attack="fgsm", amplified=15.94, clean="aa",
                adversarial="bb", difference="cc",
            )
        ],
        budget=Budget(forward=100, backward=50, seconds=1 / 3),
    )  # fmt: skip


def test_a_card_reads_back_as_it_was_written(card: Card) -> None:
    text = card.model_dump_json(indent=2)
    assert Card.model_validate_json(text) == card
    assert Card.model_validate_json(text).budget.seconds == 1 / 3
    assert json.loads(text)["curve"][2]["eps"] is None
    assert json.loads(text)["schema_version"] == 2
    assert Card.model_validate_json(text).at("8/255") == card.curve[1]


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        (None, "schema_version", 1),  # of version 0.1
        (None, "schema_version", "2"),
        (None, "extra", 1),
        ("clean", "extra", 1),
        ("clean", "count", -1),
        ("clean", "percent", float("nan")),
        ("clean", "low", -5),
        ("clean", "high", 101),
        ("conclusion", "own", "fine"),
        ("setting", "headline", "9/255"),  # not on the curve
        (None, "curve", []),
    ],
)
def test_a_file_that_is_no_card_is_refused_in_a_sentence(
    card: Card, tmp_path: Path, part: str | None, field: str, value: Any
) -> None:
    values = card.model_dump()
    (values[part] if part else values)[field] = value
    (tmp_path / "card.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"card\.json is damaged .*name a card\.json of hiresnn audit"):
        read_card(tmp_path / "card.json")


def test_a_verdict_is_one_of_three() -> None:
    assert get_args(GradientVerdict) == ("consistent", "inconclusive", "masked gradients likely")
    assert get_args(Verdict) == ("agrees", "overestimated", "unreliable")


def test_the_schema_in_the_documentation_is_that_of_the_card() -> None:
    documented = Path(__file__).parents[2] / "docs" / "card.schema.json"
    assert documented.read_text(encoding="utf-8") == json.dumps(Card.model_json_schema(), indent=2) + "\n"


SHIPPED = sorted((Path(__file__).parents[2] / "results").glob("audit-*.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_cards_can_be_read(path: Path) -> None:
    assert Card.model_validate_json(path.read_bytes()).conclusion.headline


def wilson(count: int, of: int) -> tuple[float, float]:
    """(p + z^2/2n -+ z sqrt(pq/n + z^2/4n^2)) / (1 + z^2/n), z of 95 %, in percent."""
    z, p = 1.959963984540054, count / of
    middle, half = p + z * z / (2 * of), z * sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    scale = 100 / (1 + z * z / of)
    return scale * (middle - half), scale * (middle + half)


@pytest.mark.parametrize(("count", "of"), [(5, 10), (0, 10), (10, 10), (1, 200), (137, 200), (999, 1000), (1, 1)])
def test_a_share_has_the_wilson_interval(count: int, of: int) -> None:
    found = share(count, of)
    low, high = wilson(count, of)
    assert (found.count, found.of) == (count, of)
    assert found.percent == pytest.approx(100 * count / of, abs=0.005)
    assert found.low == pytest.approx(low, abs=0.0051)
    assert found.high == pytest.approx(high, abs=0.0051)


def test_an_interval_worked_out_by_hand_and_that_of_no_images() -> None:
    # (0.5 + 0.19207 -+ 1.95996 * sqrt(0.025 + 0.0096036)) / 1.38415 = 0.2366 and 0.7634
    found = share(5, 10)
    assert (found.low, found.high) == (23.66, 76.34)
    found = share(0, 0)
    assert (found.count, found.of, found.percent, found.low, found.high) == (0, 0, 0.0, 0.0, 100.0)
