"""The board: what counts, how it is ranked, and its page as text."""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hiresnn.app.audit import verify
from hiresnn.app.recipe import read
from hiresnn.app.train import training_cost
from hiresnn.app.zoo import SHELF
from hiresnn.audit.build_card import Evidence, conclude
from hiresnn.audit.card import Card, Randomness, Voted, share
from hiresnn.audit.run import read_archive
from hiresnn.errors import UsageError
from hiresnn.hub.pretrained import copy
from hiresnn.report.pages import Entry, board_page, grouped, read_entries

CARD = "audit/card.json"


def entry(card, name, worst, *, price=None, problem="", **changes):
    """An entry whose worst case at the headline is `worst`."""
    point = card.at(card.setting.headline)
    lower = point.model_copy(update={"worst": point.worst.model_copy(update={"percent": worst})})
    curve = [lower if each is point else each for each in card.curve]
    return Entry(name, Path(name), card.model_copy(update={"curve": curve, **changes}), price, problem)


def test_a_run_that_verifies_counts_and_has_the_price_of_its_recipe(tmp_path):
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
def test_a_card_that_contradicts_itself_or_its_images_does_not_count(change, message, tmp_path):
    copy("digits-hire", tmp_path / "mine")
    values = json.loads((tmp_path / "mine" / CARD).read_text())
    change(values)
    (tmp_path / "mine" / CARD).write_text(json.dumps(values))
    assert any(re.search(message, problem) for problem in verify(tmp_path / "mine" / CARD).problems)
    (found,) = read_entries([str(tmp_path / "mine")])
    assert found.problem


def stands(card, arrays, count, of):
    """Let all attacks leave `count` of `of` images, without contradiction."""
    card["data"]["images"] = of
    card["clean"] = share(count, of).model_dump()
    for point in card["curve"]:
        point.update(dict.fromkeys(("fgsm", "pgd", "noise", "worst"), card["clean"]))
    card["unbroken"] = sorted([*card["unbroken"], *arrays["index"].tolist()])
    card["unbroken"] += range(200, 200 + count - len(card["unbroken"]))
    arrays.update({name: rows[:0] for name, rows in arrays.items()})
    for row in card["attacks"]:
        row.update(broke={}, shown=3 * count)
    forged = Card.model_validate(card)
    concluded = conclude(forged.curve[-1], forged.screening.rules[0], Evidence.stated(forged), forged.checks,
                         preset="quick", command="")  # fmt: skip
    card["conclusion"] = concluded.model_dump()


def clean_raised(card, arrays):
    card["clean"] = share(200, 200).model_dump()


def raised_from_10_to_99(card, arrays):
    for point in card["curve"]:
        point["worst"] = card["clean"]
    arrays.update({name: rows[:0] for name, rows in arrays.items()})


def attack_changed(attack, count):
    return lambda card, arrays: card["curve"][-1].update({attack: share(count, 200).model_dump()})


def curve_cut(card, arrays):
    del card["curve"][:-1]


def settings_cut(card, arrays):
    curve_cut(card, arrays)
    card["setting"]["bounds"] = ["32/255"]


def invented_images(card, arrays):
    stands(card, arrays, 558, 560)


def images_of_the_data_set_that_were_not_attacked(card, arrays):
    stands(card, arrays, 353, 355)


def one_image_repeated(card, arrays):
    rows = arrays["index"][arrays["label"] == arrays["label"][0]]
    same = np.isin(arrays["index"], rows)
    for name in ("clean", "adversarial", "eps"):
        arrays[name][same] = arrays[name][same][0]


def data_renamed(name):
    return lambda card, arrays: card["data"].update(name=name)


def checks_removed(card, arrays):
    card["checks"] = []


def all_checks_failed(card, arrays):
    for check in card["checks"]:
        check["result"] = "failed"


def nothing_broken(card, arrays):
    stands(card, arrays, 198, 200)


def swapped(card, arrays):
    arrays["clean"], arrays["adversarial"] = arrays["adversarial"], arrays["clean"]


def labels_changed(card, arrays):
    arrays["label"] = (arrays["label"] + 1) % 10


def verdict_changed(card, arrays):
    card["conclusion"]["verdict"] = "agrees"


def called_random(card, arrays):
    card["subject"].update(random=True, draws=10)
    arrays["adversarial"][:20] = arrays["clean"][:20]


