"""The audit of a small spiking network: results are real, consistent, and independent of interruptions."""

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hiresnn.attacks import ATTACKS, pgd
from hiresnn.audit import InstrumentedModel, Record
from hiresnn.audit import parse_bound as bound
from hiresnn.audit.behaviour import Cost
from hiresnn.audit.build_card import Evidence
from hiresnn.audit.presets import PROTOCOL, Choice, stage_attack
from hiresnn.audit.sweep import WorstCase, longer_search
from hiresnn.errors import AttackError, UsageError
from hiresnn.progress import Task

from .small import ONCE, TINY, square, stage

LARGER = stage(
    stage_attack("apgd", Choice.BEST, iterations=6, loss="dlr"), square(30, first=20),
    rules=("own", "straight-through"), sample=8, iterations=4, queries=10, most=2,
)  # fmt: skip
ONE = stage(stage_attack("apgd", Choice.BEST, iterations=10), square(20))


@pytest.fixture(scope="module")
def kept():
    """The pieces of `found`; read only."""
    return {}


@pytest.fixture(scope="module")
def found(run, network, shown, kept):
    return run(network, *shown, kept, stages=(TINY,))


def same(one, other):
    """Assert that two audits agree in everything but seconds."""
    assert one.worst.bounds == other.worst.bounds
    assert one.worst.level.tolist() == other.worst.level.tolist()
    assert one.worst.by == other.worst.by
    assert costs(one) == costs(other)
    assert (one.cost.forward, one.cost.backward) == (other.cost.forward, other.cost.backward)
    assert (one.selected, one.dropped, one.screened_at) == (other.selected, other.dropped, other.screened_at)
    assert list(one.attacks) == list(other.attacks)
    for text in PROTOCOL:
        for label, broken in one.alone[text].items():
            assert torch.equal(broken, other.alone[text][label])
    assert list(one.screened) == list(other.screened)
    for rule, here in one.screened.items():
        assert all((values == other.screened[rule][name]).all() for name, values in here.items() if name != "seconds")
    assert {name: broken.tolist() for name, broken in one.without_gradient.items()} == {
        name: broken.tolist() for name, broken in other.without_gradient.items()
    }
    assert one.worst.adversarial.keys() == other.worst.adversarial.keys()
    assert all(torch.equal(image, other.worst.adversarial[index]) for index, image in one.worst.adversarial.items())


def costs(found):
    return {label: (each.attacked, each.forward, each.backward) for label, each in found.worst.costs.items()}


class Counted(nn.Module):
    """A network that counts the images that it is shown."""

    def __init__(self, network):
        super().__init__()
        self.network, self.images, self.timesteps = network, 0, getattr(network, "timesteps", None)

    def forward(self, images):
        self.images += len(images)
        return self.network(images)


def looked_at(network, images):
    """Images of the calls that only observe the behaviour of a network, before and after an audit."""
    counted = Counted(network)
    InstrumentedModel(counted, images).checks(0)
    return counted.images


def test_every_adversarial_image_lies_within_its_bound_and_is_misclassified(found, network, shown):
    images, labels = shown
    assert ((found.worst.level == 0) == (network(images).argmax(1) != labels)).all()
    fell = [image for image, level in enumerate(found.worst.level.tolist()) if 0 < level < len(found.worst.bounds)]
    assert sorted(found.worst.adversarial) == fell
    for image, adversarial in found.worst.adversarial.items():
        at = found.worst.bounds[int(found.worst.level[image])]
        assert (adversarial - images[image]).abs().max() <= at.radius + 1e-6
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1
        assert network(adversarial[None]).argmax() != labels[image]


def test_the_worst_case_falls_with_the_bound_and_is_never_above_a_single_attack(found):
    counts = [found.worst.count(each) for each in found.worst.bounds]
    assert 40 < counts[0] < 60
    assert counts[0] > counts[1] > counts[2] > 0
    for each, count in zip(found.worst.bounds, counts, strict=True):
        for text in PROTOCOL:
            assert count <= int((~found.alone[text][each.label]).sum())
    noise = [int(broken.sum()) for broken in found.alone[PROTOCOL[2]].values()]
    assert noise == sorted(noise)


