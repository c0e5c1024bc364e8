"""The card as JSON reads back as it was written and refuses what it does not know; its intervals."""

import json
from math import sqrt
from pathlib import Path

import pytest

from hiresnn.audit.card import Card, read_card, share
from hiresnn.errors import RunError

SHIPPED = sorted((Path(__file__).parents[2] / "results").glob("audit-*.json"))


@pytest.fixture
def card():
    return read_card(SHIPPED[0])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_card_reads_back_as_it_was_written(path):
    card = Card.model_validate_json(path.read_bytes())
    text = card.model_dump_json(indent=2, exclude_unset=True)  # a card of 0.2 lacks fields that are new
    assert Card.model_validate_json(text) == card
    new = {"searched", "gradient"}  # fields that cards of version 0.2 lack, with their defaults
    stored = json.loads(text, object_hook=lambda part: {key: part[key] for key in part if key not in new or part[key]})
    assert stored == json.loads(path.read_text())
    assert card.at(card.curve[1].bound) == card.curve[1]


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
def test_a_file_that_is_no_card_is_refused_in_a_sentence(card, tmp_path, part, field, value):
    values = card.model_dump()
    (values[part] if part else values)[field] = value
    (tmp_path / "card.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"card\.json is damaged .*name a card\.json of hiresnn audit"):
        read_card(tmp_path / "card.json")


def test_the_schema_in_the_documentation_is_that_of_the_card():
    documented = Path(__file__).parents[2] / "docs" / "card.schema.json"
    assert documented.read_text(encoding="utf-8") == json.dumps(Card.model_json_schema(), indent=2) + "\n"


def wilson(count, of):
    """(p + z^2/2n -+ z sqrt(pq/n + z^2/4n^2)) / (1 + z^2/n), z of 95 %, in percent."""
    z, p = 1.959963984540054, count / of
    middle, half = p + z * z / (2 * of), z * sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    scale = 100 / (1 + z * z / of)
    return scale * (middle - half), scale * (middle + half)


@pytest.mark.parametrize(("count", "of"), [(5, 10), (0, 10), (10, 10), (1, 200), (137, 200), (999, 1000), (1, 1)])
def test_a_share_has_the_wilson_interval(count, of):
    found = share(count, of)
    low, high = wilson(count, of)
    assert (found.count, found.of) == (count, of)
    assert found.percent == pytest.approx(100 * count / of, abs=0.005)
    assert found.low == pytest.approx(low, abs=0.0051)
    assert found.high == pytest.approx(high, abs=0.0051)


def test_an_interval_worked_out_by_hand_and_that_of_no_images():
    # (0.5 + 0.19207 -+ 1.95996 * sqrt(0.025 + 0.0096036)) / 1.38415 = 0.2366 and 0.7634
    found = share(5, 10)
    assert (found.low, found.high) == (23.66, 76.34)
    found = share(0, 0)
    assert (found.count, found.of, found.percent, found.low, found.high) == (0, 0, 0.0, 0.0, 100.0)


def test_a_card_prints_its_name_and_numbers(card):
    first = card.curve[1]
    assert repr(card) == str(card)
    worst = f"worst case {first.worst.percent:.1f} % at {first.bound}, "
    assert repr(card).startswith(f"Card({card.subject.name}: clean {card.clean.percent:.1f} %, {worst}")