def most_images_dropped(card, arrays):
    """Nine in ten of the broken images stand after all, and every count says so."""
    kept, bounds = np.arange(len(arrays["index"])) % 10 == 0, [point["bound"] for point in card["curve"]]
    card["unbroken"] = sorted([*card["unbroken"], *arrays["index"][~kept].tolist()])
    arrays.update({name: rows[kept] for name, rows in arrays.items()})
    for point in card["curve"]:
        broken = int((arrays["eps"] <= (np.inf if point["eps"] is None else point["eps"])).sum())
        point["worst"] = share(card["clean"]["count"] - broken, 200).model_dump()
        point.update(dict.fromkeys(("fgsm", "pgd", "noise"), point["worst"]))
    for row in card["attacks"]:
        row["broke"] = {}
    for bound, eps in zip(bounds, (point["eps"] for point in card["curve"]), strict=True):
        first = int((arrays["eps"] == (np.inf if eps is None else eps)).sum())
        card["attacks"][0]["broke"] |= {bound: first} if first else {}
    forged = Card.model_validate(card)
    setting = {"preset": card["setting"]["preset"], "command": ""}
    concluded = conclude(forged.at(card["setting"]["headline"]), forged.screening.rules[0], Evidence.stated(forged),
                         forged.checks, **setting)  # fmt: skip
    card["conclusion"] = concluded.model_dump()


def gradients_left(counts, searched=()):
    """Say what attacks with gradients left at each bound, as the cards of this version do."""

    def forge(card, arrays):
        for point, count in zip(card["curve"], counts, strict=False):
            point["gradient"] = share(count, 200).model_dump()
        card["searched"] = [*searched]

    return forge


def part_changed(part, **values):
    return lambda card, arrays: card[part].update(values)


FORGERIES = {
    most_images_dropped: "that the attacks ran on the images that stand",
    part_changed("subject", timesteps=2): "the card says timesteps = 2 of its network",
    part_changed("subject", fingerprint="0" * 64): "the network's weights are not those that the card names",
    part_changed("data", size=[1, 16, 16]): "the card says image size = [1, 16, 16]",
    part_changed("data", classes=["0", "1"]): "the card says output classes = 2",
    part_changed("setting", preset="thorough"): "that the attacks ran on the images that stand",
    part_changed("conclusion", headline="Report at most 99.0 %."): "the headline of the card is",
    part_changed(
        "conclusion", reasons=["PGD was confirmed."]
    ): "the card leaves out a reason: own gradient, inconclusive",
    gradients_left([198, 190]): "what attacks with gradients leave is missing at a bound",
    gradients_left([198, 0, 0, 0, 0]): "no number from the worst case to clean",
    gradients_left(
        [198] * 5
    ): "the verdict of the card is 'overestimated', but its counts and checks give 'unreliable'",
    gradients_left([198] * 5, range(3)): "3 images fell only to attacks without gradients, it says, not ",
    clean_raised: "the network classifies 198 of 200 correctly, the card says 200",
    raised_from_10_to_99: "broke 18 images first at 8/255, but 0 are stored",
    attack_changed("pgd", 31): "the verdict of the card is 'overestimated'",
    attack_changed("pgd", 190): "the attack pgd can leave 31 to 161 images, the card says 190",
    attack_changed("fgsm", 150): "the counts of FGSM",
    curve_cut: "the points of the curve are not",
    settings_cut: "the points of the curve are not",
    invented_images: "the card names 560 images, but the data set gives 355",
    images_of_the_data_set_that_were_not_attacked: "correctly, the card says 353",
    one_image_repeated: "are not those of the data set at their positions",
    data_renamed("mnist"): "the data set mnist of the card: it is not on this machine",
    data_renamed("letters"): "the data set letters of the card: the recipe names another one, digits",
    checks_removed: "the card lacks the checks",
    all_checks_failed: "Report no number",
    nothing_broken: "that the attacks ran on the images that stand",
    swapped: "are not those of the data set at their positions",
    labels_changed: "do not have their label of the data set",
    verdict_changed: "its counts and checks give 'overestimated'",
    called_random: "the card says random = True of its network",
}
UNCONFIRMED = ("the counts of FGSM", "that the attacks ran", "the data set letters")


@pytest.mark.parametrize(("forge", "message"), FORGERIES.items(), ids=[str(number) for number in range(len(FORGERIES))])
def test_a_forged_card_or_archive_is_refused_or_said_not_to_be_checked(forge, message, tmp_path, monkeypatch):
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "cache"))  # without downloads
    copy("digits-hire", tmp_path / "mine")
    path, archive = tmp_path / "mine" / CARD, tmp_path / "mine" / "audit" / "adversarial.npz"
    values, arrays = json.loads(path.read_text()), read_archive(archive)
    forge(values, arrays)
    path.write_text(json.dumps(values))
    np.savez(archive, **arrays)
    found = verify(path)
    assert any(message in text for text in (found.unchecked if message.startswith(UNCONFIRMED) else found.problems))
    assert not message.startswith("the data set") or not found.complete
    (entry,) = read_entries([str(tmp_path / "mine")])
    assert bool(entry.problem) == bool(found.problems) == (not message.startswith(UNCONFIRMED))
    assert entry.unchecked == found.unchecked


