"""The audit on event grids, on a linear network whose smallest budgets are known, and on one with masked gradients."""

import math
import re
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from hiresnn.attacks import Flips
from hiresnn.audit.card import Check, share
from hiresnn.audit.events import ARCHIVE, CARD, EventCard, EventConfig, audit_events, coloured, conclude, verify_events
from hiresnn.errors import UsageError
from hiresnn.files import read_json
from hiresnn.progress import Progress
from hiresnn.report.events import event_page

SHAPE = (4, 2, 3, 3)


class TwoClasses(nn.Module):
    """Logits (0, w x + b): the smallest number of flips has a closed form."""

    def __init__(self, masked=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(72, generator=torch.Generator().manual_seed(0)))
        self.masked = masked

    def forward(self, grids):
        score = grids.flatten(1) @ self.weight
        if self.masked:  # the gradient says the opposite of the truth
            score = 2 * score.detach() - score
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.fixture(scope="module")
def samples():
    grids = (torch.rand(30, *SHAPE, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    labels = TwoClasses()(grids).argmax(1)
    labels[3] = 1 - labels[3]  # misclassified at first
    return grids, labels


@pytest.fixture(scope="module")
def audited(samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    return audit_events(
        TwoClasses(), *samples, EventConfig(headline=2, budget=72, batch_size=12), folder=folder
    ), folder


def closed_form(grids, labels):
    """Flip the cells in the order of what they take off the margin, until it has changed its sign."""
    weight, smallest = TwoClasses().weight.detach(), []
    for grid, label in zip(grids.flatten(1), labels, strict=True):
        sign = 1 if label else -1
        gains = (sign * weight * (2 * grid - 1)).sort(descending=True).values.cumsum(0)
        margin = sign * float(grid @ weight)
        smallest.append(0 if margin < 0 else int((gains > margin).float().argmax()) + 1)
    return smallest


def test_the_smallest_budgets_of_a_linear_network_are_those_of_the_closed_form(audited, samples):
    card, _ = audited
    expected = closed_form(*samples)
    assert card.smallest == expected
    assert expected[3] == 0
    assert card.clean.count == 29
    for point in card.curve:
        assert point.worst.count == sum(value > point.budget for value in expected)
        assert point.worst.count == point.topk.count <= point.random.count
    assert card.median == np.quantile([value for value in expected if value], 0.5, method="higher")
    assert card.verdict == "agrees"
    assert "2 events added or deleted" in card.conclusion


def test_the_card_and_its_archive_are_confirmed_and_every_forgery_is_not(audited, samples):
    card, folder = audited
    assert read_json(folder / CARD, EventCard) == card

    def problems(card=card, model=None, data=samples, archive=folder / ARCHIVE):
        return verify_events(card, archive, model or TwoClasses(), data).problems

    assert problems() == ()
    forged = card.smallest.copy()
    forged[5] += 1
    assert "smallest budgets" in problems(card.model_copy(update={"smallest": forged}))[0]
    curve = [point.model_copy(update={"worst": card.clean}) for point in card.curve]
    assert any("budget" in text and "share" in text for text in problems(card.model_copy(update={"curve": curve})))
    other = TwoClasses()
    other.weight.data.neg_()
    assert len(problems(model=other)) > 2
    assert "not those of the data set" in problems(data=(samples[0].flip(0), samples[1].flip(0)))[0]
    arrays = dict(np.load(folder / ARCHIVE))
    cell = arrays["adversarial"][0].reshape(-1)
    cell[np.flatnonzero(cell == arrays["clean"][0].reshape(-1))[0]] ^= 1
    np.savez(folder / "forged.npz", **arrays)
    assert "spent" in problems(archive=folder / "forged.npz")[0]


def test_an_audit_continues_from_its_finished_work(audited, samples):
    card, folder = audited
    again = audit_events(TwoClasses(), *samples, EventConfig(headline=2, budget=72, batch_size=12), folder=folder)
    assert [row.seconds for row in again.attacks] == [row.seconds for row in card.attacks]
    assert again.smallest == card.smallest


def test_a_gradient_that_lies_makes_the_audit_unreliable(samples):
    card = audit_events(TwoClasses(masked=True), *samples, EventConfig(headline=2, budget=8))
    assert card.verdict == "unreliable"
    assert "Report no number" in card.conclusion
    assert any("without gradients" in reason or "chance" in reason for reason in card.reasons)


def test_the_retiming_audit_keeps_every_count(samples, tmp_path):
    config = EventConfig("retiming(budget=sum)", headline=5, budget=72)
    audit_events(TwoClasses(), *samples, config, folder=tmp_path)
    arrays = np.load(tmp_path / ARCHIVE)
    assert len(arrays["index"]) > 10
    assert (arrays["clean"].sum(1) == arrays["adversarial"].sum(1)).all()


@pytest.mark.parametrize("options", [{}, {"threat": "retiming(budget=sum)"}, {"attacks": ("guided(targets=2)",)}])
def test_the_progress_counts_the_attacks_that_run(samples, options):
    printed = StringIO()
    progress = Progress(console=Console(file=printed), every=0.0)
    audit_events(TwoClasses(), *samples, EventConfig(headline=5, budget=72, **options), progress=progress)
    text = printed.getvalue()
    total, ran = re.search(r"of (\d+) attacks", text), re.search(r": (\d+) attacks in", text)
    assert total.group(1) == ran.group(1)


@pytest.mark.parametrize(
    "options",
    [{"threat": "noise"}, {"preset": "slow"}, {"headline": 0}, {"headline": 5, "budget": 4}, {"attacks": ("pgd",)}],
)
def test_settings_that_cannot_be_used_are_refused(options):
    with pytest.raises(UsageError):
        EventConfig(**options)


def test_a_network_that_is_never_right_has_nothing_to_attack(samples):
    with pytest.raises(UsageError, match="right on none"):
        audit_events(TwoClasses(), samples[0], 1 - TwoClasses()(samples[0]).argmax(1))


def test_a_failed_check_comes_before_every_number(audited):
    failed = [Check(name="repeated calls", result="failed", detail="it keeps state")]
    nothing = (torch.ones(1), torch.ones(1))
    verdict, sentence, reasons = conclude(
        audited[0].curve, EventConfig(headline=2), (nothing, nothing), 0.0, failed, Flips()
    )
    assert (verdict, reasons[0]) == ("unreliable", "it keeps state")
    assert "it keeps state" in sentence
    assert conclude(audited[0].curve, EventConfig(headline=2), (nothing, nothing), 0.6, [], Flips())[0] == "unreliable"


@pytest.mark.parametrize(("standing", "text"), [(1, "1 sample stands at"), (2, "2 samples stand at")])
def test_samples_that_stand_at_the_largest_budget_are_a_reason(audited, standing, text):
    first, last = audited[0].curve[0], audited[0].curve[-1]
    curve = [first.model_copy(update={"worst": share(9, 10)}), last.model_copy(update={"worst": share(standing, 10)})]
    config = EventConfig(headline=last.budget, budget=last.budget)
    nothing = (torch.ones(1), torch.ones(1))
    assert any(text in reason for reason in conclude(curve, config, (nothing, nothing), 0.0, [], Flips())[2])


def test_darker_is_blue_and_brighter_is_vermillion_on_white_as_the_page_says():
    counts = torch.zeros(2, 1, 3)  # polarity 0 is darker, 1 is brighter, as bin_events numbers them
    counts[1, 0, 0] = counts[0, 0, 1] = 2
    colours = coloured(counts)[:, 0].T
    assert torch.allclose(colours, torch.tensor([[0.84, 0.37, 0.0], [0.0, 0.45, 0.7], [1.0, 1.0, 1.0]]))


def test_the_page_has_the_curve_the_pictures_and_the_film_and_loads_nothing(audited):
    page = event_page(audited[0])
    assert page.count('class="film"') == len(audited[0].gallery) > 2
    assert audited[0].conclusion.partition(" %")[0] in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert all(f"<td>{row.broke}</td>" in page for row in audited[0].attacks)
    assert math.isfinite(audited[0].median)
