"""Random networks: accuracy over repeated draws, and the number of draws that a gradient needs."""

import json

import pytest
import torch
from torch import nn

from hiresnn import run_audit
from hiresnn.audit import InstrumentedModel, Preset, Record, verify
from hiresnn.audit.build_card import About, build_card
from hiresnn.audit.card import Card, Tried
from hiresnn.audit.draws import LEAST, MOST, TOLERANCE, VOTES, HardestImages, draws_needed, voted
from hiresnn.audit.run import read_archive
from hiresnn.report.pages import audit_page

from .small import ONCE, TINY


def answers(*votes, means=None):
    means = means or votes
    return [Tried(draws=2**k, vote=v, mean=m) for k, (v, m) in enumerate(zip(votes, means, strict=True))]


@pytest.mark.parametrize(
    ("tried", "needed"),
    [
        ([], None),
        (answers(50, 50, 50, 50), None),  # 16 are always tried
        (answers(50, 50, 50, 50, 50), 1),
        (answers(80, 70, 60, 51, 50), None),  # 8 draws are confirmed by one doubling alone
        (answers(80, 70, 60, 51, 50, 50), 8),
        (answers(80, 70, 60, 51.1, 50, 50), None),  # more than a point above 16
        (answers(80, 70, 60, 51.1, 50, 50, 50), 16),
        (answers(50, 50, 50, 50, 50, 50, means=[80, 70, 60, 50, 49.5, 48.9]), None),  # single draws still change
        (answers(50, 50, 50, 50, 49), 1),  # within the tolerance at every number of draws
        (answers(50, 50, 50, 50, 48), None),
    ],
)
def test_draws_are_enough_if_two_doublings_change_the_accuracy_by_no_more_than_the_tolerance(tried, needed):
    assert (TOLERANCE, LEAST, MOST) == (1.0, 16, 64)  # as docs/audit.md says
    assert draws_needed(tried) == needed


def test_the_tolerance_is_an_argument_because_of_few_images_one_may_change():
    tried = answers(50, 50, 50, 50, 45)
    assert (draws_needed(tried, 5.0), draws_needed(tried)) == (1, None)


def test_votes_counted_by_hand():
    votes = torch.tensor([[0, 1, 2, -1], [0, 1, 1, -1], [0, 2, 2, 1]])  # three draws of four images
    result = voted(votes, torch.tensor([0, 1, 1, 1]))
    # Majorities are 0, 1, 2 and none. Two, three and two of four votes are right in the draws: 50, 75 and 50 %.
    assert (result.vote.count, result.vote.of) == (2, 4)
    assert result.mean == pytest.approx(175 / 3, abs=0.01)
    assert result.spread == pytest.approx((1250 / 9) ** 0.5, abs=0.01)  # the root of ((25/3)^2 * 2 + (50/3)^2) / 3


def test_the_hardest_of_many_equal_candidates_is_no_harder_than_they_are():
    labels, draws = torch.zeros(200, dtype=torch.int64), torch.Generator().manual_seed(0)
    hardest = HardestImages(labels)
    for _ in range(20):
        result = hardest.consider((torch.rand(2 * VOTES, 200, generator=draws) < 0.5).long())
    assert float(hardest.right.mean()) < 0.42  # the votes that chose have bad luck
    assert result.mean == pytest.approx(50, abs=1)  # the others have not: five standard errors are 1.8


class RareGradient(nn.Module):
    """Two classes; a draw has the gradient -1 with probability 1 - p, and else the one with which the mean is 1.

    The answer hardly depends on the draw: 0 until the mean pixel rises by 0.05 above 0.5.
    """

    def __init__(self, p):
        super().__init__()
        self.p, self.rare = p, (2 - p) / p

    def forward(self, images):
        rise = images.flatten(1).mean(1) - 0.5
        factor = torch.where(torch.rand(len(images)) < self.p, self.rare, -1.0)
        rise = rise.detach() + factor * (rise - rise.detach())
        return torch.stack([0.05 - rise, torch.zeros_like(rise)], 1) + 1e-3 * torch.randn(len(images), 2)


