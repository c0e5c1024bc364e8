"""One attack aimed at any bound: its step, its rule, its loss, its price, and the network that it works on."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hiresnn.attacks import ATTACKS, parse
from hiresnn.audit.bounds import bound
from hiresnn.audit.subject import Audited
from hiresnn.audit.trial import Trial, stepped, trial
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
    """(model, options) of every call of pgd, which is not run."""
    seen: Calls = []

    def watched(
        model: Any, images: Tensor, labels: Tensor, *, eps: float = 0.5, step: float = 0.5, iterations: int = 7,
        random_start: bool = False,
    ) -> Tensor:  # fmt: skip
        model(images)
        seen.append((model, {"eps": eps, "step": step, "iterations": iterations, "random_start": random_start}))
        return images

    monkeypatch.setitem(ATTACKS, "pgd", replace(ATTACKS["pgd"], run=watched))
    return seen


def shown(made: Trial, *bounds: str) -> None:
    model = Audited(flat, IMAGES)
    for each in bounds:
        made.at(bound(each))(model, IMAGES, LABELS)


def test_a_step_goes_with_the_bound_a_quarter_of_it_unless_named(calls: Calls) -> None:
    shown(trial("pgd"), "8/255", "16/255", "inf")
    shown(trial("pgd:step=1/2,iterations=3"), "8/255")
    assert [options["eps"] for _, options in calls] == pytest.approx([8 / 255, 16 / 255, 1.0, 8 / 255])
    assert [options["step"] for _, options in calls] == pytest.approx([2 / 255, 4 / 255, 0.25, 4 / 255])
    assert [options["iterations"] for _, options in calls] == [7, 7, 7, 3]


def test_a_users_step_is_that_at_the_headline(calls: Calls) -> None:
    shown(stepped("pgd:step=2/255", HEADLINE), "4/255", "8/255", "inf")
    assert [options["step"] for _, options in calls] == pytest.approx([1 / 255, 2 / 255, 0.25])
    shown(stepped("pgd:iterations=2", HEADLINE), "8/255")
    assert calls[-1][1]["step"] == pytest.approx(2 / 255)  # a quarter where there is none


def test_the_papers_options_fill_what_the_text_leaves_out(calls: Calls) -> None:
    paper = {"step": 0.01, "iterations": 5, "random_start": True, "queries": 3}
    shown(stepped("pgd:iterations=2", HEADLINE, **paper), "8/255", "16/255")
    assert [options["step"] for _, options in calls] == pytest.approx([0.01, 0.02])
    assert {(options["iterations"], options["random_start"]) for _, options in calls} == {(2, True)}
    assert stepped("fgsm", HEADLINE, **paper).spec.options == {}  # which has none of them


@pytest.mark.parametrize("make", [trial, lambda text: stepped(text, HEADLINE)])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:eps=8/255", r"attack 'pgd:eps=8/255': an audit runs it at every bound; leave eps out and name --bounds"),
        ("fgsm:eps=0", "leave eps out"),
        ("ddos", "attack 'ddos' is not known; choose one of"),
        ("pgd:speed=3", "has no option 'speed'"),
        ("pgd:rule=magic", "magic"),
    ],
)
def test_a_text_with_a_bound_or_an_unknown_word_is_refused(make: Any, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(text)


@pytest.mark.parametrize(
    ("text", "rule", "loss", "passes"),
    [
        ("fgsm", "own", "cross-entropy", 2),
        ("pgd", "own", "cross-entropy", 14),
        ("pgd:iterations=20,rule=arctan/alpha=4", "arctan/alpha=4", "cross-entropy", 40),
        ("pgd-restarts:iterations=20,restarts=3,loss=margin", "own", "margin", 120),
        ("pgd-restarts", "own", "cross-entropy", 1000),
        ("apgd:iterations=50,loss=dlr,rule=assg", "assg", "dlr", 100),
        ("apgd:iterations=15,loss=dlr-targeted", "own", "dlr-targeted", 270),  # nine targets
        ("apgd:iterations=15,loss=dlr-targeted,targets=3", "own", "dlr-targeted", 90),
        ("sa-pgd:iterations=200,restarts=3", "own", "cross-entropy", 1200),
        ("greedy:iterations=10,rule=arctan+bptr", "arctan+bptr", "margin", 80),
        ("square:queries=300", None, None, 300),
        ("noise:draws=9", None, None, 10),
    ],
)
def test_a_trial_knows_its_rule_its_loss_and_roughly_its_price(
    text: str, rule: str | None, loss: str | None, passes: int
) -> None:
    made = trial(text)
    assert (made.label, made.rule, made.loss, made.passes) == (text, rule, loss, passes)
    assert (made.twin, made.plain, made.first) == (None, False, None)


@pytest.mark.parametrize(
    "text",
    ["fgsm", "pgd:iterations=5", "pgd-restarts:iterations=5,restarts=2", "square:queries=50", "noise:draws=9",
     "apgd:iterations=5", "sa-pgd:iterations=5", "apgd:iterations=5,loss=dlr-targeted,targets=2"],
)  # fmt: skip
def test_the_price_is_about_what_an_image_that_stands_costs(text: str) -> None:
    weight = torch.eye(4)

    def standing(images: Tensor) -> Tensor:  # class 0 by far, but with a slope
        return images.flatten(1) @ weight + torch.tensor([1e3, 0.0, 0.0, 0.0])

    model = Audited(standing, IMAGES)
    with model.measured(0) as spent:
        trial(text).at(HEADLINE)(model, IMAGES, LABELS)
    assert 0.6 < trial(text).passes * len(IMAGES) / (spent.forward + spent.backward) < 1.6


def test_a_transfer_is_made_on_the_twin_and_paid_by_the_network(calls: Calls) -> None:
    model, twin = Audited(flat, IMAGES), Audited(lambda images: -images.flatten(1), IMAGES)
    made = trial("pgd", twin=("other", twin))
    assert (made.label, made.rule) == ("transfer from other", None)
    with model.measured(0) as spent:
        made.at(HEADLINE)(model, IMAGES, LABELS)
    assert calls[0][0] is twin
    assert spent.forward == len(IMAGES)


class Watched(Audited):
    """What rules it was put under."""

    def __init__(self) -> None:
        super().__init__(flat, IMAGES)
        self.rules: list[str] = []

    def under(self, rule: str) -> Any:
        self.rules.append(rule)
        return super().under(rule)


def test_gradients_go_through_roundings_but_for_the_plain_protocol(calls: Calls) -> None:
    model = Watched()
    trial("pgd").at(HEADLINE)(model, IMAGES, LABELS)
    Trial("pgd", parse("pgd:step=0.1"), plain=True).at(HEADLINE)(model, IMAGES, LABELS)
    assert model.rules == ["through-rounding", "own"]


def test_the_rule_of_the_text_is_in_force_on_the_neurons(
    network: SpikingNetwork, shown: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(model: Any, images: Tensor, labels: Tensor, *, eps: float = 0.1) -> Tensor:
        seen.append({type(lif.surrogate).__name__ for lif in network.neurons.values()})
        return images

    monkeypatch.setitem(ATTACKS, "fgsm", replace(ATTACKS["fgsm"], run=watched))
    model = Audited(network, shown[0][:4])
    for text in ("fgsm:rule=arctan", "fgsm"):
        trial(text).at(HEADLINE)(model, *shown)
    assert seen == [{"Arctan"}, {"Linear"}]
    assert all(isinstance(lif.surrogate, Linear) for lif in network.neurons.values())
