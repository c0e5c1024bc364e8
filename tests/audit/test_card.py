"""The card as JSON: it reads back as it was written, and refuses what it does not know."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

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
)

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


def test_a_card_says_the_version_of_its_schema(card: Card) -> None:
    assert json.loads(card.model_dump_json())["schema_version"] == 2


@pytest.mark.parametrize("version", [0, 3, "2"])
def test_a_card_of_another_schema_is_refused(card: Card, version: Any) -> None:
    with pytest.raises(ValidationError, match="schema_version"):
        Card.model_validate({**card.model_dump(), "schema_version": version})


def test_an_unknown_field_is_refused_in_the_card_and_in_its_parts(card: Card) -> None:
    values = card.model_dump()
    with pytest.raises(ValidationError, match="extra"):
        Card.model_validate({**values, "extra": 1})
    with pytest.raises(ValidationError, match=r"clean\.extra"):
        Card.model_validate({**values, "clean": {**values["clean"], "extra": 1}})


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", -1), ("of", -1), ("percent", None)],
)
def test_a_share_of_what_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        Share.model_validate({**SHARE.model_dump(), field: value})


def test_a_verdict_is_one_of_three_words(card: Card) -> None:
    assert get_args(GradientVerdict) == ("consistent", "inconclusive", "masked gradients likely")
    assert get_args(Verdict) == ("agrees", "overestimated", "unreliable")
    values = card.model_dump()
    values["conclusion"]["own"] = "fine"
    with pytest.raises(ValidationError, match=r"conclusion\.own"):
        Card.model_validate(values)


def test_a_card_does_not_change(card: Card) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        card.clean = SHARE


def test_a_point_is_found_by_its_bound(card: Card) -> None:
    assert card.at("8/255") is card.curve[1]
    with pytest.raises(StopIteration):
        card.at("9/255")


def test_the_schema_describes_the_card() -> None:
    schema = Card.model_json_schema()
    assert schema["properties"]["schema_version"]["const"] == 2
    assert set(schema["properties"]) == set(Card.model_fields)
    assert schema["additionalProperties"] is False


def test_the_schema_in_the_documentation_is_that_of_the_card() -> None:
    documented = Path(__file__).parents[2] / "docs" / "card.schema.json"
    assert documented.read_text(encoding="utf-8") == json.dumps(Card.model_json_schema(), indent=2) + "\n"


SHIPPED = sorted((Path(__file__).parents[2] / "results").glob("audit-*.json"))


def version_1(card: Card) -> dict[str, Any]:
    """The card as version 1 wrote it."""
    values = card.model_dump(exclude={"checks", "screening", "conclusion"})
    screening = card.screening.model_dump(exclude={"selected"})
    for rule in screening["rules"]:
        rule["surrogate_only"] = None
    values["setting"].pop("target")
    conclusion = {
        "own": "inconclusive", "own_reasons": ["few images"], "audit": "consistent", "audit_reasons": ["none"],
        "sentence": "So.",
    }  # fmt: skip
    return {
        **values, "schema_version": 1, "scouting": {**screening, "kept": ["own"]}, "conclusion": conclusion,
    }  # fmt: skip


def test_a_card_of_version_1_is_read_and_judged_by_the_gap(card: Card) -> None:
    read = Card.model_validate_json(json.dumps(version_1(card)))
    assert (read.schema_version, read.checks, read.screening.selected) == (2, [], ["own"])
    assert (read.conclusion.verdict, read.conclusion.own) == ("agrees", "inconclusive")
    assert "Report at most 25.0 %" in read.conclusion.headline
    assert read.conclusion.reasons == ["few images", "none"]
    assert card.setting.command in read.conclusion.next_step


@pytest.mark.parametrize("part", ["scouting", "conclusion", "curve", "setting"])
def test_a_damaged_card_of_version_1_is_refused(card: Card, part: str) -> None:
    values = version_1(card)
    values[part] = []
    with pytest.raises(ValidationError, match="damaged card of schema version 1"):
        Card.model_validate(values)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_cards_can_be_read(path: Path) -> None:
    assert Card.model_validate_json(path.read_bytes()).conclusion.headline