@pytest.mark.parametrize(
    ("p", "needed", "last"),
    [
        # Of n < 20 draws one with the rare gradient decides the sign: it points to the boundary in 1 - 0.9^n of all
        # steps, 34 % with 4 draws, 57 % with 8 and 81 % with 16. So 4 move away from it, and 16 reach it.
        (0.1, 16, 64),
        # The same with 1 - 0.967^n: 42 % with 16, 66 % with 32, 89 % with 64, so that 64 still change the answer.
        (1 / 30, None, 64),
    ],
)
def test_draws_are_doubled_until_the_mean_gradient_points_to_the_boundary(run, p, needed, last):
    images, labels = torch.full((40, 1, 2, 2), 0.5), torch.zeros(40, dtype=torch.int64)
    pieces: dict[str, Record] = {}
    result = run(RareGradient(p), images, labels, pieces, stages=(ONCE,))
    random = result.random
    accuracy = {one.draws: one.vote for one in random.tried}
    assert (random.needed, max(accuracy), random.used) == (needed, last, needed or MOST)
    assert random.clean.vote.count == 40
    assert min(accuracy[1], accuracy[2]) >= 95
    assert accuracy[last] <= 5 if needed else accuracy[last] < accuracy[32] - 2.5
    assert ("did not converge: from 32 to 64 draws" in random.text) == (needed is None)
    assert result.model.gradient_draws == result.model.draws  # of later audits
    card = build_card(result, About())
    assert any("did not converge" in reason for reason in card.conclusion.reasons) == (needed is None)
    assert f"by majority vote ({random.attacked.mean:.1f} % of single draws)" in card.conclusion.headline
    before = dict(pieces)
    assert run(RareGradient(p), images, labels, pieces, stages=(ONCE,)).random == random
    assert before.keys() == pieces.keys()  # nothing was computed again


def test_an_attack_uses_its_own_number_of_draws():
    model = InstrumentedModel(RareGradient(0.1), torch.full((4, 1, 2, 2), 0.5))
    image = torch.full((1, 1, 2, 2), 0.5)
    with model.averaging():
        model.gradient_draws = 3
        for attacked, passes in ((False, 10), (True, 3)):
            with model.measured(0) as cost:
                if attacked:
                    with model.under("own"):
                        model(image.requires_grad_()).sum().backward()
                else:
                    model(image)
            assert (cost.forward, cost.backward) == (passes, 3 * attacked)
    assert model.gradient_draws == 10
    with model.measured(0) as cost:
        assert model.votes(image, 7).tolist() == [[0]] * 7
    assert cost.forward == 7


@pytest.fixture(scope="module")
def audited(network, shown, tmp_path_factory):
    """(random network, its card, folder)."""

    def noisy(images):
        return network((images + 0.1 * torch.randn(images.shape)).clamp(0, 1))

    folder = tmp_path_factory.mktemp("random")
    card = run_audit(noisy, *shown, preset=Preset("quick", 60, (TINY,)), bounds="inf", eps="24/255", folder=folder)
    return noisy, card, folder


def test_the_card_and_the_page_of_a_random_network_state_the_accuracy_over_draws(audited):
    _, card, folder = audited
    stored = json.loads((folder / "card.json").read_text())
    assert Card(**stored) == card
    assert card.random.votes == VOTES
    assert card.random.clean.vote.count >= card.random.attacked.vote.count
    assert card.random.tried[-1].draws >= LEAST
    said = card.random.text
    assert f"{card.random.clean.mean:.1f} % (sd {card.random.clean.spread:.1f}) of single draws" in said
    page = audit_page(card)
    assert 'href="#random"' in page
    assert card.random.draws in page
    assert f"gradients over {card.random.used}" in page


def test_nothing_changes_on_the_card_of_a_network_that_is_not_random(network, shown, run):
    card = build_card(run(network, *shown, stages=(ONCE,)), About())
    assert card.random is None
    assert "random" not in json.loads(card.model_dump_json())
    assert 'href="#random"' not in audit_page(card)


@pytest.mark.parametrize(
    ("part", "changes", "problem"),
    [
        ("clean", {"mean": 70.0}, "clean: the card says that 70 % of single draws are right"),
        ("attacked", {"mean": 99.0}, "attacked: the card says that 99 % of single draws are right"),
        (None, {"needed": 32}, "32 draws are enough"),
    ],
)
def test_accuracies_over_draws_are_verified(audited, shown, part, changes, problem):
    network, card, folder = audited
    arrays = read_archive(folder / "adversarial.npz")
    assert verify(card, arrays, network, shown).problems == ()
    if part:
        changes = {part: getattr(card.random, part).model_copy(update=changes)}
    forged = card.model_copy(update={"random": card.random.model_copy(update=changes)})
    assert any(problem in text for text in verify(forged, arrays, network, shown).problems)