def test_pgd_alone_is_the_papers_pgd_on_every_image(found, network, shown):
    images, labels = shown
    for text, size in (("8/255", 0.01), ("24/255", 0.03), ("inf", 0.31875)):  # the paper's step scales with eps
        adversarial = pgd(network, images, labels, eps=bound(text).radius, step=size, iterations=7)
        wrong = network(adversarial).argmax(1) != labels
        assert torch.equal(found.alone["pgd"][text], wrong | found.alone["pgd"]["0"])


def test_the_papers_options_reach_its_pgd_in_proportion_to_the_bound(run, network, shown):
    images, labels = shown[0][:30], shown[1][:30]
    few = run(network, images, labels, stages=(), paper={"step": 0.02, "iterations": 2})
    adversarial = pgd(network, images, labels, eps=8 / 255, step=0.02 / 3, iterations=2)  # 8/255 is a third of 24/255
    clean = few.alone["pgd"]["0"]
    assert torch.equal(few.alone["pgd"]["8/255"], (network(adversarial).argmax(1) != labels) | clean)


def test_the_budget_is_the_sum_over_all_units_of_work(found, kept, shown):
    def total(name, *phases):
        return sum(int(record[name]) for key, record in kept.items() if key.split()[0] in phases)

    for name in ("forward", "backward"):
        rows = sum(getattr(entry, name) for entry in found.worst.costs.values())
        assert rows == total(name, "alone", "sweep")
        assert getattr(found.cost, name) == rows + total(name, "clean", "screen")
    assert (total("forward", "clean"), total("backward", "clean")) == (len(shown[0]), 0)
    assert {key.split()[0] for key in kept} == {"alone", "sweep", "clean", "screen"}


def test_with_a_full_cache_an_audit_makes_no_pass_and_gives_the_same_result(run, network, shown, found, kept):
    counted = Counted(network)
    again = run(counted, *shown, dict(kept), stages=(TINY,))
    assert counted.images == looked_at(network, shown[0])
    same(found, again)


class Fragile(dict[str, Record]):
    """Pieces that are kept, until an interruption in place of one of them."""

    def __init__(self, writes):
        super().__init__()
        self.writes = writes

    def __setitem__(self, key, record):
        self.writes -= 1
        if self.writes < 0:
            raise KeyboardInterrupt
        super().__setitem__(key, record)


