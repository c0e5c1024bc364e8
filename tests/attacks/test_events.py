"""Attacks on event grids: smallest budgets on linear networks by brute force, gates, and what every attack keeps."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from hiresnn.attacks import (
    EVENT_ATTACKS,
    EventAttackSpec,
    Flips,
    Found,
    Retiming,
    checked_events,
    guided,
    parse_threat,
    random_moves,
    recount,
    relaxed,
    search_moves,
    seeded,
    topk,
    transport,
)
from hiresnn.errors import AttackError, UsageError
from hiresnn.neurons import LIF, Window

SHAPE = (4, 1, 1, 2)  # bins, polarities, height, width
SAMPLES = 12


class Linear(nn.Module):
    """Logits are a weighted sum of the cells."""

    def __init__(self, classes=3, cells=8, seed=0):
        super().__init__()
        self.weight = torch.randn(cells, classes, generator=torch.Generator().manual_seed(seed))

    def forward(self, grids):
        return grids.flatten(1) @ self.weight


def batch(network, most=1, shape=SHAPE, seed=0, count=SAMPLES):
    generator = torch.Generator().manual_seed(seed)
    grids = torch.randint(0, most + 1, (count, *shape), generator=generator).float()
    return grids, network(grids).argmax(1)


def cheapest(network, grid, label, most, cost):
    """The smallest cost over all grids that the network answers with another class, inf if there is none."""
    values = itertools.product(range(most + 1), repeat=grid.numel())
    others = torch.tensor(list(values)).float()
    wrong = others[network(others.view(-1, *grid.shape)).argmax(1) != label]
    return min((cost(grid.flatten(), other) for other in wrong), default=np.inf)


def flips(direction, packet):
    def cost(before, after):
        change = after - before
        if (direction == "add" and (change < 0).any()) or (direction == "delete" and (change > 0).any()):
            return np.inf
        return float((change != 0).sum() if packet else change.abs().sum())

    return cost


@pytest.mark.parametrize("direction", ["both", "add", "delete"])
@pytest.mark.parametrize(("most", "cell"), [(1, "event"), (2, "event"), (2, "packet")])
@pytest.mark.parametrize("attack", [guided, topk])
def test_the_smallest_number_of_flips_on_a_linear_network_is_the_optimum(attack, direction, most, cell):
    network = Linear()
    grids, labels = batch(network, most)
    threat = Flips(direction, "binary" if most == 1 else "integer", cell, ceiling=most)
    found = attack(network, grids, labels, threat=threat, targets=2)
    cost = flips(direction, cell == "packet")
    best = [cheapest(network, grid, label, most, cost) for grid, label in zip(grids, labels, strict=True)]
    assert found.budgets.tolist() == best
    assert len(set(best)) > 1


def by_permutations(before, after, budget, within):
    """The cheapest transport over all assignments of events to events, None where `within` allows none."""
    sources, targets = (np.repeat(np.arange(len(counts)), counts) for counts in (before, after))
    costs = []
    for order in itertools.permutations(targets):
        shifts = abs(sources - np.array(order, int))
        if not within or shifts.max(initial=0) <= within:
            costs.append({"moved": (shifts > 0).sum(), "sum": shifts.sum(), "largest": shifts.max(initial=0)}[budget])
    return min(costs, default=None)


@pytest.mark.parametrize("budget", ["moved", "sum", "largest"])
@pytest.mark.parametrize("within", [0, 1, 2])
def test_the_minimal_transport_is_that_of_the_best_permutation(budget, within):
    random = np.random.default_rng(0)
    for _ in range(60):
        before = random.multinomial(random.integers(0, 6), [0.2] * 5)
        after = random.multinomial(before.sum(), [0.2] * 5)
        assert transport(before, after, budget, within) == by_permutations(before, after, budget, within)


def test_an_event_that_stays_may_force_another_to_jump_over_it():
    before, after = np.array([1, 1, 0]), np.array([0, 1, 1])
    assert [transport(before, after, "moved", within) for within in (0, 1, 2)] == [1, 2, 1]


def retimings(budget):
    def cost(before, after):
        total = 0
        for line in range(2):
            counts = before.view(3, 2)[:, line].long().numpy(), after.view(3, 2)[:, line].long().numpy()
            if counts[0].sum() != counts[1].sum():
                return np.inf
            spent = by_permutations(*counts, budget, 0)
            total = max(total, spent) if budget == "largest" else total + spent
        return total

    return cost


@pytest.mark.parametrize("grid", ["binary", "integer"])
@pytest.mark.parametrize("budget", ["moved", "sum", "largest"])
def test_the_smallest_retiming_on_a_linear_network_is_the_optimum(budget, grid):
    network = Linear(cells=6, seed=3)
    grids, labels = batch(network, shape=(3, 1, 1, 2), seed=1)
    most = 1 if grid == "binary" else 3  # up to three events may meet in a cell
    optimum = torch.tensor(
        [cheapest(network, sample, label, most, retimings(budget)) for sample, label in zip(grids, labels, strict=True)]
    )
    found = guided(network, grids, labels, threat=Retiming(budget, grid), targets=2)
    assert (found.budgets >= optimum).all()
    assert int((found.budgets == optimum).sum()) >= (SAMPLES if budget == "moved" else SAMPLES - 2)


class Spiking(nn.Module):
    """Linear, LIF, linear, over the bins of the grid."""

    def __init__(self, cells=18, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first, self.lif, self.last = nn.Linear(cells, 24), LIF(0.5), nn.Linear(24, 4)
        for parameter in self.parameters():
            if parameter.dim():
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4

    def forward(self, grids):
        bins, window = grids.shape[1], Window(grids.shape[1], len(grids))
        spikes = self.lif(self.first(grids.transpose(0, 1).flatten(0, 1).flatten(1)), window, True)
        return self.last(spikes).view(bins, len(grids), -1).sum(0)


THREATS = ["flips", "flips(direction=add)", "flips(direction=delete)", "flips(grid=integer)"]
THREATS += ["flips(grid=integer, cell=packet)", "retiming", "retiming(budget=sum)", "retiming(within=1)"]
THREATS += ["retiming(budget=largest)", "retiming(grid=integer)"]


@pytest.fixture
def spiking():
    network = Spiking()
    grids, labels = batch(network, shape=(5, 2, 3, 3), count=8)
    return network, grids, labels


@pytest.mark.parametrize("name", EVENT_ATTACKS)
@pytest.mark.parametrize("text", THREATS)
def test_every_attack_reports_what_the_gate_counts(spiking, name, text):
    network, grids, labels = spiking
    labels = labels.clone()
    labels[0] = (labels[0] + 1) % 4  # misclassified from the start
    threat = parse_threat(text)
    if name == "relaxed" and not isinstance(threat, Retiming):
        with pytest.raises(UsageError, match="the threat model is flips"):
            relaxed(network, grids, labels, threat=threat)
        return
    with seeded(0):
        found = EVENT_ATTACKS[name].run(network, grids, labels, threat=threat)
    broken = found.budgets.isfinite()
    assert found.budgets[0] == 0
    assert int(broken.sum()) > 1
    assert torch.equal(threat.count(grids, found.grids)[broken], found.budgets[broken].long())
    assert torch.equal(network(found.grids).argmax(1) != labels, broken)
    assert torch.equal(found.grids[~broken], grids[~broken])
    if isinstance(threat, Retiming):
        assert torch.equal(found.grids.sum(1), grids.sum(1))
    if threat.grid == "binary":
        assert set(found.grids.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("name", EVENT_ATTACKS)
def test_an_attack_is_seeded_and_keeps_its_budget_and_its_network(spiking, name):
    network, grids, labels = spiking
    network.train()
    runs = []
    for _ in range(2):
        with seeded(3):
            runs.append(EventAttackSpec.parse(name)(network, grids, labels, threat=Retiming(), budget=3))
    assert torch.equal(runs[0].grids, runs[1].grids)
    assert runs[0].budgets[runs[0].budgets.isfinite()].max() <= 3
    assert network.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    empty = EVENT_ATTACKS[name].run(network, grids[:0], labels[:0], threat=Retiming())
    assert empty.grids.shape == (0, 5, 2, 3, 3)


@pytest.fixture(scope="module")
def trained():
    """A spiking network trained on classes that differ in where events are likely, with test samples that it knows."""
    generator = torch.Generator().manual_seed(1)
    likely = torch.rand(4, 5, 2, 6, 6, generator=generator) ** 3
    labels = torch.randint(0, 4, (430,), generator=generator)
    grids = (torch.rand(430, 5, 2, 6, 6, generator=generator) < likely[labels]).float()
    network = Spiking(cells=72)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(grids[:400]), labels[:400]).backward()
        optimizer.step()
    assert (network(grids[400:]).argmax(1) == labels[400:]).float().mean() > 0.9
    return network, grids[400:], labels[400:]


def test_the_guided_attack_needs_at_most_7_of_10_events_that_the_gradient_needs_and_far_fewer_than_chance(trained):
    spent = {}
    for attack in (guided, topk, random_moves, search_moves):
        with seeded(0):
            spent[attack] = float(attack(*trained).budgets.clamp(max=360).sum())
    assert spent[guided] <= 0.7 * spent[topk]
    assert spent[guided] <= spent[search_moves] < spent[random_moves] / 2
    assert spent[guided] < spent[random_moves] / 4


def test_the_relaxed_permutation_needs_fewer_moves_than_the_gradient_alone(trained):
    spent = [float(attack(*trained, threat=Retiming()).budgets.clamp(max=360).sum()) for attack in (relaxed, topk)]
    assert spent[0] < spent[1]


@checked_events("cheat")
def cheating(model, grids, labels, *, threat, budget=5):
    """Flip one event more than it says."""
    honest = guided(model, grids, labels, threat=threat, budget=budget)
    return Found(honest.grids, honest.budgets - 1)


def returning(change):
    """An attack that returns the grids after `change`, and claims a budget of 2."""

    def attack(model, grids, labels, *, threat, budget=5):
        return Found(change(grids.clone()), torch.full((len(grids),), 2.0))

    return checked_events("cheat")(attack)


def changed(position, value):
    def change(grids):
        grids[(slice(None), *position)] = value
        return grids

    return change


def shifted(bins):
    """Move the event of the first pixel by that many bins, where there is none."""

    def change(grids):
        grids[:, 0, 0, 0, 0], grids[:, bins, 0, 0, 0] = 0, 1
        return grids

    return change


CHEATS = {
    "one event more than claimed": (cheating, "flips", "spent . of the budget"),
    "an event that only deleting may not add": (
        returning(changed((1, 0, 0, 0), 1)),
        "flips(direction=delete)",
        "added",
    ),
    "an event that only adding may not delete": (
        returning(changed((0, 0, 0, 0), 0)),
        "flips(direction=add)",
        "deleted",
    ),
    "two events in a binary cell": (returning(changed((1, 0, 0, 0), 2)), "flips", "more than one event"),
    "half an event": (returning(changed((1, 0, 0, 0), 0.5)), "flips", "no counts"),
    "above the ceiling": (returning(changed((1, 0, 0, 0), 3)), "flips(grid=integer, ceiling=2)", "ceiling"),
    "an event lost": (returning(changed((0, 0, 0, 0), 0)), "retiming", "keeps the number of events"),
    "too far": (returning(shifted(2)), "retiming(within=1)", "more than 1 bins"),
    "too large a sum": (returning(shifted(3)), "retiming(budget=sum)", "spent 3 of the budget"),
    "too large a shift": (returning(shifted(3)), "retiming(budget=largest)", "spent 3 of the budget"),
    "another shape": (returning(lambda grids: grids[:, :2]), "flips", "returned shape"),
}


@pytest.mark.parametrize(("attack", "threat", "message"), CHEATS.values(), ids=CHEATS.keys())
def test_the_gate_refuses_an_attack_that_cheats(attack, threat, message):
    network = Linear()
    grids, labels = batch(network)
    grids[:, :, 0, 0, 0] = torch.tensor([1.0, 0, 0, 0])
    labels = network(grids).argmax(1)
    with pytest.raises(AttackError, match=message):
        attack(network, grids, labels, threat=parse_threat(threat), budget=2 if "largest" in threat else 5)


def test_the_gate_counts_again_and_accepts_an_honest_attack_at_its_limit():
    grids = torch.zeros(1, *SHAPE)
    assert recount(Flips(), grids, changed((1, 0, 0, 0), 1)(grids.clone()), torch.tensor([1.0]), 1).tolist() == [1]
    with pytest.raises(AttackError, match="spent 1"):
        recount(Flips(), grids, changed((1, 0, 0, 0), 1)(grids.clone()), torch.tensor([1.0]), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grids": torch.zeros(2, 4, 4)}, r"\[N, T, P, H, W\] for event grids"),
        ({"grids": torch.zeros(2, 1, 4, 4)}, r"not \[B, T, P, H, W\]"),
        ({"grids": torch.full((2, *SHAPE), 2.0)}, "more than one event"),
        ({"grids": torch.full((2, *SHAPE), 0.5)}, "no counts"),
        ({"labels": torch.tensor([0, 9])}, "labels reach"),
        ({"budget": 0}, "budget is 0"),
        ({"candidate": 3}, "no option"),
    ],
)
def test_what_cannot_be_attacked_is_refused(change, message):
    given = {"grids": torch.zeros(2, *SHAPE), "labels": torch.tensor([0, 1]), **change}
    with pytest.raises(UsageError, match=message):
        guided(Linear(), given.pop("grids"), given.pop("labels"), **given)


@pytest.mark.parametrize(
    ("text", "message"),
    [("flip", "not known"), ("flips(direction=up)", "direction is"), ("retiming(far=2)", "no option")],
)
def test_a_threat_model_that_does_not_exist_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_threat(text)


def test_texts_of_threat_models_and_attacks_read_back():
    for text in THREATS:
        assert parse_threat(str(parse_threat(text))) == parse_threat(text)
    spec = EventAttackSpec.parse("guided(targets=3, rule=arctan(alpha=4))")
    assert EventAttackSpec.parse(str(spec)) == spec
    for text in ("pgd", "search(rule=arctan)", "guided(targets=0)"):
        with pytest.raises(UsageError):
            EventAttackSpec.parse(text)


def test_an_attack_follows_its_gradient_rule(spiking):
    network, grids, labels = spiking
    grids_of = [
        EventAttackSpec.parse(text)(network, grids, labels, threat=Flips()).grids
        for text in ("topk", "topk(rule=linear)", "topk(rule=bptr)")
    ]
    assert torch.equal(grids_of[0], grids_of[1])
    assert not torch.equal(grids_of[0], grids_of[2])
    with pytest.raises(UsageError, match="LIF"):
        EventAttackSpec.parse("topk(rule=arctan)")(lambda x: x.flatten(1), grids, labels, threat=Flips())
