"""Pages as text: they are complete, they load nothing, and markup in their data is escaped."""

import html
import re

import pytest

from hiresnn.audit.card import NO_DOUBT, OWN_ALONE, Card, Cell, Corruptions, Screening, share
from hiresnn.errors import RunError, UsageError
from hiresnn.report import pages, words
from hiresnn.report.pages import audit_page, page_of, read_runs, runs_page


@pytest.fixture(scope="module")
def page(card):
    return audit_page(card)


def text_of(page):
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<wbr>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def numbers_of(value, place=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers_of(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from numbers_of(inner, f"{place}[{number}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, value


def test_every_number_of_the_card_is_on_the_page(page, card):
    words = set(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text_of(page)))
    forms = ("{:,}", "{:,.1f}", "{:.2f}", "{:.3f}", "{:g}")
    # eps is what the bound's label says; the budget's seconds are written as minutes.
    skipped = re.compile(r"\.eps$|^\.budget\.seconds")
    missing = [
        (place, value)
        for place, value in numbers_of(card.model_dump())
        if not skipped.search(place) and not words & {form.format(value) for form in forms}
    ]
    assert missing == []
    assert "12 min 34 s" in text_of(page)


def test_every_text_of_the_card_is_on_the_page(page, card):
    def texts(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key not in ("clean", "adversarial", "difference") or not isinstance(inner, str):
                    yield from texts(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from texts(inner)
        elif isinstance(value, str):
            yield value

    found = text_of(page)
    values = [text for text in texts(card.model_dump()) if text != "none"]  # the rule of an attack without one
    assert [text for text in values if " ".join(text.split()) not in found] == []


def test_the_curve_has_one_row_per_bound(page, tables):
    rows = tables(page)["Accuracy by bound, in percent, with 95 % intervals and counts"]
    names = "bound | worst case | the paper's PGD | the paper's FGSM | random noise | gap, points"
    assert " | ".join(rows[0]) == names
    shares = "8.5 5.4–13.2 17 of 200 | 41.0 34.4–47.9 82 of 200 | 55.0 48.1–61.7 110 of 200 | 96.0 92.3–98.0 192 of 200"
    assert " | ".join(rows[6]) == f"8/255 headline | {shares} | +32.5"
    bounds = "0 | 0.5/255 | 1/255 | 2/255 | 4/255 | 8/255 headline | 16/255 | 64/255 | no bound"
    assert " | ".join(row[0] for row in rows[1:]) == bounds


def test_attacks_are_in_order_with_their_cost_before_the_bounds(page, tables, card):
    rows = tables(page)["Images that each attack was the first to break, by bound, and its cost"]
    assert rows[0][:4] == ["attack", "images", "cost", "0.5/255"]
    assert [row[0].split(" apgd:")[0].split(" cross")[0] for row in rows[1:3]] == [
        "the paper's FGSM fgsm",
        "the paper's PGD pgd",
    ]
    assert len(rows) == 1 + len(card.attacks)
    cost = "3.1 s 40,321 forward 20,160 backward"
    assert (
        " | ".join(rows[1])
        == f"the paper's FGSM fgsm cross-entropy | 1,600 | {cost} | 2 | 6 | 17 | 35 | 65 | 27 | 9 | 7"
    )
    square = next(row for row in rows if row[0].startswith("Square"))
    # From 0.5/255 on; an attack that breaks no image has a dash.
    assert square[3:8] == ["–", "–", "–", "1", "3"]


def test_rules_show_indicators_verdict_and_answers_in_words(page, tables):
    found = tables(page)
    verdict = "masked gradients likely gradients are zero on many images"
    indicators = " | ".join(found["Indicators by rule, 0 to 1"][3])
    assert indicators == f"pdsg | 0.05 | 0.12 | 0.18 | 0.06 | 0.79 | 0.05 | {verdict}"
    assert found["Answers and evidence, by rule"][3][:2] == ["pdsg", "yes 42.0 % against 12.2 %"]
    assert found["Answers and evidence, by rule"][1][1] == "no 40.0 % against 12.0 %"


def test_the_heat_map_marks_the_lowest_in_words(page, tables):
    rows = tables(page)["Accuracy by rule and attack, at 4/255, in percent"]
    assert rows[0] == ["rule", "fgsm", "pgd", "apgd:loss=dlr", "sa-pgd", "used on all images"]
    assert rows[1] == ["assg", "–", "4.0 lowest 1.1–13.5 2 of 50", "2.0 lowest 0.3–10.5 1 of 50",
                       "2.0 lowest 0.3–10.5 1 of 50", "yes"]  # fmt: skip
    assert rows[-1][-1] == "no"


def test_a_rule_that_was_not_selected_but_used_counts_as_used(make_card, card):
    row = card.attacks[0].model_copy(update={"rule": "linear+assg/start=1"})
    screening = card.screening.model_copy(update={"selected": ["arctan"], "dropped": ["assg", "linear", "rga"]})
    assert pages.heat(make_card(attacks=[row], screening=screening))["used"] == {"arctan", "linear", "assg"}


@pytest.mark.parametrize(
    ("of", "pgd", "worst", "verdict", "remark"),
    [
        (50, 45, 43, "too few images to say", "50 images are too few to say by how much the paper's PGD overestimates"),
        (200, 160, 158, "agrees", None),
        (200, 190, 190, "agrees", "at 8/255 the worst case is less than 5 points below the clean accuracy"),
    ],
)
def test_what_few_images_and_small_bounds_cannot_say_is_said(make_card, card, of, pgd, worst, verdict, remark):
    point = card.at("8/255").model_copy(update={"pgd": share(pgd, of), "worst": share(worst, of)})
    reasons = {"verdict": "agrees", "reasons": [NO_DOUBT], "headline": "Report at most so much."}
    found = make_card(curve=[point], conclusion=card.conclusion.model_copy(update=reasons))
    assert (found.verdict, NO_DOUBT in found.remarks) == (verdict, verdict == "agrees")
    assert [text for text in found.remarks if text != NO_DOUBT] == [
        text for text in found.remarks if remark and text.startswith(remark)
    ]
    assert all(text in text_of(audit_page(found)) for text in (verdict, *found.remarks))


def test_sections_come_in_the_order_of_the_argument(page):
    headings = re.findall(r'<h2 id="([\w-]+)"', page)
    assert " ".join(headings) == "gallery curve attacks rules masking checks activity unbroken reproduce"
    assert re.findall(r'<li><a href="#([\w-]+)"', page) == headings


def test_ids_are_unique_and_links_lead_somewhere(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    named = re.findall(r'aria-labelledby="([^"]+)"', page) + re.findall(r'href="#([^"]+)"', page)
    assert {name for names in named for name in names.split()} <= set(ids)


def test_nothing_is_fetched(page):
    sources = re.findall(r'\bsrc="([^"]*)"', page)
    assert len(sources) == 36
    assert all(re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/]+=*", source) for source in sources)
    rest = re.sub(r'\bsrc="[^"]*"', "", page)
    assert not re.search(r'https?:|//|@import|<script|<link(?! rel="icon" href="data:,")|<iframe|<object', rest)
    assert "url(" not in page
    assert "default-src 'none'" in page


HOSTILE = "<script>alert('x')</script>\"&{{ 7 * 7 }}"


def test_markup_in_any_text_of_a_card_is_escaped(make_card, card):
    def poisoned(value):
        if isinstance(value, dict):
            return {key: poisoned(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [poisoned(inner) for inner in value]
        return HOSTILE if value in free else value

    # Every text that a user or a file chooses, among them base64 that is none.
    free = {
        card.subject.name, card.subject.architecture, card.data.name, card.setting.command, card.conclusion.headline,
        card.gallery[0].clean, card.gallery[0].label, card.gallery[0].attack, card.screening.cells[0].attack,
        card.screening.selected[0], card.attacks[3].label, card.activity[0].name, card.environment["cpu"],
        card.screening.rules[1].reasons[0], card.screening.rules[0].questions[0].evidence, card.date,
    }  # fmt: skip
    page = audit_page(Card.model_validate(poisoned(card.model_dump())))
    assert "<script" not in page
    assert "&amp;49" not in page
    assert page.count("&lt;script&gt;") > len(free)
    # A quote that got out of its attribute would leave one behind that is not escaped.
    assert "</script>" not in page
    assert "{{ 7 * 7 }}" in page


def test_missing_parts_are_named(make_card, card):
    empty = make_card(
        activity=None,
        gallery=[],
        unbroken=[],
        attacks=[],
        subject=card.subject.model_copy(
            update={"fingerprint": None, "method": None, "timesteps": None, "neurons": None}
        ),
        screening=card.screening.model_copy(
            update={
                "cells": [],
                "rules": [],
                "selected": [],
                "dropped": [],
                "refused": {"pdsg": "layer 1 has no reset"},
            }
        ),
    )
    found = text_of(audit_page(empty))
    for sentence in (
        "Not measured: the audit counts spikes only in networks of hiresnn.",
        "The card holds no pictures.",
        "None: every image was broken at some bound",
        "No rule was screened.",
        "pdsg: layer 1 has no reset",
        "No rule was examined.",
        "the weights were not available",
    ):
        assert sentence in found
    assert "None," not in found.replace("None: every", "")


def test_a_run_without_results_has_a_page(make_run, tmp_path):
    path = make_run(tmp_path / "begun", "hire")
    for name in ("metrics.jsonl", "result.json", "environment.json"):
        (path / name).unlink()
    (run,) = read_runs([path])
    assert (run.epochs, run.outcome, run.environment, run.card) == ((), None, {}, None)
    found = text_of(runs_page([run]))
    assert "No epoch has been completed yet." in found
    assert "No run has been evaluated yet" in found
    assert "not audited" in found


def test_runs_stand_side_by_side(make_run, card, tables, tmp_path):
    paths = [make_run(tmp_path / "<i>one", "hire", seed=1, card=card), make_run(tmp_path / "two", "traditional")]
    page = runs_page(read_runs(paths))
    assert "<i>" not in page.partition("</style>")[2].replace('<i style="', "")
    found = tables(page)
    glance = found["The runs at a glance; accuracies in percent"]
    assert glance[1] == ["<i>one", "99.2", "8.5 at 8/255", "hire", "vgg5", "digits", "6", "1", "10", "3.5 s", "0.29"]
    assert glance[2][:3] == ["two", "99.2", "– not audited"]
    assert found["Accuracy in percent by attack and run"][3] == ["fgsm", "69.3", "70.1", "69.3", "70.1"]
    differing = [" ".join(row) for row in found["Settings that differ between the runs"][1:]]
    assert differing == ["seed 1 0", "method hire traditional", "noise.step 0.04 0.03"]
    worst = found["Worst case and the paper's PGD by bound, in percent, with 95 % intervals"][7]
    assert worst == ["8/255", "8.5 5.4–13.2 17 of 200", "41.0 34.4–47.9 82 of 200"]
    assert found["Thresholds and leaks of two, first and last epoch"][2] == ["relu2", "0.81", "0.9", "0.998", "0.98"]


def test_what_has_no_page_is_refused(make_run, card, tmp_path):
    with pytest.raises(UsageError, match="at least one"):
        runs_page([])
    path = make_run(tmp_path / "a", "hire", card=card)
    with pytest.raises(UsageError, match="its own page"):
        page_of([path, path / "audit" / "card.json"])


def test_a_name_that_is_not_unicode_is_shortened_to_what_is(make_run, tmp_path):
    page, _ = page_of([make_run(tmp_path / "caf\udce9", "hire", epochs=1)])  # "é" in Latin-1, as an old archive has it
    assert "<h1>caf?</h1>" in page
    assert page.encode()


def test_the_headline_reasons_and_next_command_come_first(page, card):
    found = text_of(page.partition("<main")[0])
    assert found.index(card.conclusion.headline) < found.index("Clean accuracy")
    assert all(reason in found for reason in card.conclusion.reasons)
    assert f"Next: {card.conclusion.next_step}" in found


def test_under_report_no_number_there_is_no_large_number(make_card, card):
    unreliable = make_card(conclusion=card.conclusion.model_copy(update={"verdict": "unreliable"}))
    for page, large in ((audit_page(card), True), (audit_page(unreliable), False)):
        assert ('class="value"' in page.partition("<main")[2] + page.partition("<main")[0]) == large
    assert "none of them is a number to report" in text_of(audit_page(unreliable))


def test_overestimated_and_inconclusive_have_different_marks(card, make_card):
    marks = {"verdict": "overestimated", "own": "inconclusive"}
    page = audit_page(make_card(conclusion=card.conclusion.model_copy(update=marks)))
    assert '<span class="badge over">overestimated</span>' in page
    assert '<span class="badge unsure">inconclusive</span>' in page


def test_agreement_by_the_networks_own_gradient_alone_has_no_tick(card, make_card):
    agreeing = card.conclusion.model_copy(update={"verdict": "agrees", "headline": "Report at most 80.0 % at 8/255."})
    curve = [point.model_copy(update={"pgd": point.worst}) for point in card.curve]
    assert ">agrees</span>" in audit_page(make_card(conclusion=agreeing, curve=curve))
    alone = agreeing.model_copy(update={"headline": f"{agreeing.headline} {OWN_ALONE}"})
    page = audit_page(make_card(conclusion=alone, curve=curve))
    assert 'class="badge unsure">agrees, own gradient alone</span>' in page
    assert 'class="verdict mark-unsure"' in page


def test_the_page_names_its_run_and_the_images_that_only_searches_broke(card, make_card):
    picture = card.gallery[0].model_copy(update={"searched": True})
    setting = card.setting.model_copy(update={"target": "runs/mine"})
    label = "sa-pgd:iterations=100,loss=dlr,finish=100,rule=assg"
    row = card.attacks[0].model_copy(update={"label": label})
    said = card.conclusion.model_copy(update={"reasons": [f"of the 41 images, {label} broke 30"]})
    page = audit_page(make_card(
        gallery=[picture], setting=setting, searched=[3, 17], attacks=[row], conclusion=said,
        curve=[point.model_copy(update={"gradient": share(123, 200)}) for point in card.curve],
    ))  # fmt: skip
    found = text_of(page)
    assert "<title>Audit of runs/mine</title>" in page
    assert "2 images fell only to attacks without gradients" in found
    assert "3, 17" in found
    assert "only a search without gradients broke it" in found
    assert "123 of 200" in found
    words_of = "SA-PGD of 100 steps under ASSG, DLR loss, then a Square search of 100 queries"
    assert f'of the 41 images, <span title="{label}">{words_of}</span> broke 30' in page


def test_failed_checks_of_the_network_are_marked(page, tables):
    rows = tables(page)["Checks of the network’s behaviour"]
    assert rows[2] == ["finite logits", "failed", "3 of 200 images give logits that are not finite"]
    assert '<span class="badge bad">failed</span>' in page


def test_a_page_of_many_runs_limits_its_charts_and_shows_a_run_named_twice_once(make_run, tmp_path):
    paths = [make_run(tmp_path / f"run{number}" / "snn", "hire", seed=number, epochs=2) for number in range(45)]
    page, _ = page_of([*paths, paths[0] / ".." / "snn"])
    assert "45 runs" in text_of(page)
    assert "Charts show the first 40 runs, tables all." in text_of(page)
    assert page.count("<h3>Thresholds, ") == 40
    assert "run44/snn" in page


def test_the_heat_map_lists_selected_rules_first_and_marks_the_lowest_of_each_attack(make_card):
    standing = [("pgd", "linear", 5), ("pgd", "arctan", 2), ("apgd", "linear", 1), ("apgd", "erfc", 1)]
    standing += [("apgd", "arctan", 3), ("fgsm", "arctan", 4), ("fgsm", "erfc", 4), ("square", "none", 9)]
    cells = [Cell(attack=attack, rule=rule, standing=share(count, 10)) for attack, rule, count in standing]
    cells.append(Cell(attack="apgd", rule="rga", standing=share(0, 0)))
    screening = Screening(
        bound="8/255", images=10, cells=cells, rules=[], selected=["arctan"], dropped=["linear", "erfc"]
    )
    heat = pages.heat(make_card(screening=screening))
    assert (heat["rules"], heat["attacks"]) == (["arctan", "linear", "erfc"], ["pgd", "apgd", "fgsm"])
    expected = {(rule, attack): count for attack, rule, count in standing[:-1]}
    assert {pair: share.count for pair, share in heat["cells"].items()} == expected
    # Two rules share the lowest of apgd; under fgsm all rules leave the same, so none is the strongest.
    assert heat["lowest"] == {"pgd": 20, "apgd": 10}
    # A cell without images is left out; an attack without a rule is a control.
    assert [(attack, share.count) for attack, share in heat["controls"]] == [("square", 9)]


def test_the_curve_has_four_lines_with_an_interval_for_every_point(card):
    drawing = str(pages.curve(card)).partition("narrow")[0]
    assert drawing.count("<polyline") == 4
    assert drawing.count("<title>") == 4 * len(card.curve)
    assert "<title>worst case, 8/255: 8.5 % (5.4–13.2)</title>" in drawing
    assert "worst case is 8.5 percent and the paper&#39;s PGD says 41.0" in drawing


@pytest.fixture
def runs(make_run, make_card, card, tmp_path):
    few = make_card(curve=[point for point in card.curve if point.bound in ("0", "8/255", "inf")])
    paths = [
        make_run(tmp_path / "hire", "hire", seed=1, card=card),
        make_run(tmp_path / "ann", "ann", epochs=3),
        make_run(tmp_path / "gaussian", "gaussian", card=few),
    ]
    (paths[1] / "result.json").unlink()
    return read_runs(paths)


def test_every_run_has_a_column_per_box_that_it_was_attacked_in(runs):
    both = ["white box", "twin: same-ann"]
    assert [list(pages.boxes(run)) for run in runs] == [both, ["white box"], both]
    assert pages.attack_rows(runs) == [
        ("none (clean)", [99.15, None, None, 99.15, None]),
        ("fgsm", [69.3, 70.14, None, 69.3, 70.14]),
        ("pgd:eps=16/255", [47.17, None, None, 48.17, None]),
    ]


def test_each_stage_has_charts_of_the_runs_that_have_it(runs):
    figures = pages.training(runs)
    headings = [heading for heading, _ in figures]
    assert headings == ["ANN loss", "ANN training accuracy", "SNN loss", "SNN training accuracy"]
    assert [str(drawing).count("<li>") for _, drawing in figures] == [1, 1, 2, 2]


def test_thresholds_of_all_runs_share_one_scale(runs):
    figures = pages.neurons(runs)
    headings = [heading for heading, _ in figures]
    assert headings == ["Thresholds, hire", "Thresholds, gaussian", "Leaks, hire", "Leaks, gaussian"]
    grids = [str(drawing).partition('<g class="grid">')[2].partition("</g>")[0] for _, drawing in figures]
    assert grids[0] == grids[1]
    assert grids[2] == grids[3]
    assert grids[0] != grids[2]


def test_cards_with_different_bounds_share_one_axis(runs, card):
    assert pages.all_bounds(runs) == [point.bound for point in card.curve]
    lines = str(pages.worst_cases(runs)).partition("narrow")[0]
    # Nine bounds of the one, three of the other.
    assert sorted(lines.count(f"<title>{name}, ") for name in ("hire", "gaussian")) == [3, 9]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (words.percent(3.46), "3.5"),
        (words.percent(-0.004), "0.0"),  # never "-0.0"
        (words.percent(None), "–"),
        (words.change(32.5), "+32.5"),
        (words.change(-0.04), "0.0"),
        (words.change(-1.2), "−1.2"),
        (words.change(-0.0391, 3), "−0.039"),
        (words.number(0.46085634), "0.4609"),
        (words.number(12345.6), "12,346"),
        (words.number(1e308), "1e+308"),
        (words.number(None), "–"),
        (words.attack("sa-pgd:iterations=100,rule=assg/start=1"), "SA-PGD of 100 steps under ASSG (start=1)"),
        (words.attack("pgd-restarts:restarts=1,loss=margin"), "PGD with restarts, 1 start, margin loss"),
        (words.attack("apgd:loss=dlr (added)"), "APGD, DLR loss (added)"),
        (words.attack("momentum:restarts=2,random_start=true"), "momentum PGD, 2 starts, random start"),
        (words.attack("transfer from b"), "transfer from b"),
        (words.plain(True), "true"),
        (words.plain([0.6, 0.8]), "[0.6, 0.8]"),
        (words.plain("x" * 301), "x" * 300 + "…"),
        (words.breakable("pgd:eps=1,<b>"), "pgd:<wbr>eps=1,<wbr>&lt;b&gt;"),
        (words.ticks(["0", "0.5/255", "inf"]), (["0", "0.5", "∞"], "bound on each pixel (L∞), in 1/255")),
        (words.ticks(["0", "0.03", "8/255"]), (["0", "0.03", "8/255"], "bound on each pixel (L∞)")),
    ],
)
def test_numbers_and_names_are_written_so(written, text):
    assert written == text


def test_a_run_is_read_completely(make_run, card, tmp_path):
    (run,) = read_runs([make_run(tmp_path / "a", "hire", seed=2, epochs=3, card=card)])
    assert (run.name, run.recipe.method, run.recipe.seed) == ("a", "hire", 2)
    assert [epoch.epoch for epoch in run.stage("snn")] == [1, 2, 3]
    assert run.stage("ann") == ()
    assert run.epochs[1].thresholds["relu3"] == pytest.approx(1.22)
    assert run.outcome.attacks["fgsm"].twins == {"same-ann": 70.14}
    assert run.card == card


LINE = '{"stage": "snn", "epoch": 1, "loss": 1, "train_accuracy": 1, "seconds": 1}'
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metrics.jsonl", LINE.replace('"loss": 1', '"loss": "x"'), "loss"),
        ("metrics.jsonl", LINE.replace('"snn"', '"gnn"'), "stage"),
        ("metrics.jsonl", LINE.replace('"loss": 1', '"loss": NaN'), "metrics.jsonl, line 1 is damaged"),
        ("metrics.jsonl", LINE.replace('"epoch": 1', '"epoch": 1e308'), "epoch"),
        ("metrics.jsonl", DEEP, "metrics.jsonl"),
        ("result.json", "{", "result.json is damaged"),
        ("result.json", '{"clean": 1e308, "attacks": {}, "images": 1, "seed": 0}', "clean"),
        ("result.json", '{"clean": 1, "attacks": {"pgd": [1]}, "images": 1, "seed": 0}', "attacks.pgd"),
        ("environment.json", "[]", "environment.json is damaged"),
        ("audit/card.json", "{}", "card.json is damaged"),
    ],
)
def test_a_damaged_file_becomes_one_note_that_names_it(name, text, said, make_run, card, tmp_path):
    path = make_run(tmp_path / "a", "hire", card=card)
    (path / name).write_text(text)
    (run,) = read_runs([path])
    (note,) = run.notes
    assert re.search(said, note)
    assert str(path / name) in note
    assert len(note) < 1000
    assert "\n" not in note


def test_runs_of_the_same_name_are_distinguished_by_their_parents(make_run, tmp_path):
    paths = [make_run(tmp_path / part, "hire", epochs=1) for part in ("x/run", "y/run", "other")]
    assert [run.name for run in read_runs(paths)] == ["x/run", "y/run", "other"]


def test_a_folder_that_is_not_a_run_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"has no recipe\.toml"):
        read_runs([tmp_path])


def test_the_page_has_a_table_of_corruptions_if_the_card_has_them(make_card, tables, page):
    part = Corruptions(seed=2, accuracy={"fog": [90, 80, 70, 60, 50], "jitter": [10] * 5}, mean=40)
    text = audit_page(make_card(corruptions=part))
    (rows,) = (table for caption, table in tables(text).items() if "corruption" in caption)
    assert rows[1:] == [
        ["fog", "70.0", "90.0", "80.0", "70.0", "60.0", "50.0"],
        ["jitter", *["10.0"] * 6],
        ["mean", "40.0", *[""] * 5],
    ]
    assert 'href="#corruptions"' in text
    assert "orruption" not in page