def test_an_audit_of_another_network_without_images_or_with_a_damaged_card_does_not_count(tmp_path):
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


def as_function(folder):
    """Make the copied run in `folder` an audit of a Python function; returns its card."""
    values = json.loads((folder / CARD).read_text())
    values["subject"]["kind"], values["setting"]["target"] = "function", "mine.py:network"
    (folder / CARD).write_text(json.dumps(values))
    (folder / "recipe.toml").unlink()
    return folder / CARD


def test_a_card_never_makes_code_run_but_the_user_may(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy("digits-hire", tmp_path / "mine")
    card = as_function(tmp_path / "mine")
    code = "from hiresnn import from_pretrained\n\ndef network():\n    return from_pretrained('digits-hire')\n"
    (tmp_path / "mine.py").write_text(code)
    (found,) = read_entries([str(card)])
    assert "may not choose the code" in found.problem
    (found,) = read_entries([f"mine.py:network={card}"])
    assert (found.problem, found.price) == ("", None)


def test_what_is_no_card_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"has no card\.json; name a card\.json"):
        read_entries([str(tmp_path)])
    for argument in ("nowhere.json", "a.py:b=nowhere.json"):
        with pytest.raises(UsageError, match=r"nowhere\.json has no card\.json"):
            read_entries([argument])


def test_an_equals_sign_may_be_in_a_path_and_a_card_keeps_the_network_that_was_named_for_it(tmp_path):
    run = tmp_path / "lr=0.1"
    copy("digits-hire", run)
    card = run / "audit" / "card.json"
    (found,) = read_entries([str(card), f"{run}={card}", str(run)])
    assert (found.path, found.problem) == (card.resolve(), "")


def test_equal_names_get_as_much_of_their_path_as_they_need(tmp_path):
    for name in ("a/mine", "b/mine"):
        (tmp_path / name).parent.mkdir()
        copy("digits-hire", tmp_path / name)
    names = [found.name for found in read_entries([str(tmp_path / "a" / "mine"), str(tmp_path / "b" / "mine")])]
    assert names == ["a/mine", "b/mine"]
    other = tmp_path / "a" / "mine" / "audit" / "card-2.json"
    other.write_text("{}")
    found = read_entries([str(tmp_path / "a" / "mine"), str(other)])
    assert [each.name for each in found] == ["card", "card-2"]


def test_entries_are_compared_on_the_same_data_at_the_same_bound(card):
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


def test_audits_that_differ_are_said_to(card):
    quick = card.setting.model_copy(update={"preset": "quick"})
    groups, _ = grouped([entry(card, "a", 1.0), entry(card, "b", 2.0, setting=quick)])
    assert groups[0].uneven == ["presets"]
    assert "differ in presets" in board_page([entry(card, "a", 1.0), entry(card, "b", 2.0, setting=quick)])


def test_the_page_ranks_by_worst_case_and_lists_the_unverified(card, tables):
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


def test_a_network_that_draws_random_numbers_is_ranked_by_its_majority_vote(card, tables):
    vote = share(45, 90)
    voted = Voted(vote=vote, mean=48.0, spread=1.0)
    random = Randomness(votes=100, clean=voted, attacked=voted, tried=[], tolerance=1.0, needed=16, used=16)
    page = board_page([entry(card, "steady", 20.0), entry(card, "random", 8.0, random=random)])
    (ranked,) = tables(page).values()
    assert [row[0].split()[0] for row in ranked[1:]] == ["random", "steady"]
    assert ranked[1][1].startswith("50.0")
    assert ranked[1][1].endswith("majority vote")
    assert "majority" not in ranked[2][1]


def test_only_the_one_script_may_run(card):
    page = board_page([entry(card, "<script>alert(1)</script>", 8.0)])
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; " in page
    assert "alert" not in script


def test_a_board_needs_an_entry_and_says_when_none_counts(card):
    with pytest.raises(UsageError, match="at least one"):
        board_page([])
    assert "No network counts" in board_page([entry(card, "a", 1.0, problem="no")])


def test_data_sets_of_one_name_with_other_images_or_classes_are_not_ranked_together():
    card = Card.model_validate_json((SHELF / "digits-hire" / CARD).read_bytes())
    other = card.model_copy(
        update={"data": card.data.model_copy(update={"classes": ["cat", "dog"], "size": [3, 32, 32]})}
    )
    groups, _ = grouped([entry(card, "a", 50.0), entry(other, "b", 90.0)])
    assert sorted([each.name for each in group.entries] for group in groups) == [["a"], ["b"]]
    assert {group.data for group in groups} >= {"digits (3x32x32, cat, dog, test)"}
    assert groups[0].key != groups[1].key


def test_a_card_in_a_run_of_the_users_code_executes_nothing(tmp_path):
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
