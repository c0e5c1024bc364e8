"""The board: what counts, how it is ranked, and its page as text."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hiresnn.app.audit import verify
from hiresnn.app.recipe import read
from hiresnn.app.train import training_cost
from hiresnn.audit.card import Card
from hiresnn.errors import UsageError
from hiresnn.hub.pretrained import SHELF, copy
from hiresnn.report.board import Entry, board_page, grouped, read_entries

CARD = "audit/card.json"


def entry(card: Card, name: str, worst: float, *, price: float | None = None, problem: str = "", **changes) -> Entry:
    """An entry whose worst case at the headline is `worst`."""
    point = card.at(card.setting.headline)
    lower = point.model_copy(update={"worst": point.worst.model_copy(update={"percent": worst})})
    curve = [lower if each is point else each for each in card.curve]
    return Entry(name, Path(name), card.model_copy(update={"curve": curve, **changes}), price, problem)


def test_a_run_that_verifies_counts_and_has_the_price_of_its_recipe(tmp_path: Path) -> None:
    copy("digits-hire", tmp_path / "mine")
    (found,) = read_entries([str(tmp_path / "mine")])
    assert (found.name, found.problem) == ("mine", "")
    assert found.price == training_cost(read("digits"))
    for argument in (tmp_path / "mine" / "audit", tmp_path / "mine" / CARD):
        assert read_entries([str(argument)]) == [found]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card["curve"][-1]["worst"].update(count=99), r"the images leave \d+ standing, the card says 99"),
        (lambda card: card["curve"][-1]["worst"].update(percent=97.0), r"worst: the card says 97 % .*, but \d+ of 200"),
        (lambda card: card["curve"][-1]["pgd"].update(of=31), r"pgd: the card counts \d+ of 31 images, but 200 were"),
        (lambda card: card["curve"][1].update(bound="64/255"), "the card gives the bound 64/255 as eps = "),
        (lambda card: card["clean"].update(high=100.0), "clean: the card says"),
    ],
    ids=["count", "percent", "total", "bound", "clean"],
)
def test_a_card_that_contradicts_itself_or_its_images_does_not_count(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    copy("digits-hire", tmp_path / "mine")
    values = json.loads((tmp_path / "mine" / CARD).read_text())
    change(values)
    (tmp_path / "mine" / CARD).write_text(json.dumps(values))
    assert any(re.search(message, problem) for problem in verify(tmp_path / "mine" / CARD).problems)
    (found,) = read_entries([str(tmp_path / "mine")])
    assert found.problem


def test_an_audit_of_another_network_without_images_or_with_a_damaged_card_does_not_count(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        copy("digits-hire", tmp_path / name)
    other = SHELF / "digits-traditional" / "model.safetensors"
    (tmp_path / "a" / "model.safetensors").write_bytes(other.read_bytes())
    (tmp_path / "b" / "audit" / "adversarial.npz").unlink()
    (tmp_path / "c" / CARD).write_text("{}")
    first, second, third = read_entries([str(tmp_path / name) for name in ("a", "b", "c")])
    assert "more)" in first.problem
    assert "no adversarial images" in second.problem
    assert "card.json is damaged" in third.problem
    assert third.card is None


def as_function(folder: Path) -> Path:
    """Make the copied run in `folder` an audit of a Python function; returns its card."""
    values = json.loads((folder / CARD).read_text())
    values["subject"]["kind"], values["setting"]["target"] = "function", "mine.py:network"
    (folder / CARD).write_text(json.dumps(values))
    (folder / "recipe.toml").unlink()
    return folder / CARD


def test_a_card_never_makes_code_run_but_the_user_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy("digits-hire", tmp_path / "mine")
    card = as_function(tmp_path / "mine")
    code = "from hiresnn import from_pretrained\n\ndef network():\n    return from_pretrained('digits-hire')\n"
    (tmp_path / "mine.py").write_text(code)
    (found,) = read_entries([str(card)])
    assert "may not choose the code" in found.problem
    (found,) = read_entries([f"mine.py:network={card}"])
    assert (found.problem, found.price) == ("", None)


def test_what_is_no_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no card\.json; name a card\.json"):
        read_entries([str(tmp_path)])
    for argument in ("nowhere.json", "a.py:b=nowhere.json"):
        with pytest.raises(UsageError, match=r"nowhere\.json has no card\.json"):
            read_entries([argument])


def test_an_equals_sign_may_be_in_a_path_and_a_card_keeps_the_network_that_was_named_for_it(tmp_path: Path) -> None:
    run = tmp_path / "lr=0.1"
    copy("digits-hire", run)
    card = run / "audit" / "card.json"
    (found,) = read_entries([str(card), f"{run}={card}", str(run)])
    assert (found.path, found.problem) == (card.resolve(), "")


def test_equal_names_get_as_much_of_their_path_as_they_need(tmp_path: Path) -> None:
    for name in ("a/mine", "b/mine"):
        (tmp_path / name).parent.mkdir()
        copy("digits-hire", tmp_path / name)
    names = [found.name for found in read_entries([str(tmp_path / "a" / "mine"), str(tmp_path / "b" / "mine")])]
    assert names == ["a/mine", "b/mine"]
    other = tmp_path / "a" / "mine" / "audit" / "card-2.json"
    other.write_text("{}")
    found = read_entries([str(tmp_path / "a" / "mine"), str(other)])
    assert [each.name for each in found] == ["card", "card-2"]


def test_entries_are_compared_on_the_same_data_at_the_same_bound(card: Card) -> None:
    elsewhere = card.data.model_copy(update={"name": "letters"})
    entries = [
        entry(card, "low", 8.0), entry(card, "high", 20.0), entry(card, "other", 90.0, data=elsewhere),
        entry(card, "refused", 99.0, problem="it is wrong"),
    ]  # fmt: skip
    groups, others = grouped(entries)
    assert [(group.data, [each.name for each in group.entries]) for group in groups] == [
        ("digits", ["high", "low"]),
        ("letters", ["other"]),
    ]
    assert [each.name for each in others] == ["refused"]


def test_audits_that_differ_are_said_to(card: Card) -> None:
    quick = card.setting.model_copy(update={"preset": "quick"})
    groups, _ = grouped([entry(card, "a", 1.0), entry(card, "b", 2.0, setting=quick)])
    assert groups[0].uneven == ["presets"]
    assert "differ in presets" in board_page([entry(card, "a", 1.0), entry(card, "b", 2.0, setting=quick)])


def test_the_page_ranks_by_worst_case_and_lists_the_unverified(
    card: Card, tables: Callable[[str], dict[str, list[list[str]]]]
) -> None:
    entries = [
        entry(card, "low", 8.0, price=270.0), entry(card, "high", 20.0),
        entry(card, "refused", 99.0, problem="<b>no</b>"),
    ]  # fmt: skip
    page = board_page(entries)
    ranked, refused = tables(page).values()
    assert [row[0].split()[0] for row in ranked[1:]] == ["high", "low"]
    assert [row[1].split()[0] for row in ranked[1:]] == ["20.0", "8.0"]
    assert [row[5] for row in ranked[1:]] == ["–", "270"]
    assert refused[1:] == [["refused", "<b>no</b>"]]
    assert page.count('<svg class="chart') == 2


def test_only_the_one_script_may_run(card: Card) -> None:
    page = board_page([entry(card, "<script>alert(1)</script>", 8.0)])
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; " in page
    assert "alert" not in script


def test_a_board_needs_an_entry_and_says_when_none_counts(card: Card) -> None:
    with pytest.raises(UsageError, match="at least one"):
        board_page([])
    assert "No network counts" in board_page([entry(card, "a", 1.0, problem="no")])


def test_data_sets_of_one_name_with_other_images_or_classes_are_not_ranked_together() -> None:
    card = Card.model_validate_json((SHELF / "digits-hire" / CARD).read_bytes())
    other = card.model_copy(
        update={"data": card.data.model_copy(update={"classes": ["cat", "dog"], "size": [3, 32, 32]})}
    )
    groups, _ = grouped([entry(card, "a", 50.0), entry(other, "b", 90.0)])
    assert sorted([each.name for each in group.entries] for group in groups) == [["a"], ["b"]]
    assert {group.data for group in groups} >= {"digits (3x32x32, cat, dog, test)"}
    assert groups[0].key != groups[1].key


def test_a_card_in_a_run_of_the_users_code_executes_nothing(tmp_path: Path) -> None:
    copy("digits-hire", tmp_path / "evil")
    mark = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w')\ndef network():\n    pass\n")
    recipe = tmp_path / "evil" / "recipe.toml"
    text = recipe.read_text().replace('name = "vgg5"', f'source = "{tmp_path / "evil.py"}:network"')
    assert "evil.py" in text
    recipe.write_text(text)
    (found,) = read_entries([str(tmp_path / "evil")])
    assert found.problem
    assert not mark.exists()
