"""One attack at any bound: its step, its rule, its loss, its cost, and the network that it runs on."""

from collections.abc import Iterator
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest
import torch
from torch import Tensor

from hiresnn.attacks import ATTACKS, AttackSpec
from hiresnn.attacks.catalog import AttackInfo
from hiresnn.audit import InstrumentedModel
from hiresnn.audit.bounds import parse_bound as bound
from hiresnn.audit.presets import PlannedAttack, plan_attack
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Linear

HEADLINE = bound("8/255")
IMAGES, LABELS = torch.full((4, 1, 2, 2), 0.5), torch.zeros(4, dtype=torch.int64)


def flat(images: Tensor) -> Tensor:
    return images.flatten(1)


Calls = list[tuple[Any, dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """(model, options) of every call of pgd, which does not run."""
    seen: Calls = []

    @wraps(ATTACKS["pgd"].run)  # with its signature, which says the options
    def watched(model: Any, images: Tensor, labels: Tensor, **options: Any) -> Tensor:
        model(images)
        seen.append((model, options))
        return images

    monkeypatch.setitem(ATTACKS, "pgd", AttackInfo(watched, "one"))
    return seen


def plan(text: str, defaults: dict[str, object] | None = None) -> PlannedAttack:
    return plan_attack(text, HEADLINE, defaults)


def run(attack: PlannedAttack, *bounds: str) -> None:
    model = InstrumentedModel(flat, IMAGES)
    for each in bounds:
        attack.at(bound(each))(model, IMAGES, LABELS)


def test_a_step_is_that_at_the_headline_bound_and_scales_with_the_bound(calls: Calls) -> None:
    run(plan("pgd:step=2/255,iterations=3"), "4/255", "8/255", "inf")
    run(plan("pgd:relative_step=0.5"), "8/255")
    assert [options["eps"] for _, options in calls] == pytest.approx([4 / 255, 8 / 255, 1.0, 8 / 255])
    assert [options["step"] for _, options in calls] == pytest.approx([1 / 255, 2 / 255, 0.25, 4 / 255])
    assert [options["iterations"] for _, options in calls] == [3, 3, 3, 7]


def test_the_papers_options_fill_what_the_text_leaves_out(calls: Calls) -> None:
    paper = {"step": 0.01, "iterations": 5, "random_start": True, "queries": 3}
    run(plan("pgd:iterations=2", paper), "8/255", "16/255")
    assert [options["step"] for _, options in calls] == pytest.approx([0.01, 0.02])
    assert {(options["iterations"], options["random_start"]) for _, options in calls} == {(2, True)}
    assert plan("fgsm", paper).spec.options == {}  # fgsm has none of them


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:eps=8/255", r"attack 'pgd:eps=8/255' names eps, .* name --bounds"),
        ("fgsm:eps=0", "names eps"),
        ("ddos", "attack 'ddos' is not known; choose one of"),
        ("pgd:speed=3", "has no option 'speed'"),
        ("pgd:rule=magic", "magic"),
    ],
)
def test_a_text_with_a_bound_or_an_unknown_word_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(text)


@pytest.mark.parametrize(
    ("text", "rule", "loss"),
    [
        ("fgsm", "own", "cross-entropy"),
        ("pgd", "own", "cross-entropy"),
        ("pgd:iterations=20,rule=arctan/alpha=4", "arctan/alpha=4", "cross-entropy"),
        ("pgd-restarts:iterations=20,restarts=3,loss=margin", "own", "margin"),
        ("pgd-restarts", "own", "cross-entropy"),
        ("apgd:iterations=50,loss=dlr,rule=assg", "assg", "dlr"),
        ("apgd:iterations=15,loss=dlr-targeted", "own", "dlr-targeted"),  # nine targets
        ("apgd:iterations=15,loss=dlr-targeted,targets=3", "own", "dlr-targeted"),
        ("sa-pgd:iterations=200,restarts=3", "own", "cross-entropy"),
        ("greedy:iterations=10,rule=arctan+bptr", "arctan+bptr", "margin"),
        ("square:queries=300", None, None),
        ("noise:draws=9", None, None),
    ],
)
def test_an_attack_has_a_rule_and_a_loss(text: str, rule: str | None, loss: str | None) -> None:
    attack = plan(text)
    assert (attack.label, attack.rule, attack.loss) == (text, rule, loss)
    assert attack.follows_gradient == (rule is not None)
    assert (attack.twin, attack.plain, attack.first) == (None, False, None)


def test_a_users_attack_without_rules_follows_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ATTACKS, "mine", AttackInfo(lambda model, images, labels, *, eps=0.1: images, "none"))
    assert not plan("mine").follows_gradient


def test_an_option_finish_of_a_users_attack_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def darker(model: object, images: Tensor, labels: Tensor, *, eps: float = 0.1, finish: int = 0) -> Tensor:
        return (images - finish * eps).clamp(0, 1)

    monkeypatch.setitem(ATTACKS, "mine", AttackInfo(darker, "one"))
    attack = plan("mine:finish=1")
    model = InstrumentedModel(flat, IMAGES)
    adversarial = attack.at(bound("8/255"))(model, IMAGES, torch.zeros(len(IMAGES), dtype=torch.long))
    assert (attack.queries, bool((adversarial != IMAGES).any())) == (0, True)


def test_a_transfer_is_made_on_the_twin_and_counted_for_the_network(calls: Calls) -> None:
    model, twin = InstrumentedModel(flat, IMAGES), InstrumentedModel(lambda images: -images.flatten(1), IMAGES)
    attack = PlannedAttack("transfer from other", AttackSpec.parse("pgd"), twin=twin)
    assert (attack.rule, attack.follows_gradient) == (None, False)
    with model.measured(0) as cost:
        attack.at(HEADLINE)(model, IMAGES, LABELS)
    assert calls[0][0] is twin
    assert cost.forward == len(IMAGES)


class Watched(InstrumentedModel):
    """Records the rules that it is put under."""

    def __init__(self) -> None:
        super().__init__(flat, IMAGES)
        self.rules: list[str] = []

    def under(self, rule: str) -> Any:
        self.rules.append(rule)
        return super().under(rule)


def test_gradients_pass_through_rounding_except_for_the_plain_protocol(calls: Calls) -> None:
    model = Watched()
    plan("pgd").at(HEADLINE)(model, IMAGES, LABELS)
    plan_attack("pgd", HEADLINE, plain=True).at(HEADLINE)(model, IMAGES, LABELS)
    assert model.rules == ["through-rounding", "own"]


def test_the_rule_of_the_text_is_applied_to_the_neurons(
    network: SpikingNetwork, shown: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(model: Any, images: Tensor, labels: Tensor, *, eps: float = 0.1) -> Tensor:
        seen.append({type(lif.surrogate).__name__ for lif in network.neurons.values()})
        return images

    monkeypatch.setitem(ATTACKS, "fgsm", replace(ATTACKS["fgsm"], run=watched))
    model = InstrumentedModel(network, shown[0][:4])
    for text in ("fgsm:rule=arctan", "fgsm"):
        plan(text).at(HEADLINE)(model, *shown)
    assert seen == [{"Arctan"}, {"Linear"}]
    assert all(isinstance(lif.surrogate, Linear) for lif in network.neurons.values())