def test_an_interrupted_audit_continues_to_the_same_result(run, network, shown, found, kept):
    pieces = Fragile(len(kept) // 2)
    with pytest.raises(KeyboardInterrupt):
        run(network, *shown, pieces, stages=(TINY,))
    assert 0 < len(pieces) < len(kept)
    assert all(not lif.training for lif in network.neurons.values())
    torch.rand(3)
    assert not found.task.note.endswith("from before")
    continued = run(network, *shown, dict(pieces), stages=(TINY,))
    same(found, continued)
    before, of = map(int, re.fullmatch(r"(\d+) of (\d+) attacks are from before", continued.task.note).groups())
    assert 0 < before < of


def test_a_larger_preset_continues_a_smaller_one_and_never_leaves_more_images(run, network, shown, found, kept):
    whole = run(network, *shown, stages=(TINY, LARGER))
    pieces, counted = dict(kept), Counted(network)
    larger = run(counted, *shown, pieces, stages=(TINY, LARGER))
    same(whole, larger)
    assert set(kept) < set(pieces)
    assert all(pieces[key] is record for key, record in kept.items())
    new = sum(int(record["forward"]) for key, record in pieces.items() if key not in kept)
    assert counted.images == new + looked_at(network, shown[0])
    assert (larger.worst.level <= found.worst.level).all()
    assert larger.worst.level.sum() <= found.worst.level.sum()


def test_an_expensive_attack_runs_only_on_the_first_images(run, network, shown):
    pieces: dict[str, Record] = {}
    run(network, *shown, pieces, stages=(TINY, LARGER), batch_size=15)
    dear = {key.split()[-1] for key in pieces if key.startswith("sweep square:queries=30 ")}
    assert dear == {"0-15", "15-20"}
    assert {key.split()[-1] for key in pieces if key.startswith("sweep apgd")} == {"0-15", "15-30", "30-45", "45-60"}


def test_more_images_do_not_change_the_result_for_the_first_ones(run, network, shown, found):
    few = run(network, shown[0][:30], shown[1][:30], stages=(TINY,))
    assert few.worst.level.tolist() == found.worst.level[:30].tolist()
    assert few.worst.by == found.worst.by[:30]
    assert few.selected == found.selected


def test_random_draws_depend_on_the_seed_alone(run, network, shown):
    images, labels = shown[0][:20], shown[1][:20]
    state = torch.get_rng_state()
    pieces: list[dict[str, Record]] = [{}, {}, {}]
    one = run(network, images, labels, pieces[0], stages=(TINY,), seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    same(one, run(network, images, labels, pieces[1], stages=(TINY,), seed=1))
    run(network, images, labels, pieces[2], stages=(TINY,), seed=2)

    def unstable(kept):
        return [value for key, record in kept.items() if "unstable" in record for value in record["unstable"].tolist()]

    assert unstable(pieces[0]) == unstable(pieces[1]) != unstable(pieces[2])


def test_rules_modes_and_weights_of_the_network_are_unchanged_afterwards(run, network, shown):
    before = [(lif.surrogate, lif.training) for lif in network.neurons.values()]
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    weights = [parameter.clone() for parameter in network.parameters()]
    run(network, shown[0][:10], shown[1][:10], stages=(TINY,))
    assert [(lif.surrogate, lif.training) for lif in network.neurons.values()] == before
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted
    assert all(torch.equal(was, now) for was, now in zip(weights, network.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_twins_and_added_attacks_run_last_at_every_bound(run, network, shown):
    images, labels = shown[0][:20], shown[1][:20]
    twins = {"twin": InstrumentedModel(network, images[:4])}  # itself: what it makes are attacks in the white box
    found = run(network, images, labels, stages=(ONCE,), twins=twins, attacks=("apgd:iterations=3",))
    assert list(found.attacks)[-2:] == ["transfer from twin", "apgd:iterations=3 (added)"]
    assert "transfer from twin" in found.without_gradient
    assert found.worst.costs["transfer from twin"].attacked > 0
    without = run(network, images, labels, stages=(ONCE,))
    assert (found.worst.level <= without.worst.level).all()
    assert found.worst.level.sum() < without.worst.level.sum()


def test_a_network_that_is_never_right_is_refused_before_any_attack(run, network, shown):
    never = (network(shown[0]).argmax(1) + 1) % 10
    pieces: dict[str, Record] = {}
    with pytest.raises(UsageError, match="the network classifies none of 60 images correctly, so there is nothing to"):
        run(network, shown[0], never, pieces, stages=(ONCE,))
    assert {key.split()[0] for key in pieces} == {"clean"}


@pytest.mark.parametrize("text", ["square:queries=2", "pgd"])
def test_an_added_attack_runs_once_and_apart_from_the_presets(run, network, shown, text):
    images, labels = shown[0][:20], shown[1][:20]
    pieces: dict[str, Record] = {}
    without = run(network, images, labels, stages=(ONCE,))
    found = run(network, images, labels, pieces, stages=(ONCE,), attacks=(text, text))
    once = run(network, images, labels, stages=(ONCE,), attacks=(text,))
    assert list(found.attacks) == [*without.attacks, f"{text} (added)"]
    assert costs(without).items() < costs(once).items() == costs(found).items()
    assert found.cost.forward == sum(int(record["forward"]) for record in pieces.values())


class Preceded(nn.Module):
    """The network on images that are changed first."""

    def __init__(self, network, change):
        super().__init__()
        self.network, self.change = network, change

    def forward(self, images):
        return self.network(self.change(images))


def noisy(images):
    """Noise of the network's own, from torch's global generator."""
    return (images + 0.1 * torch.randn(images.shape)).clamp(0, 1)


def rounded(images):
    return (images * 15).round() / 15


def thresholded(images):
    return (images > 0.5).float()


def test_a_random_network_is_audited_over_its_draws_in_smaller_batches_and_reproducibly(run, network, shown):
    images, labels = shown[0][:6], shown[1][:6]
    pieces: dict[str, Record] = {}
    one = run(Preceded(network, noisy), images, labels, pieces, stages=(ONCE,), batch_size=30)
    assert [key for key in pieces if key.startswith("clean")] == ["clean 0-3", "clean 3-6"]  # ten draws an image
    assert sum(int(record["forward"]) for key, record in pieces.items() if key.startswith("clean")) == 60
    torch.rand(5)
    same(one, run(Preceded(network, noisy), images, labels, stages=(ONCE,), batch_size=30))


def test_rounding_hides_a_network_from_the_papers_pgd_but_not_from_the_audit(run, network, shown):
    few = stage(stage_attack("apgd", Choice.BEST, iterations=5))
    found = run(Preceded(network, rounded), shown[0][:30], shown[1][:30], stages=(few,))
    correct, headline = found.worst.count(found.worst.bounds[0]), bound("24/255")
    assert int((~found.alone["pgd"]["24/255"]).sum()) == correct
    assert found.worst.count(headline) < correct - 5
    assert "apgd:iterations=5" in found.worst.by


def test_a_network_without_a_gradient_is_broken_by_attacks_without_a_gradient(run, network, shown):
    few = stage(stage_attack("apgd", Choice.BEST, iterations=2), square(20))
    found = run(Preceded(network, thresholded), shown[0][:20], shown[1][:20], stages=(few,))
    assert found.screened["own"]["zero"].all()
    screened = len(found.screened["own"]["zero"])
    assert Evidence.of(found).without == (screened, screened)
    assert set(found.worst.by) - {""} <= {PROTOCOL[2], "square:queries=20"}
    assert found.worst.count(bound("24/255")) < found.worst.count(bound("0"))
    for text in PROTOCOL[:2]:
        assert torch.equal(found.alone[text]["inf"], found.alone[text]["0"])


def test_what_the_search_behind_a_gradient_attack_breaks_is_not_broken_by_gradients(run, network, shown):
    blind = Preceded(network, Tensor.detach)
    plain = stage_attack("sa-pgd", Choice.BEST, iterations=3)
    finished = stage_attack("sa-pgd", Choice.BEST, iterations=3, finish=300)
    before, after = (run(blind, shown[0][:20], shown[1][:20], stages=(stage(each),)) for each in (plain, finished))
    assert any("finish=300" in name for name in after.worst.by)
    assert [after.worst.count(each, gradient=True) for each in after.worst.bounds] == [
        before.worst.count(each, gradient=True) for each in before.worst.bounds
    ]
    assert Evidence.of(after).without_gradient > 0


@pytest.fixture
def cheating(monkeypatch):
    def black(model, images, labels, *, eps=0.1):
        return torch.zeros_like(images)

    monkeypatch.setitem(ATTACKS, "fgsm", replace(ATTACKS["fgsm"], run=black))


@pytest.mark.usefixtures("cheating")
def test_an_attack_that_leaves_its_bound_is_refused(run, network, shown):
    pieces: dict[str, Record] = {}
    with pytest.raises(AttackError, match="the attack moved a pixel by"):
        run(network, *shown, pieces)
    assert [key for key in pieces if not key.startswith("clean")] == []


def test_an_earlier_audit_of_more_bounds_does_not_change_the_result(run, network, shown):
    kept: dict[str, Record] = {}
    run(network, *shown, kept, stages=(ONE,), bounds=("8/255", "16/255", "24/255"))
    after = run(network, *shown, kept, stages=(ONE,), bounds=("24/255",))
    fresh = run(network, *shown, stages=(ONE,), bounds=("24/255",))
    assert after.worst.level.tolist() == fresh.worst.level.tolist()


ZERO, TWO, FOUR, EIGHT = (bound(text) for text in ("0", "2/255", "4/255", "8/255"))


@pytest.fixture
def worst():
    """Five images, the second misclassified without an attack."""
    return WorstCase(torch.tensor([False, True, False, False, False]), [ZERO, TWO, FOUR, EIGHT])


def update(worst, label, at, broken, *, gradient=True):
    images = {image: torch.full((1, 1, 1), image / 10) for image in broken}
    worst.update(label, at, images, Cost(5, 10, 5, 0.5), gradient=gradient)


def test_a_misclassified_image_stands_at_no_bound(worst):
    assert worst.level.tolist() == [4, 0, 4, 4, 4]
    update(worst, "a", TWO, [1])
    for each in (ZERO, TWO, FOUR, EIGHT):
        assert worst.standing(each).tolist() == [0, 2, 3, 4]
    assert (worst.by[1], worst.broke("a")) == ("", {})


def test_an_image_broken_at_one_bound_is_broken_at_every_larger_one(worst):
    update(worst, "a", FOUR, [2, 4])
    assert [worst.count(each) for each in (ZERO, TWO, FOUR, EIGHT)] == [4, 4, 2, 2]
    assert worst.standing(FOUR).tolist() == [0, 3]


def test_an_image_stays_with_the_attack_that_broke_it_first_unless_a_smaller_bound_breaks_it(worst):
    update(worst, "a", FOUR, [2, 3])
    update(worst, "b", FOUR, [2])
    update(worst, "b", EIGHT, [3, 4])
    update(worst, "c", TWO, [3])
    assert worst.by == ["", "", "a", "c", "b"]
    assert worst.level.tolist() == [4, 0, 2, 1, 3]
    assert [worst.broke(label) for label in "abcd"] == [{"4/255": 1}, {"8/255": 1}, {"2/255": 1}, {}]
    assert sorted(worst.adversarial) == [2, 3, 4]


def test_what_gradient_attacks_leave_does_not_depend_on_when_the_others_ran(worst):
    other = WorstCase(torch.tensor([False, True, False, False, False]), worst.bounds)
    update(worst, "square", FOUR, [2, 3], gradient=False)
    update(worst, "pgd", FOUR, [3])
    update(other, "pgd", FOUR, [3])
    update(other, "square", FOUR, [2], gradient=False)
    for each in (worst, other):
        assert each.standing(FOUR, gradient=True).tolist() == [0, 2, 4]
        assert each.standing(FOUR).tolist() == [0, 4]


def test_the_costs_of_an_attack_add_up_in_the_order_of_first_use(worst):
    update(worst, "b", TWO, [])
    update(worst, "a", TWO, [0])
    update(worst, "b", FOUR, [])
    assert list(worst.costs) == ["b", "a"]
    assert worst.costs["b"] == Cost(10, 20, 10, 1.0)


@pytest.mark.parametrize(
    ("bounds", "order"),
    [
        (("8/255", "24/255", "inf"), [("24/255", None), ("inf", None), ("8/255", "24/255")]),
        (("4/255", "8/255"), [("24/255", None), ("8/255", "24/255"), ("4/255", "8/255")]),
        ((), [("24/255", None)]),
    ],
)
def test_attacks_begin_at_the_headline_then_go_up_then_down(run, network, shown, bounds, order):
    result = run(network, shown[0][:8], shown[1][:8], bounds=bounds, stages=(ONCE,))
    pairs = [(bound.label, larger and larger.label) for bound, larger in result._order()]
    assert pairs == order


def test_below_the_headline_only_images_are_attacked_that_are_broken_at_the_next_larger_bound(run, network, shown):
    attacks = (stage_attack("momentum", Choice.BEST, iterations=5), square(3))
    result = run(network, *shown, bounds=("8/255", "24/255", "inf"), stages=(stage(*attacks),))
    stand = {label: result.worst.count(bound(label)) for label in ("0", "8/255", "24/255")}
    assert 0 < stand["24/255"] < stand["8/255"] < stand["0"]
    square_label = next(label for label in result.worst.costs if label.startswith("square"))
    # At 24/255 it gets what momentum left, without a bound what stands then, and at 8/255 no image that stands above.
    last = result.worst.costs[square_label].attacked
    assert last <= stand["24/255"] + sum(result.worst.broke(square_label).values()) + stand["8/255"] - stand["24/255"]


def test_an_attack_for_the_headline_runs_there_alone(run, network, shown):
    attacks = (stage_attack("momentum", Choice.BEST, top=True, iterations=2), square(2))
    result = run(network, *shown, stages=(stage(*attacks),))
    label = next(label for label in result.worst.costs if label.startswith("momentum"))
    assert set(result.worst.broke(label)) <= {"24/255"}
    pgd_left = int((~result.alone["pgd"]["24/255"] & ~result.alone["fgsm"]["24/255"]).sum())
    assert 0 < result.worst.costs[label].attacked <= pgd_left


@pytest.mark.parametrize(
    ("searches", "expected"),
    [
        # (images, gradients, broken); lengths 20, 100, 100, 100: the last two are 200 of 320 and broke 1 + 2
        ([(50, 1000, 9), (40, 4000, 5), (35, 3500, 1), (34, 3400, 2)], (2.67, 3, 9, 320.0)),
        # equal halves, of which the second broke nothing: a Poisson count of 0 is at most 3.69 with 97.5 %
        ([(10, 100, 3), (7, 70, 0)], (2.0, 0, 4, 20.0)),
        ([(10, 100, 5)], (2.0, 5, 12, 10.0)),
        ([(10, 0, 0)], None),
        ([], None),
    ],
)
def test_a_longer_search_is_expected_to_break_what_the_last_half_broke(searches, expected):
    found = longer_search(searches)
    assert (found and tuple(found.model_dump().values())) == expected


def test_the_gradients_and_falls_of_every_search_at_the_headline_are_recorded(run, network, shown):
    attacks = (
        stage_attack("momentum", Choice.BEST, iterations=3),
        stage_attack("momentum", Choice.BEST, iterations=6, random_start=True),
        square(2),
    )
    result = run(network, *shown, stages=(stage(*attacks),))
    assert len(result.searches) == 2
    for (images, gradients, broken), steps in zip(result.searches, (3, 6), strict=True):
        assert 0 < gradients <= steps * images
        assert gradients >= steps * (images - broken)  # what stands takes every step
    assert result.searches[0][0] - result.searches[0][2] == result.searches[1][0]


def test_the_progress_says_the_phase_and_how_many_images_stand_at_the_bound(run, network, shown, kept, monkeypatch):
    notes = []
    monkeypatch.setattr(Task, "advance", lambda _, count=1, note="": notes.append(note))
    result = run(network, *shown, kept, stages=(TINY,))  # everything is in the cache
    lines = [
        re.fullmatch(r"(paper's protocol|screening|attacks): .+ at (.+), (\d+) of 60 stand", note) for note in notes
    ]
    assert all(lines)
    assert list(dict.fromkeys(line[1] for line in lines)) == ["paper's protocol", "screening", "attacks"]
    at_headline = [int(line[3]) for line in lines if line[2] == "24/255"]
    assert at_headline == sorted(at_headline, reverse=True)
    assert int(lines[0][3]) == result.worst.count(result.bounds[0])
    assert at_headline[-1] >= result.worst.count(bound("24/255"))
