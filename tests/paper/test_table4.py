"""Table 4 on given accuracies, and its questions on networks whose gradients are known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiresnn.paper import table4 as module
from hiresnn.paper.artefact import ARTEFACTS, Artefact
from hiresnn.paper.checks import Judged
from hiresnn.paper.study import Study
from hiresnn.paper.table4 import table4, verdict

from .conftest import StubStudy

BOX = {"white": 0.0, "same-ann": 2.0, "independent": 30.0}


def answer(network: str, method: str, seed: int, attack: str | None, box: str, changes: dict[str, str]) -> float:
    """Falls with the bound; ResNet12 on CIFAR-10 gives in to random draws, in its second seed alone."""
    assert (method, changes) == ("hire", {})
    if attack is None:
        return 90.0
    name, _, options = attack.partition(":")
    if name == "noise":
        assert options == "kind=uniform,draws=20"
        return 5.0 if network == "resnet12-cifar10" and seed else 85.0
    left = {"fgsm": 40.0, "pgd": 10.0, "pgd:eps=8/255": 60.0, "pgd:eps=32/255": 10.0}
    return left.get(attack, 0.0) + BOX[box]


@pytest.fixture
def artefact(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> Artefact:
    stub.answer = answer
    monkeypatch.setattr(module, "_asked", lambda *asked: [Judged(True, "asked")] * 5)
    return table4(stub)


def test_every_network_has_five_rows_beside_the_papers_verdict(artefact: Artefact) -> None:
    rows = artefact.tables[0].rows
    assert len(rows) == 4 * 5
    assert {row[3] for row in rows} == {"pass"}
    assert [row[4] for row in rows if row[0] == "VGG5"] == ["pass"] * 5
    assert {tuple(row[6:]) for row in rows} == {("pass", "asked")}


def test_a_check_that_one_seed_fails_is_told_and_counted(artefact: Artefact) -> None:
    failed = [row for row in artefact.tables[0].rows if row[4] != "pass"]
    assert [(row[0], row[1], str(row[2])[:3]) for row in failed] == [("ResNet12", "CIFAR-10", "(v)")]
    assert failed[0][4:6] == ["fail in 1 of 2 seeds", "random draws leave 5.0 %, PGD 10.0 %"]
    assert artefact.notes[-1] == ("Verdicts that are not the paper's: 1 of 40: ResNet12 / CIFAR-10 (v) by accuracies.")


def test_a_verdict_is_that_of_the_first_seed_that_fails() -> None:
    good, bad = Judged(True, "good"), Judged(False, "bad")
    assert verdict([good, good]) == ("pass", "good")
    assert verdict([bad]) == ("fail", "bad")
    assert verdict([good, bad, bad]) == ("fail in 2 of 3 seeds", "bad")


class Steps(nn.Module):
    """Tells dark images from bright ones; where it rounds, its gradient is exactly zero."""

    def __init__(self, *, rounds: bool) -> None:
        super().__init__()
        self.rounds = rounds
        self.weight = nn.Parameter(torch.tensor(4.0))

    def forward(self, images: Tensor) -> Tensor:
        seen = (images * 64).round() / 64 if self.rounds else images
        bright = self.weight * (seen.flatten(1).mean(1) - 0.5)
        return torch.stack([-bright, bright], 1)


def asked(rounds: bool) -> list[bool]:
    """Which of the five questions are answered yes, at a bound of 0.1 around images 0.05 from the boundary."""
    torch.manual_seed(0)
    labels = torch.arange(60) % 2
    images = (0.45 + 0.1 * labels.float()).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    network = Steps(rounds=rounds).eval()
    study: Any = SimpleNamespace(network_of=lambda run: network)
    found = module._questions(study, Path("run"), {"independent": Path("twin")}, 0.1, images, labels)
    return [each["yes"] for each in found]


def test_a_linear_network_hides_nothing() -> None:
    assert asked(rounds=False) == [False] * 5


def test_a_network_with_zero_gradients_is_found_out() -> None:
    one_step, black_box, bound, unbounded, _ = asked(rounds=True)
    assert (one_step, black_box, bound, unbounded) == (False, True, True, True)


def test_questions_are_asked_of_a_trained_network_and_kept(study: Study) -> None:
    first = module._asked(study, "vgg5-cifar10", 0)
    assert len(first) == 5
    assert all(judged.evidence for judged in first)
    study.network_of = None  # type: ignore[assignment,method-assign]
    assert module._asked(study, "vgg5-cifar10", 0) == first


def test_a_plan_of_the_table_runs_nothing(study: Study) -> None:
    jobs = study.plan([ARTEFACTS["table4"]])
    kinds = [job.kind for job in jobs]
    assert (kinds.count("ann"), kinds.count("hire")) == (2, 3)  # its own ANN and an independent one; two twins
    assert not list(study.root.glob("measured/*"))
